"""Days of traffic on the model: one policy, one seed, rows out; and batches of them for any executor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from claude_lab import compiled, engine
from claude_lab.engine import OUTCOMES
from claude_lab.failure import KINDS
from claude_lab.metrics import METRICS, summarize
from claude_lab.plan import Plan, keys_of, numbers_of, plan_of, seconds_watched
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.traffic import Traffic

ENGINES = ("auto", "plain", "compiled")
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one call: its `outcome` (one of `engine.OUTCOMES`), how many attempts it took, and its times.

    `first` is when the first delta came (infinite if none did) and `settled` when the outcome was known; both in
    seconds from the beginning, as are `arrival` and the `times` of the attempts.
    """

    call: int
    arrival: float
    outcome: str
    attempts: int
    first: float
    settled: float
    times: tuple[float, ...] = ()


@dataclass(slots=True)
class Day:
    """The results of one day, as the engine writes them: per call, but `causes` per kind, `load` per second."""

    arrivals: Any
    outcome: Any
    attempts: Any
    first: Any
    settled: Any
    causes: Any
    load: Any
    times: Any = ()

    @property
    def results(self) -> tuple[Any, ...]:
        """What the engine writes, in its order."""
        return self.outcome, self.attempts, self.first, self.settled, self.causes, self.load, self.times

    @property
    def served(self) -> int:
        """How many calls were served."""
        return sum(OUTCOMES[outcome] == "ok" for outcome in self.outcome)

    @property
    def requests(self) -> int:
        """How many attempts all calls made together."""
        return int(sum(self.attempts))

    @property
    def ended(self) -> float:
        """When the last call was settled, in seconds."""
        return float(max(self.settled))

    @property
    def longest(self) -> float:
        """How long the longest call took until it was settled, in seconds."""
        return max(float(end - start) for start, end in zip(self.arrivals, self.settled, strict=True))

    def rows(self) -> list[Row]:
        """Return one row per call."""
        columns = zip(self.arrivals, self.outcome, self.attempts, self.first, self.settled, strict=True)
        width = len(self.times) // len(self.arrivals)
        at = [tuple(map(float, self.times[call * width : call * width + n])) for call, n in enumerate(self.attempts)]
        return [
            Row(call, float(arrival), OUTCOMES[outcome], int(attempts), float(first), float(settled), at[call])
            for call, (arrival, outcome, attempts, first, settled) in enumerate(columns)
        ]


def traffic_of(scenario: Scenario) -> Traffic:
    """Return the scenario's traffic. Raises ValueError when it has none."""
    if scenario.traffic is None:
        raise ValueError("The scenario has no traffic; use Scenario.bursty(rpm=50) or Scenario(traffic=Traffic(...)).")
    return scenario.traffic


def engine_named(name: str) -> str:
    """Return "plain" or "compiled"; "auto" is compiled where numba is installed."""
    if name not in ENGINES:
        raise ValueError(f"engine={name!r} is unknown; use one of {', '.join(ENGINES)}.")
    if name == "auto":
        return "compiled" if compiled.available() else "plain"
    return name


@lru_cache(maxsize=512)
def arrivals_of(traffic: Traffic, seed: int) -> tuple[list[float], Floats]:
    """Return a day's arrivals as a list and as an array, remembered: every setting of a sweep meets the same day."""
    times = traffic.arrivals(seed)
    return times, np.array(times)


@lru_cache(maxsize=8)
def key_array(count: int) -> npt.NDArray[np.uint64]:
    """Return the chance keys as an array."""
    return np.array(keys_of(count), dtype=np.uint64)


def table(rows: Sequence[Sequence[float]], width: int) -> Floats:
    """Return rows of numbers as an array, also when there are none."""
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)


@dataclass(slots=True)
class Bench:
    """A plan ready to run on one engine, in that engine's containers."""

    plan: Plan
    traffic: Traffic
    fast: bool
    upstream: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        plan = self.plan
        self.upstream = (plan.outages, plan.script, plan.odds, plan.faults)
        if self.fast:
            script = np.array(plan.script, dtype=np.int64)
            self.upstream = (table(plan.outages, 3), script, table(plan.odds, 2), table(plan.faults, 4))

    def day(self, policy: RetryPolicy, seed: int, *, timed: bool = False) -> Day:
        """Play one day; `timed` keeps the time of each attempt."""
        listed, array = arrivals_of(self.traffic, seed)
        calls, bins, clients = len(listed), seconds_watched(listed, policy), self.traffic.clients
        policy_numbers: Any = numbers_of(policy)
        burst, buckets_each = policy_numbers[0][7], int(policy_numbers[0][10])
        shares: Any = [float(burst)] * (clients * buckets_each), [-1e300] * clients
        buckets: Any = [list(row) for row in self.plan.buckets]
        keys: Any = keys_of(calls)
        width = calls * policy.max_attempts * timed
        if not self.fast:
            day = Day(listed, [0] * calls, [0] * calls, [math.inf] * calls, [0.0] * calls, [0] * len(KINDS), [0] * bins)
            day.times = [0.0] * width
        else:
            buckets, keys = table(self.plan.buckets, 5), key_array(calls)
            policy_numbers, shares = tuple(map(np.array, policy_numbers)), tuple(map(np.array, shares))
            counts = np.zeros(2 * calls + len(KINDS) + bins, dtype=np.int64)
            outcome, attempts, causes, load = np.split(counts, [calls, 2 * calls, 2 * calls + len(KINDS)])
            first, settled, times = np.full(calls, math.inf), np.zeros(calls), np.zeros(width)
            day = Day(array, outcome, attempts, first, settled, causes, load, times)
        upstream = (*self.upstream, buckets, self.plan.told, self.pace)
        run = compiled.functions()[0] if self.fast else engine.simulate
        run(day.arrivals, keys, seed, upstream, policy_numbers, shares, day.results)
        return day

    @property
    def pace(self) -> Any:
        """The pace's numbers."""
        return np.array(self.plan.pace) if self.fast else self.plan.pace

    def metrics(self, policy: RetryPolicy, seed: int, patience: float, into: Any) -> None:
        """Write one day's metrics into `into`, in the order of `metrics.METRICS`."""
        day, plan = self.day(policy, seed), self.plan
        run = compiled.functions()[1] if self.fast else summarize
        run(day.arrivals, day.results, (plan.outage_end, plan.capacity, plan.cut_tokens, float(patience)), into)


def bench(scenario: Scenario, *, engine: str = "auto") -> Bench:
    """Return the scenario ready to run. Raises ValueError for what the model does not know."""
    traffic = traffic_of(scenario)
    return Bench(plan_of(scenario, traffic), traffic, engine_named(engine) == "compiled")


def day(scenario: Scenario, policy: RetryPolicy, *, seed: int = 0, engine: str = "auto") -> Day:
    """Play one day of the scenario under a policy."""
    return bench(scenario, engine=engine).day(policy, seed, timed=True)


def batch(
    scenario: Scenario, policies: Sequence[RetryPolicy], seeds: Sequence[int], engine: str, patience: float = 45.0
) -> Floats:
    """Return the metrics of policies x seeds, shape (policies, seeds, metrics): the unit of work of a sweep."""
    ready = bench(scenario, engine=engine)
    result = np.empty((len(policies), len(seeds), len(METRICS)))
    for row, policy in enumerate(policies):
        for column, seed in enumerate(seeds):
            ready.metrics(policy, seed, patience, result[row, column])
    return result
