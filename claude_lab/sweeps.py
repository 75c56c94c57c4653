"""Sweeps: policies x days on the model, with intervals; and the setting to take to production."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from claude_lab import grids, intervals
from claude_lab.amounts import is_amount, is_count
from claude_lab.intervals import Interval
from claude_lab.metrics import METRICS, reach
from claude_lab.model import Floats, traffic_of
from claude_lab.racing import Goal
from claude_lab.recommendation import Recommendation, recommend
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd

HIGHER = ("success", "in_time", "goodput")
"""The metrics of which more is better."""
SHOWN = ("success", "p50_ttft", "p95_ttft", "attempts_per_success")


def spread(value: Any) -> list[Any]:
    """Return an axis as a list: a single value is an axis of one. A list without end is cut where no grid reaches."""
    single = isinstance(value, (str, Mapping)) or not isinstance(value, Iterable)
    return [value] if single else list(itertools.islice(value, grids.MOST + 1))


def days_of(seeds: Any) -> list[int]:
    """Return the seeds of the days to play. Raises ValueError for what is neither a number of days nor their seeds."""
    if is_count(seeds, most=grids.MOST_DAYS):
        days = list(range(seeds))
    elif isinstance(seeds, Iterable) and not isinstance(seeds, (str, bytes)):
        days = list(itertools.islice(seeds, grids.MOST_DAYS + 1))
    else:
        raise ValueError(
            f"seeds={seeds!r:.60} is no number of days; give 1 to {grids.MOST_DAYS:,}, or a list of seeds."
        )
    if wrong := [day for day in days if not is_count(day, most=2**63 - 1)]:
        raise ValueError(f"seeds has {wrong[0]!r:.60}, which is not a seed; give whole numbers, 0 or more.")
    if not days:
        raise ValueError(f"seeds={seeds!r} leaves no day to play; give 1 or more.")
    return [int(day) for day in days]


def policies_of(policy: RetryPolicy, axes: Mapping[str, Sequence[Any]]) -> list[RetryPolicy]:
    """Return one policy per point of the grid, the last axis fastest. Raises ValueError for a bad axis."""
    for name, values in axes.items():
        if name not in RetryPolicy.__slots__:
            raise ValueError(f"{name!r} is not a field of RetryPolicy; use some of {', '.join(RetryPolicy.__slots__)}.")
        if not values:
            raise ValueError(f"The axis {name} is empty; give at least one value.")
    if (points := math.prod(len(values) for values in axes.values())) > grids.MOST:
        raise ValueError(f"The grid has {points:,} settings, more than {grids.MOST:,}; make some axes coarser.")
    return [policy.but(**dict(zip(axes, point, strict=True))) for point in itertools.product(*axes.values())]


@dataclass(slots=True)
class Sweep:
    """The result: `metrics` has the shape (settings, seeds, `METRICS`); settings run through `axes` in order."""

    scenario: Scenario
    axes: dict[str, list[Any]]
    policies: list[RetryPolicy]
    seeds: list[int]
    metrics: Floats
    options: dict[str, Any]

    @property
    def complete(self) -> bool:
        """Whether every setting was run: an interrupt leaves some out."""
        return not bool(np.isnan(self.metrics[:, :, 0]).any())

    def days(self, metric: str) -> Floats:
        """Return a metric of every setting on every day, shape (settings, seeds)."""
        if metric not in METRICS:
            raise ValueError(f"There is no metric {metric!r}; use one of {', '.join(METRICS)}.")
        values: Floats = self.metrics[:, :, METRICS.index(metric)]
        return values

    def estimate(self, metric: str, *, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
        """Return (low, value, high) of a metric, one each per setting."""
        return intervals.estimate(self.days(metric), level=level, reach=reach(metric))

    def grid(self, metric: str, *, x: str = "base_delay", y: str = "max_retries", **at: Any) -> Floats:
        """Return a metric's estimates as a table, shape (y values, x values); `at` fixes the other axes."""
        return self.table(self.estimate(metric)[1], x=x, y=y, **at)

    def table(self, values: Floats, *, x: str, y: str, **at: Any) -> Floats:
        """Return one value per setting as a table over two axes; other axes are at their first value, or `at`."""
        across, down = self.axis(x), self.axis(y)
        return np.array([[values[self.place({**at, y: b, x: a})] for a in across] for b in down])

    def axis(self, name: str) -> list[Any]:
        """Return the values of an axis. Raises ValueError for a name that is none."""
        if name not in self.axes:
            raise ValueError(f"{name!r} is no axis of this sweep; use some of {', '.join(self.axes)}.")
        return self.axes[name]

    def place(self, point: Mapping[str, Any]) -> int:
        """Return the place of a point of the grid; axes it leaves out are at their first value.

        Raises ValueError for an axis or a value that the grid has not.
        """
        for name, value in point.items():
            if value not in self.axis(name):
                raise ValueError(f"{name}={value!r} was not swept; use one of {self.axes[name]!r:.200}.")
        index = 0
        for name, values in self.axes.items():
            index = index * len(values) + (values.index(point[name]) if name in point else 0)
        return index

    def interval(self, metric: str, **at: Any) -> Interval:
        """Return one setting's interval."""
        return intervals.interval(self.days(metric)[self.place(at)], reach=reach(metric))

    def settings(self) -> list[dict[str, Any]]:
        """Return the swept fields of each setting."""
        return [{name: getattr(policy, name) for name in self.axes} for policy in self.policies]

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per setting: its fields, and each metric with its bounds (`_low`, `_high`)."""
        import pandas as pd  # optional, and slow to import

        columns: dict[str, Any] = {name: [each[name] for each in self.settings()] for name in self.axes}
        for metric in METRICS:
            columns[f"{metric}_low"], columns[metric], columns[f"{metric}_high"] = self.estimate(metric)
        return pd.DataFrame(columns)

    def recommend(self, *, success: float = 0.99, p95_ttft: float = 45.0, verify: bool = True) -> Recommendation:
        """Race the grid's settings for the cheapest that meets the goal; see `recommendation.recommend`."""
        goal = Goal(success=success, p95_ttft=p95_ttft)
        return recommend(self.scenario, self.policies, goal, verify=verify, axes=list(self.axes), **self.options)

    def heatmap(
        self,
        metric: str = "success",
        *,
        goal: float | None = None,
        x: str = "base_delay",
        y: str = "max_retries",
        **at: Any,
    ) -> Any:
        """Return the figure of a metric over two axes, the cells that meet `goal` outlined, the undecided hatched."""
        from claude_lab import sweep_plots  # matplotlib takes half a second

        low, value, high = (self.table(bound, x=x, y=y, **at) for bound in self.estimate(metric))
        return sweep_plots.heatmap(
            value,
            x=(x, self.axis(x)),
            y=(y, self.axis(y)),
            name=metric,
            goal=goal,
            lower=metric not in HIGHER,
            bounds=(low, high),
            title=self._title(metric),
        )

    def pareto(self, **options: Any) -> Any:
        """Return the figure of cost against wait, every setting a point."""
        from claude_lab import sweep_plots  # matplotlib takes half a second

        names = "attempts_per_success", "p95_ttft", "success"
        return sweep_plots.pareto(*(self.estimate(name)[1] for name in names), **options)

    def _title(self, metric: str) -> str:
        traffic = traffic_of(self.scenario)
        return f"{metric}, {traffic.shape} traffic, {len(self.seeds)} days of {traffic.requests} calls"

    def wasted(self, dollars_per_million: float) -> Floats:
        """Return what broken answers cost in dollars a day, per setting, at one price for all tokens."""
        return self.estimate("wasted_tokens")[1] * dollars_per_million / 1e6

    def best(self, count: int = 5) -> list[int]:
        """Return the places of the settings with the most success, the cheaper first among equals."""
        success, cost = self.estimate("success")[1], self.estimate("attempts_per_success")[1]
        return [int(place) for place in np.lexsort((cost, -np.nan_to_num(success, nan=-1.0)))[:count]]

    def __len__(self) -> int:
        return len(self.policies)

    def __repr__(self) -> str:
        days = f"{len(self.seeds)} days of {traffic_of(self.scenario).requests} calls"
        left = "" if self.complete else ", interrupted"
        return f"<Sweep of {len(self)} settings x {days}{left}>"

    def _repr_html_(self) -> str:
        columns = [*self.axes, *SHOWN]
        head = "".join(f"<th>{escape(name)}</th>" for name in columns)
        estimates = {metric: self.estimate(metric) for metric in SHOWN}
        rows = []
        for place in self.best():
            cells = [str(self.settings()[place][name]) for name in self.axes]
            cells += [str(Interval(*(float(bound[place]) for bound in estimates[metric]))) for metric in SHOWN]
            rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
        caption = f"<caption>{escape(repr(self))}; the most success first</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def sweep(
    scenario: Scenario,
    *,
    max_retries: int | Iterable[int] = (0, 1, 2, 3, 4, 6, 8, 12),
    base_delay: float | Iterable[float] = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0),
    jitter: str | Iterable[str] = "full",
    seeds: int | Sequence[int] = 20,
    policy: RetryPolicy | None = None,
    executor: Executor | None = None,
    engine: str = "auto",
    progress: bool | None = None,
    patience: float = 45.0,
    **axes: Any,
) -> Sweep:
    """Play every setting of the grid on the same days of traffic, in virtual time, on the model.

    Each axis is a value or several; any field of `RetryPolicy` may be one, and `policy` gives the fields that are none.
    `seeds` is a number of days or their seeds. `executor` is any `concurrent.futures.Executor`; the result does not
    depend on it. `patience` is the wait, in seconds, that the metric `in_time` allows.
    An interrupt returns what is done. Raises ValueError for an empty grid, a grid out of reach, and for a
    scenario that the model does not know or that has no traffic; TypeError for a scenario or executor that is none.
    """
    given = {"max_retries": max_retries, "base_delay": base_delay, "jitter": jitter, **axes}
    listed = {name: spread(values) for name, values in given.items()}
    days = days_of(seeds)
    if not isinstance(scenario, Scenario):
        raise TypeError(f"scenario={scenario!r:.60} is not a Scenario; use Scenario.bursty(rpm=50), or another.")
    if executor is not None and not hasattr(executor, "submit"):
        raise TypeError(
            f"executor={executor!r:.60} is no Executor; use concurrent.futures.ProcessPoolExecutor(), or None."
        )
    if not is_amount(patience, above=0, most=math.inf):
        raise ValueError(f"patience={patience!r} is no time; give seconds above 0.")
    policies = policies_of(RetryPolicy.of(policy), listed)
    options: dict[str, Any] = {"executor": executor, "engine": engine}
    metrics = grids.run(scenario, policies, days, progress=progress, patience=patience, **options)
    return Sweep(scenario, listed, policies, days, metrics, options)
