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

[grid]                    # any fields of RetryPolicy, a value or a list (a budget or a pacer is a table of its fields);
                          # `seeds` is the number of days
max_retries = [0, 1, 2, 4, 8]
base_delay = [0.5, 1.0, 2.0]
seeds = 20

[goal]                    # optional: asks for a recommendation
success = 0.99
p95_ttft = 45
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from claude_lab.limits import Limits
from claude_lab.racing import Goal
from claude_lab.recommendation import Recommendation
from claude_lab.retry import Budget, Pacer, RetryPolicy
from claude_lab.scenario import Outage, Scenario
from claude_lab.sweeps import Sweep, sweep

T = TypeVar("T")
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


UNDER = ("rpm", "load", "depth", "requests", "window", "input_tokens", "output_tokens", "clients")
SHAPES: dict[str, tuple[str, ...]] = {
    "steady": UNDER,
    "bursty": (*UNDER, "burst"),
    "fanout": (*UNDER, "agents"),
    "herd": ("clients", "rpm", "outage", "within"),
    "replay": ("times", "rpm", "depth", "input_tokens", "output_tokens", "clients"),
}
"""What each shape of a scenario may say besides `FURTHER`."""
FURTHER = ("shape", "pace", "seed", "limits", "outages")
GRID = ("seeds", "patience", *(field.name for field in fields(RetryPolicy)))


def table(told: Any, where: str, words: Sequence[str]) -> dict[str, Any]:
    """Return a table of a file. Raises ValueError when it is none, or says something that means nothing there."""
    if not isinstance(told, dict):
        raise ValueError(f"[{where}] must be a table, not {told!r:.60}; write `[{where}]` above its lines.")
    if strange := [name for name in told if name not in words]:
        raise ValueError(f"{strange[0]!r} means nothing in [{where}]; use some of {', '.join(words)}.")
    return told


def made(kind: type[T], told: Any, where: str) -> T:
    """Return the value that a table stands for. Raises ValueError for a field that is strange or lacking."""
    known: Any = fields(kind)  # type: ignore[arg-type]  # only dataclasses come here
    given = table(told, where, [field.name for field in known])
    needed = [field.name for field in known if {field.default, field.default_factory} == {MISSING}]
    if lacking := [name for name in needed if name not in given]:
        raise ValueError(f"[{where}] has no {lacking[0]!r}; give it a value.")
    return kind(**given)


def scenario_of(told: Any) -> Scenario:
    """Return the scenario of a section."""
    shape = told.get("shape", "bursty") if isinstance(told, dict) else "bursty"
    if shape not in tuple(SHAPES):
        raise ValueError(f"shape = {shape!r} is unknown; use one of {', '.join(SHAPES)}.")
    given = table(told, "scenario", (*SHAPES[shape], *FURTHER))
    if shape == "replay" and "times" not in given:
        raise ValueError("a replay needs times; give `times = [0.0, 1.5, ...]`, in seconds.")
    own = {name: value for name, value in given.items() if name not in FURTHER}
    changes: dict[str, Any] = {name: given[name] for name in ("pace", "seed") if name in given}
    scenario: Scenario = getattr(Scenario, shape)(**own)
    if "limits" in given:
        changes["limits"] = made(Limits, given["limits"], "scenario.limits")
    if "outages" in given:
        changes["outages"] = [outage_of(each) for each in listed(given["outages"])]
    return replace(scenario, **changes)


def grid_of(told: Any) -> dict[str, Any]:
    """Return the axes of a grid, tables for a budget or a pacer as what they stand for."""
    grid = dict(table(told, "grid", GRID))
    for name, kind in (("budget", Budget), ("pacer", Pacer)):
        if name in grid:
            several = grid[name] if isinstance(grid[name], list) else [grid[name]]
            grid[name] = [made(kind, each, f"grid.{name}") for each in several]
    return grid


def listed(told: Any) -> list[Any]:
    """Return the outages of a file. Raises ValueError when they are no list."""
    if not isinstance(told, list):
        raise ValueError(f"outages = {told!r:.60} is no list; write `[[scenario.outages]]` above each.")
    return told


def outage_of(told: Any) -> Outage:
    """Return one outage. Raises ValueError without its two times."""
    given = table(told, "[scenario.outages]", ("start", "stop"))
    if len(given) < 2:
        raise ValueError(f"an outage of {given!r} has no end or no beginning; give start and stop, in seconds.")
    return Outage(given["start"], given["stop"])


def read(path: str | Path) -> Experiment:
    """Read an experiment. Raises ValueError, with the file's name and what is wrong, for one that cannot be meant."""
    where = Path(path)
    try:
        told = tomllib.loads(where.read_text(encoding="utf-8"))
        if strange := set(told).difference(SECTIONS):
            raise ValueError(f"section {sorted(strange)[0]!r} is unknown; use {', '.join(SECTIONS)}")
        goal = made(Goal, told["goal"], "goal") if "goal" in told else None
        return Experiment(scenario_of(told.get("scenario", {})), grid_of(told.get("grid", {})), goal)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where.name} is not an experiment: {error}") from error
