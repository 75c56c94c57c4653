"""Racing settings: day after day, while they may still meet the goal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

import numpy as np

from claude_lab import grids, intervals
from claude_lab.amounts import is_amount
from claude_lab.intervals import Interval
from claude_lab.metrics import METRICS, reach
from claude_lab.model import Floats, traffic_of
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario

ROUNDS = (3, 8, 28, 78)
"""Days added in each round of the race."""
CLEARLY = 10
"""Settings that surely meet the goal before one that is surely dearer than all of them leaves the race."""
FRESH = 117
"""Days, not seen in the race, on which the winner is measured."""
FRESH_FROM = 1_000_000
COST = "attempts_per_success"
IN_TIME = 0.95
"""The share of calls that must have their first delta in time: what a 95th percentile says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a setting must reach: a share of calls that succeed, and the wait for the first delta of 95 calls in 100.

    Raises ValueError for a goal that no setting could have.
    """

    success: float = 0.99
    p95_ttft: float = 45.0

    def __post_init__(self) -> None:
        if not is_amount(self.success, above=0, most=1):
            raise ValueError(f"success={self.success!r} is not a share; give a number above 0, up to 1.")
        if not is_amount(self.p95_ttft, above=0, most=math.inf):
            raise ValueError(f"p95_ttft={self.p95_ttft!r} is no time; give seconds above 0, or math.inf.")

    def met(self, success: Interval, in_time: Interval) -> bool:
        """Tell whether the goal is met even at the lower ends of both shares."""
        return success.low >= self.success and in_time.low >= IN_TIME

    def __str__(self) -> str:
        return f"{self.success:.4g} success and a first token within {self.p95_ttft:g} s for {IN_TIME:.0%} of calls"


@dataclass(frozen=True, slots=True)
class Measured:
    """A setting with its intervals."""

    policy: RetryPolicy
    success: Interval
    in_time: Interval
    p95_ttft: Interval
    cost: Interval
    days: Floats = field(repr=False)

    @classmethod
    def of(cls, policy: RetryPolicy, days: Floats) -> Measured:
        """Measure from the metrics of shape (days, metrics)."""
        names = ("success", "in_time", "p95_ttft", COST)
        success, in_time, wait, cost = (
            intervals.interval(days[:, METRICS.index(name)], reach=reach(name)) for name in names
        )
        return cls(policy, success, in_time, wait, cost, days)


@dataclass(slots=True)
class Race:
    """Settings that run day after day while they may still win."""

    scenario: Scenario
    goal: Goal
    executor: Executor | None
    engine: str

    def days(self, policies: Sequence[RetryPolicy], seeds: Sequence[int], scenario: Scenario | None = None) -> Floats:
        """Return the metrics of these settings on these days."""
        where = scenario or self.scenario
        return grids.run(
            where,
            policies,
            seeds,
            executor=self.executor,
            engine=self.engine,
            progress=False,
            patience=self.goal.p95_ttft,
        )

    def run(self, policies: list[RetryPolicy]) -> list[Measured]:
        """Return the settings that no round could exclude, the best first; if all fall, the last to fall.

        A setting leaves when it surely misses the goal, or is surely dearer than enough others that surely meet it.
        """
        left, seen, start = policies, np.empty((len(policies), 0, len(METRICS))), 0
        for added in ROUNDS:
            seen = np.concatenate([seen, self.days(left, range(start, start + added))], axis=1)
            start += added
            names = ("success", "in_time", COST)
            (low, success, high), (least, _, most), (cheap, _, dear) = (
                intervals.estimate(seen[:, :, METRICS.index(name)], reach=reach(name)) for name in names
            )
            alive = (high >= self.goal.success) & (most >= IN_TIME)
            sure = np.sort(dear[(low >= self.goal.success) & (least >= IN_TIME)])
            if len(sure) >= CLEARLY:
                alive &= cheap <= sure[CLEARLY - 1]
            if not alive.any():
                top = np.argsort(-success)[:5]
                return [Measured.of(left[place], seen[place]) for place in top]
            left = [policy for policy, stays in zip(left, alive, strict=True) if stays]
            seen = seen[alive]
        measured = [Measured.of(policy, days) for policy, days in zip(left, seen, strict=True)]
        return sorted(measured, key=lambda each: (not self.meets(each), each.cost.value, -each.in_time.value))

    def meets(self, each: Measured) -> bool:
        """Tell whether a setting surely meets the goal."""
        return self.goal.met(each.success, each.in_time)

    def fresh(self, policy: RetryPolicy, scenario: Scenario | None = None, days: int = FRESH) -> Measured:
        """Measure a setting on days that chose nothing."""
        seeds = range(FRESH_FROM, FRESH_FROM + days)
        return Measured.of(policy, self.days([policy], seeds, scenario)[0])

    def judged(self, candidates: Sequence[Measured]) -> list[Measured]:
        """Measure settings, in their order, on days that chose nothing."""
        policies = [each.policy for each in candidates]
        if not policies:
            return []
        days = self.days(policies, range(FRESH_FROM, FRESH_FROM + FRESH))
        return [Measured.of(policy, own) for policy, own in zip(policies, days, strict=True)]

    def winner(self, candidates: Sequence[Measured], judged: Sequence[Measured]) -> Measured | None:
        """Return the first candidate that meets the goal, in the race and as `judged` on fresh days: in the order of
        the race, so that the fresh days judge but do not choose.
        """
        pairs = zip(candidates, judged, strict=True)
        return next((after for before, after in pairs if self.meets(before) and self.meets(after)), None)

    def equals(self, winner: Measured, candidates: Sequence[Measured]) -> list[Measured]:
        """Return the candidates that meet the goal at a cost the common days cannot tell from the winner's."""
        column = METRICS.index(COST)
        own = next(each for each in candidates if each.policy == winner.policy)
        gaps = [(each, intervals.difference(each.days[:, column], own.days[:, column])) for each in candidates]
        return [each for each, gap in gaps if each is not own and self.meets(each) and gap.low <= 0 <= gap.high]


def scaled(scenario: Scenario, *, load: float = 1.0, limit: float = 1.0) -> Scenario:
    """Return the scenario with so many times the load, and so many times the limits."""
    limits = scenario.limits
    if limits is not None:
        amounts = {name: getattr(limits, name) for name in ("requests", "input_tokens", "output_tokens")}
        limits = replace(limits, **{name: amount * limit for name, amount in amounts.items() if amount is not None})
    return replace(scenario, limits=limits, traffic=traffic_of(scenario).times_faster(load))
