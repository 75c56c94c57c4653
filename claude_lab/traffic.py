"""Who asks when: the arrivals of requests, drawn by counter, so that one seed is one day of traffic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from claude_lab import chance
from claude_lab.amounts import is_amount, is_count
from claude_lab.chance import Purpose

MOST_CALLS = 1_000_000
"""Calls a day of traffic takes: more would keep a sweep for hours on a single setting."""
LONGEST = 10_000_000.0
"""Seconds a day of traffic lasts at most, a third of a year: attempts are counted for each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """`requests` calls that arrive by a `shape`; `rpm` is their average rate a minute.

    "steady": one by one, independent of each other (a Poisson process). "bursty": the same in groups of `burst`, within
    half a second each. "fanout": `burst` agents at once, again and again. "herd": everybody within `window` seconds,
    each once: with an outage over that window all wait for its end. "replay": at the given `times`, in seconds.
    A call carries `input_tokens` and gets `output_tokens`. The calls are dealt out to `clients`, each with its own
    budget and pacer. Raises ValueError for numbers that make no traffic.
    """

    shape: str = "steady"
    rpm: float = 50.0
    requests: int = 400
    burst: int = 5
    window: float = 20.0
    times: Sequence[float] = ()
    input_tokens: int = 500
    output_tokens: int = 250
    clients: int = 1

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"shape={self.shape!r} is unknown; use one of {', '.join(SHAPES)}.")
        object.__setattr__(self, "times", times_of(self.times))
        if self.shape == "replay":
            if not self.times:
                raise ValueError("A replay needs times, in seconds from 0 on; give the arrivals of a log.")
            object.__setattr__(self, "requests", len(self.times))
        check_rate(self.rpm)
        for name in ("requests", "burst", "clients"):
            if not is_count(getattr(self, name), least=1, most=MOST_CALLS):
                told = f"give a whole number from 1 to {MOST_CALLS:,}"
                raise ValueError(f"{name}={getattr(self, name)!r} makes no day of traffic; {told}.")
        for name in ("input_tokens", "output_tokens"):
            if not is_count(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)!r} is not a number of tokens; give a count, 0 or more.")
        if not is_amount(self.window, most=LONGEST):
            told = f"give seconds, 0 or more and at most {LONGEST:,.0f}"
            raise ValueError(f"window={self.window!r} is not a length of time; {told}.")
        if self.shape in ("steady", "bursty", "fanout") and not self.requests * 60 / self.rpm <= LONGEST:
            told = f"last more than {LONGEST:,.0f} s; ask for fewer, or faster"
            raise ValueError(f"requests={self.requests!r} at rpm={self.rpm!r} {told}.")

    def arrivals(self, seed: int) -> list[float]:
        """Return the arrival times in seconds, in order, for a seed."""
        return sorted(SHAPES[self.shape](self, lambda index: chance.u(seed, index, 0, Purpose.ARRIVAL)))

    def times_faster(self, factor: float) -> Traffic:
        """Return the same traffic with everything arriving so many times as fast."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields |= {"rpm": self.rpm * factor, "window": self.window / factor}
        return Traffic(**{**fields, "times": tuple(at / factor for at in self.times)})


def check_rate(rpm: float) -> None:
    """Raise ValueError unless this is a rate."""
    if not is_amount(rpm, above=0):
        raise ValueError(f"rpm={rpm!r} is not a rate; give calls a minute, above 0.")


def check_factors(**named: float) -> None:
    """Raise ValueError unless each of these is a number above 0."""
    for name, value in named.items():
        if not is_amount(value, above=0):
            raise ValueError(f"{name}={value!r} is no factor; give a number above 0.")


def times_of(times: Any) -> tuple[float, ...]:
    """Return arrival times in order. Raises ValueError for what is no time within a day of traffic."""
    if isinstance(times, str) or not isinstance(times, Iterable):
        raise ValueError(f"times={times!r} is no list of times; give seconds since the first call.")
    listed = list(times)
    if wrong := [at for at in listed if not is_amount(at, most=LONGEST)]:
        told = f"give seconds since the first call, at most {LONGEST:,.0f}"
        raise ValueError(f"times has {wrong[0]!r:.60}, which is no time of a day of traffic; {told}.")
    return tuple(sorted(listed))


Draw = Callable[[int], float]


def poisson(rate: float, count: int, draw: Draw) -> list[float]:
    """Return `count` times of a Poisson process of `rate` a second; draws numbers 0 to count - 1."""
    times, at = [], 0.0
    for index in range(count):
        at -= math.log(1.0 - draw(index)) / rate
        times.append(at)
    return times


def steady(traffic: Traffic, draw: Draw) -> list[float]:
    """One by one."""
    return poisson(traffic.rpm / 60.0, traffic.requests, draw)


def grouped(traffic: Traffic, draw: Draw, starts: Sequence[float], width: float) -> list[float]:
    """Let `burst` calls follow each start within `width` seconds."""
    offset = len(starts)
    return [starts[i // traffic.burst] + width * draw(offset + i) for i in range(traffic.requests)]


def bursty(traffic: Traffic, draw: Draw) -> list[float]:
    """Group by group."""
    groups = -(-traffic.requests // traffic.burst)
    return grouped(traffic, draw, poisson(traffic.rpm / 60.0 / traffic.burst, groups, draw), 0.5)


def fanout(traffic: Traffic, draw: Draw) -> list[float]:
    """All agents at once, at a fixed period."""
    groups = -(-traffic.requests // traffic.burst)
    period = 60.0 * traffic.burst / traffic.rpm
    return grouped(traffic, draw, [period * group for group in range(groups)], 0.05)


def herd(traffic: Traffic, draw: Draw) -> list[float]:
    """Everybody within the window."""
    return [traffic.window * draw(index) for index in range(traffic.requests)]


def replay(traffic: Traffic, draw: Draw) -> list[float]:
    """As it was."""
    return list(traffic.times)


SHAPES: dict[str, Callable[[Traffic, Draw], list[float]]] = {
    "steady": steady,
    "bursty": bursty,
    "fanout": fanout,
    "herd": herd,
    "replay": replay,
}
