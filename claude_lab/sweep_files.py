"""Experiments in a TOML file: the scenario, the grid and the goal, run with one call.

[scenario]
shape = "bursty"          # steady, bursty, fanout, herd, replay; the rest as in Scenario.bursty, ...
rpm = 50
load = 0.75

[scenario.limits]         # optional: replaces the limits that `rpm` makes
requests = 50
retry_after = "seconds"

[[scenario.outages]]      # optional
start = 60
stop = 120

[grid]                    # any fields of RetryPolicy, a value or a list; `seeds` is the number of days
max_retries = [0, 1, 2, 4, 8]
base_delay = [0.5, 1.0, 2.0]
seeds = 20

[goal]                    # optional: asks for a recommendation
success = 0.99
p95_ttft = 45
"""

from __future__ import annotations

import tomllib
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from claude_lab.limits import Limits
from claude_lab.racing import Goal
from claude_lab.recommendation import Recommendation
from claude_lab.scenario import Outage, Scenario
from claude_lab.sweeps import Sweep, sweep

SECTIONS = ("scenario", "grid", "goal")


@dataclass(frozen=True, slots=True)
class Experiment:
    """A file's contents: `run()` sweeps the grid and, if the file has a goal, recommends."""

    scenario: Scenario
    grid: dict[str, Any]
    goal: Goal | None

    def run(
        self, *, executor: Executor | None = None, progress: bool | None = None
    ) -> tuple[Sweep, Recommendation | None]:
        """Return the sweep, and the recommendation or None."""
        swept = sweep(self.scenario, executor=executor, progress=progress, **self.grid)
        if self.goal is None:
            return swept, None
        return swept, swept.recommend(success=self.goal.success, p95_ttft=self.goal.p95_ttft)


def scenario_of(told: dict[str, Any]) -> Scenario:
    """Return the scenario of a section."""
    rest = dict(told)
    shape, limits, outages = rest.pop("shape", "bursty"), rest.pop("limits", None), rest.pop("outages", [])
    makers = {name: getattr(Scenario, name) for name in ("steady", "bursty", "fanout", "herd", "replay")}
    if shape not in makers:
        raise ValueError(f"shape = {shape!r} is unknown; use one of {', '.join(makers)}.")
    changes: dict[str, Any] = {name: rest.pop(name) for name in ("pace", "seed") if name in rest}
    scenario: Scenario = makers[shape](**rest)
    if limits is not None:
        changes["limits"] = Limits(**limits)
    if outages:
        changes["outages"] = [Outage(each["start"], each["stop"]) for each in outages]
    return replace(scenario, **changes)


def read(path: str | Path) -> Experiment:
    """Read an experiment. Raises ValueError, with the file's name and what is wrong, for one that cannot be meant."""
    where = Path(path)
    try:
        told = tomllib.loads(where.read_text(encoding="utf-8"))
        if strange := set(told).difference(SECTIONS):
            raise ValueError(f"section {sorted(strange)[0]!r} is unknown; use {', '.join(SECTIONS)}")
        goal = Goal(**told["goal"]) if "goal" in told else None
        return Experiment(scenario_of(told.get("scenario", {})), told.get("grid", {}), goal)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{where.name} is not an experiment: {error}") from error
