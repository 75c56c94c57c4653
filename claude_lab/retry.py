"""When to ask again: a policy whose waits are an iterator.

Values only: nothing here sleeps, reads a clock or draws a number of its own; `now` and `rand` are handed in.
A driver asks `policy.begin(now)`, then `state.after(failure, now=..., rand=...)` at each failure, and obeys.

Divergence 1 (from the anthropic SDK): `retry-after` is a floor with the jitter on top, and above `max_retry_after` the
policy gives up; the SDK obeys it exactly, whatever it says, and so gathers everybody at one instant (jitter "sdk" too).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from claude_lab.amounts import is_amount, is_count
from claude_lab.failure import KINDS, Failure, Verdict, classify, kind_of
from claude_lab.guests import Faces
from claude_lab.jitter import JITTERS, above, draw
from claude_lab.thrift import Budget, Pacer, Share

MOST_RETRIES = 1_000_000
"""Retries a policy takes: to go on for ever is a count that nobody reaches."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not ask again; `reason` says why, and `rule` which rule said so."""

    reason: str
    rule: str = "final"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that is over: what logs, traces, metrics and views are fed.

    `number` counts from 1; `at` and `took` are in seconds. A failure is followed by a `wait` or by `gave_up`'s reason.
    """

    number: int
    at: float
    took: float
    failure: Failure | None = None
    wait: float | None = None
    gave_up: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy(Faces):
    """How often and how patiently to ask again.

    `max_retries` counts the attempts after the first. The n-th wait (n from 0) has the ceiling
    c = min(max_delay, base_delay * 2**n), and `jitter` draws below it: "none" takes it all, "full" U(0, c),
    "equal" c/2 + U(0, c/2), "sdk" 3c/4 + U(0, c/4); "decorrelated" is min(max_delay, U(base_delay, 3 * last wait)).
    Source: Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015; and the anthropic SDK.
    `base_delays` replaces the base for some kinds of failure. The server's `retry_after` is a floor, with the drawn
    part on top; beyond `max_retry_after` the policy gives up. `deadline` counts from the beginning of the call: no wait
    may end after it. `budget` and `pacer` are shared by the calls of one client.

    Raises ValueError for a count, a delay, a kind or a jitter that cannot be meant.
    """

    max_retries: int = 2
    base_delay: float = 1.0
    max_delay: float = 60.0
    jitter: str = "full"
    base_delays: Mapping[str, float] = field(default_factory=dict, hash=False)
    honor_retry_after: bool = True
    max_retry_after: float = 300.0
    deadline: float | None = None
    budget: Budget | None = None
    pacer: Pacer | None = None

    def __post_init__(self) -> None:
        if not is_count(self.max_retries, most=MOST_RETRIES):
            told = f"use 0 for a single attempt, at most {MOST_RETRIES:,}"
            raise ValueError(f"max_retries={self.max_retries!r} is not a count; {told}.")
        if not isinstance(self.base_delays, Mapping):
            raise ValueError(f"base_delays={self.base_delays!r} is no mapping; use {{'overloaded': 5.0}}.")
        delays = {name: getattr(self, name) for name in ("base_delay", "max_delay", "max_retry_after")}
        for name, value in {**delays, **{f"base_delays[{k!r}]": v for k, v in self.base_delays.items()}}.items():
            if not is_amount(value):
                raise ValueError(f"{name}={value!r} is not a delay; use seconds, 0 or more.")
        if strange := set(self.base_delays).difference(KINDS):
            raise ValueError(f"base_delays names {sorted(strange)!r}; use some of {', '.join(KINDS)}.")
        if self.jitter not in JITTERS:
            raise ValueError(f"jitter={self.jitter!r} is unknown; use one of {', '.join(JITTERS)}.")
        if self.deadline is not None and not is_amount(self.deadline, above=0, most=math.inf):
            raise ValueError(f"deadline={self.deadline!r} leaves no time; use seconds above 0, or None.")
        if not isinstance(self.honor_retry_after, bool):
            raise ValueError(f"honor_retry_after={self.honor_retry_after!r} is neither; use True or False.")
        for name, kind, example in (("budget", Budget, "Budget(ratio=0.1)"), ("pacer", Pacer, "Pacer(rate=1)")):
            if not isinstance(getattr(self, name), (kind, type(None))):
                raise ValueError(f"{name}={getattr(self, name)!r} is no {kind.__name__}; use {example}, or None.")

    @classmethod
    def of(cls, policy: Self | None) -> Self:
        """Return the policy, or for None the usual one. Raises TypeError for anything else."""
        if not isinstance(policy, (cls, type(None))):
            raise TypeError(f"policy={policy!r:.60} is not a RetryPolicy; use RetryPolicy(max_retries=2), or None.")
        return cls() if policy is None else policy

    @classmethod
    def sdk(cls, max_retries: int = 2) -> Self:
        """Return what the anthropic SDK does on its own: 0.5 s doubling to 8 s, `retry-after` obeyed to the letter."""
        return cls(max_retries=max_retries, base_delay=0.5, max_delay=8.0, jitter="sdk", max_retry_after=2.0**32)

    @classmethod
    def article(cls, max_attempts: int = 3, base_delay: float = 1.0) -> Self:
        """Return the waits of `base * 2**n` without jitter, deaf to `retry-after`; the count includes the first try."""
        return cls(
            max_retries=max_attempts - 1,
            base_delay=base_delay,
            max_delay=2.0**32,
            jitter="none",
            honor_retry_after=False,
        )

    @property
    def max_attempts(self) -> int:
        """How often the upstream may be asked for one call: the first attempt and the retries."""
        return self.max_retries + 1

    @property
    def summary(self) -> str:
        """The policy in a line, as a server says it at its start."""
        many = "up to 1 retry" if self.max_retries == 1 else f"up to {self.max_retries} retries"
        attempts = f"{self.max_attempts} attempt{'s' if self.max_retries else ''} a call"
        delays = f"base_delay {self.base_delay:g} s, max_delay {self.max_delay:g} s, jitter {self.jitter}"
        return f"{many if self.max_retries else 'none'} after the first attempt ({attempts}), {delays}"

    def base_of(self, kind: str) -> float:
        """Return the base delay for a kind of failure, in seconds."""
        return self.base_delays.get(kind, self.base_delay)

    def waits(self, rand: Callable[[], float]) -> Iterator[float]:
        """Yield the backoff waits in seconds, `max_retries` of them; `rand` returns numbers in [0, 1)."""
        last, jitter = self.base_delay, JITTERS.index(self.jitter)
        for retries in range(self.max_retries):
            last = sum(draw(jitter, self.base_delay, self.max_delay, retries, last, rand()))
            yield last

    def share(self) -> Share:
        """Return what the calls of one client have in common under this policy."""
        return Share(self.budget, self.pacer)

    def begin(self, now: float, share: Share | None = None) -> State:
        """Return the state of one call that starts `now`; calls of one client hand in one `share`."""
        return State(self, now, share or self.share())

    def but(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return replace(self, **changes)


@dataclass(slots=True)
class State:
    """Where one call stands: `after` answers each of its failures."""

    policy: RetryPolicy
    started: float
    share: Share
    retries: int = 0
    last: float | None = None

    def pace(self, now: float) -> float:
        """Return the seconds to wait before an attempt that is ready `now`; reserves the turn."""
        return self.share.turn(now)

    def succeeded(self) -> None:
        """Say that the call succeeded, which feeds the budget."""
        self.share.earn()

    def after(self, failure: Failure, *, now: float, rand: Callable[[], float]) -> Wait | GiveUp:
        """Say how long to wait before the next attempt, or why there is none; draws one number per wait."""
        policy = self.policy
        verdict = classify(failure)
        if not verdict.retryable:
            return GiveUp(verdict.reason)
        if self.retries >= policy.max_retries:
            return GiveUp(f"max_retries={policy.max_retries} used up", "max_retries")
        floor = (failure.retry_after or 0.0) if policy.honor_retry_after else 0.0
        if floor > policy.max_retry_after:
            reason = f"retry-after {floor:g} s is longer than max_retry_after={policy.max_retry_after:g}"
            return GiveUp(reason, "retry_after")
        seconds = self._wait(failure.kind, floor, rand())
        if policy.deadline is not None and now + seconds > self.started + policy.deadline:
            return GiveUp(f"the deadline of {policy.deadline:g} s would pass", "deadline")
        if not self.share.spend(failure.kind):
            return GiveUp(f"the retry budget for {failure.kind} is used up", "budget")
        self.retries += 1
        return Wait(seconds)

    def _wait(self, kind: str, floor: float, chance: float) -> float:
        base, jitter = self.policy.base_of(kind), JITTERS.index(self.policy.jitter)
        last = base if self.last is None else self.last
        fixed, spread = draw(jitter, base, self.policy.max_delay, self.retries, last, chance)
        self.last = fixed + spread
        return above(jitter, floor, fixed, spread)


__all__ = [
    "JITTERS",
    "KINDS",
    "Attempt",
    "Budget",
    "Failure",
    "GiveUp",
    "Pacer",
    "RetryPolicy",
    "Share",
    "State",
    "Verdict",
    "Wait",
    "classify",
    "kind_of",
]
