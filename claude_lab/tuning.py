"""What a retry setting does, as numbers and two pictures: the waits it draws, and how many calls it saves.

The numbers come from the model of `sweeps`, on a few days of traffic: enough to see a knob's effect while it turns,
too few to decide by; `sweep(...).recommend()` decides.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np

from claude_lab import clock
from claude_lab.jitter import JITTERS
from claude_lab.metrics import METRICS
from claude_lab.model import Bench, Floats, bench
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario

LADDER = (0, 12, 3, 6, 1, 8, 2, 4, 10, 5)
"""The retries compared, the most telling first."""
FIRST = 3
"""How many of them the first picture has at least: the chosen, none and the most."""
DAYS = 6
PATIENCE = 45.0
DRAWS = 60
WIDTH, HEIGHT = 380, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 26, 30
INK = 'font-family="sans-serif" font-size="11" fill="currentColor"'
COLOR, CHOSEN = "var(--cl-arrival,#0072b2)", "var(--cl-error,#d1500a)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """The sliders: three of the policy; the limit in requests a minute, and the load as a share of it."""

    max_retries: int = 3
    base_delay: float = 1.0
    jitter: str = "full"
    limit: float = 50.0
    load: float = 0.84

    @property
    def policy(self) -> RetryPolicy:
        """The policy that these settings make."""
        return RetryPolicy(max_retries=self.max_retries, base_delay=self.base_delay, jitter=self.jitter)

    @property
    def scenario(self) -> Scenario:
        """Groups of calls on a service with this limit."""
        return Scenario.bursty(rpm=self.limit, load=self.load)

    def to_env(self) -> str:
        """Return the policy as lines of a `.env` file."""
        return f"MAX_RETRIES={self.max_retries}\nBASE_DELAY={self.base_delay:g}\nJITTER={self.jitter}\n"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a setting leads to: the share that succeeds, when 19 of 20 have a token (s), attempts for each success."""

    success: float
    p95_ttft: float
    attempts: float


@dataclass(slots=True)
class Estimate:
    """What each rung of the ladder leads to, known better the longer one works: a rung and a day at a time.

    Only whole days are compared, so that all rungs are judged by the same traffic.
    """

    knobs: Knobs
    engine: str = "plain"
    known: dict[int, list[Floats]] = field(default_factory=dict)

    def turned(self, knobs: Knobs, engine: str) -> Estimate:
        """Return the estimate for other knobs; another number of retries is a place on the same ladder."""
        same = replace(knobs, max_retries=self.knobs.max_retries) == self.knobs
        return Estimate(knobs, engine, self.known if same else {})

    def left(self) -> Iterator[tuple[int, int]]:
        """Yield (day, retries) for whatever is not known yet, in the order in which it is worth knowing."""
        rungs = dict.fromkeys((self.knobs.max_retries, *LADDER))
        for day, retries in itertools.product(range(DAYS), rungs):
            if len(self.known.get(retries, ())) <= day:
                yield day, retries

    def work(self, seconds: float) -> bool:
        """Play days for about so long, longer only for the first picture, and tell whether any are left."""
        end, ready = clock.now() + seconds, bench(self.knobs.scenario, engine=self.engine)
        for day, retries in self.left():
            if clock.now() >= end and len(self.known) >= FIRST and self.knobs.max_retries in self.known:
                return True
            self.play(ready, day, retries)
        return False

    def play(self, ready: Bench, day: int, retries: int) -> None:
        """Play one day with so many retries."""
        metrics = np.empty(len(METRICS))
        ready.metrics(self.knobs.policy.but(max_retries=retries), day, PATIENCE, metrics)
        self.known.setdefault(retries, []).append(metrics)

    @property
    def days(self) -> int:
        """How many whole days are known."""
        return min(map(len, self.known.values()))

    @property
    def outcomes(self) -> dict[int, Outcome]:
        """The outcome of each rung that is known."""
        days = self.days
        place = [METRICS.index(name) for name in ("success", "p95_ttft", "attempts_per_success")]
        means = {retries: np.mean(rows[:days], axis=0) for retries, rows in sorted(self.known.items())}
        return {retries: Outcome(*(float(mean[i]) for i in place)) for retries, mean in means.items()}


def waits(policy: RetryPolicy) -> list[list[float]]:
    """Return the waits before each retry, in seconds: `DRAWS` of each, sorted, the same draws at each call."""
    random = Random(1).random
    drawn = [list(policy.waits(random)) for _ in range(DRAWS)]
    return [sorted(column) for column in zip(*drawn, strict=True)]


def frame(title: str, x_label: str, parts: list[str]) -> str:
    """Return a picture with its title and the name of its horizontal axis."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{title}" '
        f'style="max-width:100%"><text x="{LEFT}" y="14" {INK} font-weight="600">{title}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" {INK} text-anchor="end">{x_label}</text>'
        f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" stroke="currentColor" fill="none" opacity=".4"/>'
        f"{''.join(parts)}</svg>"
    )


def scale_y(share: float) -> float:
    """Return the height in pixels of a share of the frame, from 0 at its bottom to 1 at its top."""
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def mark_y(share: float, label: str) -> str:
    """Return a label of the vertical axis."""
    return f'<text x="{LEFT - 5}" y="{scale_y(share) + 4:.1f}" {INK} text-anchor="end">{label}</text>'


def mark_x(x: float, label: str) -> str:
    """Return a label of the horizontal axis."""
    return f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 13}" {INK} text-anchor="middle">{label}</text>'


def waits_svg(knobs: Knobs) -> str:
    """Draw the waits before each retry: every draw a dot, the median a bar."""
    columns = waits(knobs.policy)
    if not columns:
        return frame("No retry, no wait", "retry", [])
    most = max(column[-1] for column in columns) or 1.0
    step = (WIDTH - LEFT - RIGHT) / len(columns)
    parts = [mark_y(0, "0 s"), mark_y(1, f"{most:.3g} s")]
    for i, column in enumerate(columns):
        x = LEFT + (i + 0.5) * step
        dots = "".join(f"M{x - 4 + 8 * (j % 5) / 4:.1f} {scale_y(wait / most):.1f}h0" for j, wait in enumerate(column))
        middle = scale_y(column[len(column) // 2] / most)
        parts.append(f'<path d="{dots}" stroke="{COLOR}" stroke-width="3" stroke-linecap="round" opacity=".5"/>')
        parts.append(f'<path d="M{x - 9:.1f} {middle:.1f}h18" stroke="{CHOSEN}" stroke-width="2"/>')
        parts.append(mark_x(x, str(i + 1)))
    total = sum(column[len(column) // 2] for column in columns)
    return frame(f"Waits before each retry, about {total:.3g} s in all", "retry", parts)


def success_svg(estimate: Estimate) -> str:
    """Draw the share of calls that succeed against `max_retries`, the chosen one marked."""
    knobs, found = estimate.knobs, estimate.outcomes
    low = max(0.0, min(outcome.success for outcome in found.values()) - 0.05)
    step = (WIDTH - LEFT - RIGHT - 16) / max(found)

    def place(retries: int) -> tuple[float, float]:
        return LEFT + 8 + retries * step, scale_y((found[retries].success - low) / (1 - low))

    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in map(place, found))
    x, y = place(knobs.max_retries)
    parts = [
        mark_y(1, "100 %"),
        mark_y(0, percent(low)),
        f'<path d="M{line}" stroke="{COLOR}" stroke-width="2" fill="none"/>',
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{CHOSEN}"/>',
        *(mark_x(place(n)[0], str(n)) for n in found if n % 2 == 0),
    ]
    chosen = found[knobs.max_retries].success
    return frame(f"{percent(chosen, 1)} of calls succeed", "max_retries", parts)


def told(estimate: Estimate) -> str:
    """Return the outcome of the chosen setting as a sentence."""
    knobs, days = estimate.knobs, estimate.days
    outcome = estimate.outcomes[knobs.max_retries]
    if outcome.p95_ttft == float("inf"):
        slow = "more than one call in twenty gets no token at all"
    else:
        slow = f"19 of 20 calls have their first token within {outcome.p95_ttft:.3g} s"
    return (
        f"{percent(outcome.success, 1)} of calls succeed with {outcome.attempts:.2f} attempts each; {slow}. "
        f"{days} {'day' if days == 1 else 'days'} of traffic in groups at {percent(knobs.load)} of {knobs.limit:g} "
        "requests a minute."
    )


def percent(share: float, digits: int = 0) -> str:
    """Return a share as the sliders say it."""
    return f"{100 * share:.{digits}f} %"


def checked(given: dict[str, object]) -> Knobs:
    """Return the settings a browser sent. Raises ValueError for one that no slider gives."""
    numbers = {name: float(str(given[name])) for name in ("max_retries", "base_delay", "limit", "load")}
    if given["jitter"] not in JITTERS:
        raise ValueError(f"jitter={given['jitter']!r} is unknown; use one of {', '.join(JITTERS)}.")
    retries = int(numbers.pop("max_retries"))
    return Knobs(max_retries=retries, jitter=str(given["jitter"]), **numbers)
