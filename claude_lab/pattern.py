"""The shape of an arrival: what byte steps and time steps tell of a hop, and when they tell nothing."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from claude_lab.observation import Observation, Read

Kind = Literal[
    "streams", "end", "steps", "wire steps", "clumps", "late", "origin", "noisy", "nothing", "unclear", "replay"
]
STREAMING_SHARE = 0.9
HELD = 0.6  # of the gap between events: an event held longer has company, or is late


@dataclass(frozen=True, slots=True)
class Pattern:
    """A kind, and its number: bytes of a step, seconds of a clump or of the longest hold.

    `bursts` is the number of reads that were apart; `share` the part of the events that came on time; `every` the
    seconds between bursts where steps or clumps come at equal times, else 0.
    """

    kind: Kind
    number: float = 0.0
    bursts: int = 0
    share: float = 0.0
    every: float = 0.0

    @property
    def streams(self) -> bool:
        """Whether events arrive as they are written."""
        return self.kind == "streams"

    def __str__(self) -> str:
        words = {
            "streams": f"{self.share:.0%} of the events on time",
            "end": "everything at the end",
            "steps": f"steps of {self.number:,.0f} bytes of body",
            "wire steps": f"steps of {self.number:,.0f} bytes on the wire",
            "clumps": f"clumps every {self.number * 1000:.0f} ms",
            "late": "each event arrives with the next one",
            "origin": f"the origin itself wrote up to {self.number * 1000:.0f} ms late",
            "noisy": f"this machine was {self.number * 1000:.0f} ms late itself",
            "nothing": "no events",
            "replay": "the answer to an earlier question, kept by a cache",
            "unclear": f"{self.share:.0%} of the events on time, in {self.bursts} bursts",
        }
        return words[self.kind]


def pattern(seen: Observation) -> Pattern:
    """Name the shape of one observation of a probe with its own gap between events."""
    plan = seen.question.plan
    if seen.replayed:
        return Pattern("replay")
    if not seen.arrivals or plan is None:
        return Pattern("nothing")
    gap = plan.every * plan.group
    holds = sorted(seen.holds)
    share = sum(hold < HELD * gap for hold in holds) / len(holds)
    bursts = together(seen.reads, within=0.25 * gap)
    late = max(arrival.at - arrival.due for arrival in seen.arrivals)
    if late > 3 * gap and late > 2 * seen.noise:
        return Pattern("origin", late, len(bursts), share)
    if share >= STREAMING_SHARE:
        return Pattern("streams", holds[-1], len(bursts), share)
    return held(seen, gap, bursts, share)


def held(seen: Observation, gap: float, bursts: list[Read], share: float) -> Pattern:
    """Name the shape of an observation in which something holds."""
    longest = max(seen.holds)
    every = constant_time([read.seen for read in bursts[:-1]]) or 0.0
    if step := stairs(bursts, len(seen.arrivals)):
        return Pattern(*step, len(bursts), share, every)
    if seen.noise > 0.4 * longest:
        return Pattern("noisy", seen.noise, len(bursts), share)
    last, length = seen.arrivals[-1], seen.arrivals[-1].at - seen.arrivals[0].at
    early = sum(arrival.seen < last.seen - max(0.25 * gap, 0.1 * length) for arrival in seen.arrivals)
    if early <= 0.05 * len(seen.arrivals):
        return Pattern("end", longest, len(bursts), share)
    if statistics.median(seen.holds) < 1.5 * gap and len(bursts) >= 0.8 * len(seen.arrivals):
        return Pattern("late", gap, len(bursts), share)
    if every:
        return Pattern("clumps", every, len(bursts), share, every)
    return Pattern("unclear", longest, len(bursts), share)


def together(reads: list[Read], *, within: float) -> list[Read]:
    """Join reads that came no further apart than so many seconds; each is the last of its burst."""
    bursts: list[Read] = []
    for read in reads:
        if bursts and read.seen - bursts[-1].seen <= within:
            bursts.pop()
        bursts.append(read)
    return bursts


def stairs(bursts: list[Read], events: int) -> tuple[Kind, float] | None:
    """Return the kind and the bytes of the steps in which bursts end, if they are a buffer's."""
    if not within_events(bursts):
        return None
    body = constant([read.body_bytes for read in bursts])
    wire = constant([read.wire_bytes for read in bursts])
    round_body, round_wire = (step is not None and step % 512 == 0 for step in (body, wire))
    if round_wire and not round_body:
        return "wire steps", wire or 0
    if len(bursts) > 0.8 * events and not round_body:  # one event each: something cuts them, no buffer collects them
        return None
    return ("steps", body) if body else ("wire steps", wire) if wire else None


def within_events(bursts: list[Read]) -> bool:
    """Whether bursts end where a buffer is full, not where an event ends: else equal events would look like stairs."""
    return sum(read.within_event for read in bursts[:-1]) > 0.5 * len(bursts[:-1])


def constant(offsets: list[int]) -> int | None:
    """Return the step between the offsets where bursts end, if there is one; the last burst is a rest.

    A step must come at least twice, and four of five must be that step or a multiple: a late read joins two.
    """
    steps = [b - a for a, b in itertools.pairwise(offsets)][:-1]
    step, times = Counter(steps).most_common(1)[0] if steps else (0, 0)
    fitting = sum(other % step == 0 for other in steps) if step else 0
    return step if times >= 2 and fitting >= 0.8 * len(steps) else None


def constant_time(moments: list[float]) -> float | None:
    """Return the seconds between bursts if four of five intervals are within a sixth of their median, or None."""
    between = [b - a for a, b in itertools.pairwise(moments)]
    if len(between) < 2:
        return None
    middle = statistics.median(between)
    return middle if sum(abs(gap - middle) < middle / 6 for gap in between) >= 0.8 * len(between) else None
