"""How long an answer takes: the time to its first delta and the gaps between deltas, as distributions over chance.

The profiles are synthetic: their shapes are plausible, and fitted to nobody's service.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from claude_lab.amounts import is_amount, is_count

NORMAL = statistics.NormalDist()
TINY = 1e-12


def lognormal(median: float, spread: float, u: float) -> float:
    """Return the lognormal quantile at `u` in [0, 1): median * exp(spread * z), z the normal quantile."""
    if not median or not spread:
        return median
    return median * math.exp(spread * NORMAL.inv_cdf(min(max(u, TINY), 1 - TINY)))


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds to the first delta and between deltas: medians, each with the `sigma` of a lognormal spread.

    `burst` deltas leave together, after as many gaps; `prefill` seconds are added per 1,000 input tokens that no cache
    remembers; `head` is the share of the first wait after which the head and `message_start` are out.
    """

    ttft: float = 0.3
    gap: float = 0.025
    ttft_spread: float = 0.15
    gap_spread: float = 0.35
    burst: int = 1
    prefill: float = 0.0
    head: float = 0.8

    def __post_init__(self) -> None:
        for name in ("ttft", "gap", "ttft_spread", "gap_spread", "prefill"):
            if not is_amount(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)!r} is not a length of time; give a number >= 0.")
        if not is_count(self.burst, least=1) or not is_amount(self.head, most=1):
            raise ValueError(f"burst={self.burst!r} must be 1 or more, and head={self.head!r} between 0 and 1.")

    @staticmethod
    def instant() -> Pace:
        """Return the pace of tests: no waiting at all."""
        return PROFILES["instant"]

    @staticmethod
    def of(pace: Pace | str) -> Pace:
        """Return a pace, or the profile of that name. Raises ValueError for an unknown name."""
        if isinstance(pace, Pace):
            return pace
        if not isinstance(pace, str) or pace not in PROFILES:
            raise ValueError(f"There is no pace {pace!r}; choose one of {sorted(PROFILES)}, or give a Pace(...).")
        return PROFILES[pace]

    def first(self, u: float, input_tokens: int = 0) -> float:
        """Return the seconds to the first delta; `input_tokens` are those that must be read afresh."""
        return lognormal(self.ttft, self.ttft_spread, u) + self.prefill * input_tokens / 1_000

    def gaps(self, count: int, u: Callable[[int], float]) -> list[float]:
        """Return the seconds before each of `count` further deltas; `u(i)` is the chance number of the i-th."""
        if not self.gap:
            return [0.0] * count
        waits = [lognormal(self.gap, self.gap_spread, u(index)) for index in range(count)]
        if self.burst == 1:
            return waits
        grouped = [0.0] * count
        for index in range(self.burst - 1, count, self.burst):
            grouped[index] = math.fsum(waits[index - self.burst + 1 : index + 1])
        return grouped


PROFILES = {
    "instant": Pace(0.0, 0.0, 0.0, 0.0),
    "lively": Pace(),
    "steady": Pace(0.3, 0.025, 0.0, 0.0),
    "fast": Pace(0.15, 0.008, 0.2, 0.3),
    "slow": Pace(1.5, 0.12, 0.3, 0.4),
    "jittery": Pace(0.4, 0.03, 0.6, 1.2),
    "bursty": Pace(0.4, 0.025, 0.3, 0.4, burst=12),
    "long prefill": Pace(0.3, 0.025, 0.15, 0.35, prefill=0.4),
}
"""Synthetic profiles, by name."""
