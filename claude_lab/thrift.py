"""What one client's calls share: a budget that bounds retries, and a pacer that spaces attempts.

Plain numbers in slots, and `now` handed in: the same on any clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from claude_lab.amounts import is_amount
from claude_lab.failure import KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most `ratio` retries per success in the long run, and `burst` at once, for failures of these `kinds`.

    With `apart` each kind has a bucket of its own, so that an outage cannot use up what broken connections need.
    Right for outages, where retries only add load; wrong for `rate_limit`, where a retry is how a request queues:
    that kind is left out unless named. Source: Brooker, "Fixing retries with token buckets and circuit breakers", 2022.
    Raises ValueError for a ratio or burst that cannot be meant, or an unknown kind.
    """

    ratio: float = 0.1
    burst: float = 10.0
    kinds: frozenset[str] = frozenset({"overloaded", "server_error", "network_error", "timeout"})
    apart: bool = False

    def __post_init__(self) -> None:
        if not (is_amount(self.ratio) and is_amount(self.burst)):
            raise ValueError(f"A budget of ratio={self.ratio!r}, burst={self.burst!r} is none; give numbers >= 0.")
        object.__setattr__(self, "kinds", kinds_of(self.kinds))
        if strange := self.kinds.difference(KINDS):
            raise ValueError(f"The budget's kinds {sorted(strange)!r} are unknown; use some of {', '.join(KINDS)}.")

    @property
    def buckets(self) -> int:
        """How many buckets there are."""
        return len(self.kinds) if self.apart else 1

    def bucket(self, kind: str) -> int | None:
        """Return the number of the bucket that pays for a kind, from 0, or None."""
        if kind not in self.kinds:
            return None
        return sorted(self.kinds).index(kind) if self.apart else 0


def kinds_of(value: Any) -> frozenset[str]:
    """Return the kinds of a budget. Raises ValueError for a single text: its letters are no kinds."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"kinds={value!r} is no set of kinds; give some of {', '.join(KINDS)}, in braces.")
    return frozenset(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacer:
    """At most `rate` attempts a second, after `burst` at once: a client's own queue before the limit.

    The rule is the generic cell rate algorithm (ITU-T I.371). Raises ValueError unless rate > 0 and burst >= 1.
    """

    rate: float
    burst: float = 1.0

    def __post_init__(self) -> None:
        if not (is_amount(self.rate, above=0) and is_amount(self.burst, least=1)):
            raise ValueError(
                f"A pacer of rate={self.rate!r}, burst={self.burst!r} lets nobody through; use rate > 0 and burst >= 1."
            )


@dataclass(slots=True)
class Share:
    """The state of one client: `tokens` left in the budget's buckets, and when the pacer's queue is empty (`due`)."""

    budget: Budget | None = None
    pacer: Pacer | None = None
    tokens: list[float] = field(default_factory=list)
    due: float = field(default=-1e300)

    def __post_init__(self) -> None:
        if self.budget is not None:
            self.tokens = [self.budget.burst] * self.budget.buckets

    def spend(self, kind: str) -> bool:
        """Take one retry from the budget; False when it is used up for this kind of failure."""
        bucket = None if self.budget is None else self.budget.bucket(kind)
        if bucket is None:
            return True
        if self.tokens[bucket] < 1.0:
            return False
        self.tokens[bucket] -= 1.0
        return True

    def earn(self) -> None:
        """Put a success's share into each of the budget's buckets."""
        if self.budget is not None:
            self.tokens = [min(self.budget.burst, left + self.budget.ratio) for left in self.tokens]

    def turn(self, now: float) -> float:
        """Reserve the next turn and return the seconds to wait for it."""
        if self.pacer is None:
            return 0.0
        step = 1.0 / self.pacer.rate
        due = max(self.due, now)
        self.due = due + step
        return max(0.0, due - now - (self.pacer.burst - 1.0) * step)
