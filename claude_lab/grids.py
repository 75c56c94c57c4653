"""Many policies over many days, on any executor: batches worth sending, progress, and a partial result on interrupt."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from claude_lab import clock, model
from claude_lab.metrics import METRICS
from claude_lab.model import Floats
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario

BATCH = 0.15
"""Seconds of work a task should hold: below it an executor's own cost shows."""
LONG = 10.0
"""Seconds from which on a sweep says beforehand how long it will take."""
MOST = 200_000
"""Settings a sweep takes."""
MOST_DAYS = 100_000
"""Days a sweep takes."""
MOST_PLAYED = 5_000_000
"""Settings times days: what their metrics leave room for in memory."""
MOST_CALLS = 20_000_000
"""Calls of all days together: they stay in memory, since every setting meets the same."""
SAMPLE = 2_000
"""Calls on which the cost of a day is measured: a long day is many times as long."""


def checked(scenario: Scenario, policies: Sequence[RetryPolicy], seeds: Sequence[int]) -> None:
    """Raise ValueError for a grid that is empty or out of reach."""
    if not policies or not seeds:
        raise ValueError(f"The grid has {len(policies)} settings and {len(seeds)} seeds; give at least one of each.")
    if len(policies) > MOST:
        raise ValueError(f"The grid has {len(policies)} settings, more than {MOST}; make some axes coarser.")
    if len(policies) * len(seeds) > MOST_PLAYED:
        told = f"{len(policies):,} settings on {len(seeds):,} days are more than {MOST_PLAYED:,} together"
        raise ValueError(f"{told}; make some axes coarser, or play fewer days.")
    calls = model.traffic_of(scenario).requests
    if calls * len(seeds) > MOST_CALLS:
        told = f"{len(seeds):,} days of {calls:,} calls are more than {MOST_CALLS:,} calls together"
        raise ValueError(f"{told}; play fewer days, or shorter ones.")


def sampled(scenario: Scenario) -> tuple[Scenario, float]:
    """Return the scenario with a day short enough to measure, and how many of them a whole day takes."""
    traffic = model.traffic_of(scenario)
    if traffic.requests <= SAMPLE:
        return scenario, 1.0
    short = replace(traffic, requests=SAMPLE, times=traffic.times[:SAMPLE])
    return replace(scenario, traffic=short), traffic.requests / SAMPLE


def cost(scenario: Scenario, policies: Sequence[RetryPolicy], seeds: Sequence[int], engine: str) -> float:
    """Return the CPU seconds one setting takes on all seeds, measured on a few; compiles the engine if need be."""
    spread = [policies[0], policies[len(policies) // 2], policies[-1]]
    short, times = sampled(scenario)
    model.batch(short, spread[:1], seeds[:1], engine)
    began = clock.cpu()
    model.batch(short, spread, seeds[:2], engine)
    return max(1e-6, (clock.cpu() - began) / len(spread) / len(seeds[:2]) * len(seeds) * times)


def batches(count: int, each: float, workers: int) -> list[slice]:
    """Cut the settings into tasks of at least `BATCH` seconds, several for each worker if there is work for it."""
    size = max(1, round(BATCH / each), -(-count // (8 * workers)) if each * count > 8 * workers * BATCH else 1)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


@contextmanager
def workers(executor: Executor | None, engine: str) -> Iterator[Executor | None]:
    """Hand out the given executor, else threads for the compiled engine (it runs outside the interpreter's lock)."""
    if executor is not None or engine == "plain" or (os.cpu_count() or 1) < 2:
        yield executor
        return
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        yield threads


def announce(seconds: float, settings: int, days: int) -> None:
    """Say how long it will take, when it is long."""
    if seconds > LONG:
        print(f"{settings:,} settings on {days} days: about {seconds:,.0f} s.", file=sys.stderr)


def run(
    scenario: Scenario,
    policies: Sequence[RetryPolicy],
    seeds: Sequence[int],
    *,
    executor: Executor | None = None,
    engine: str = "auto",
    progress: bool | None = None,
    patience: float = 45.0,
) -> Floats:
    """Return the metrics, shape (policies, seeds, metrics); rows an interrupt left undone are NaN.

    The result does not depend on the executor. `progress=None` shows a bar when it takes long.
    """
    checked(scenario, policies, seeds)
    named = model.engine_named(engine)
    each = cost(scenario, policies, seeds, named)
    result = np.full((len(policies), len(seeds), len(METRICS)), np.nan)
    with workers(executor, named) as pool:
        lanes = getattr(pool, "_max_workers", os.cpu_count() or 1) if pool else 1
        seconds = each * len(policies) / lanes
        announce(seconds, len(policies), len(seeds))
        with bar(len(policies), seconds > 2.0 if progress is None else progress) as update:
            parts = batches(len(policies), each, lanes)
            try:
                for part, values in done(pool, parts, scenario, policies, seeds, named, patience):
                    result[part] = values
                    update(part.stop - part.start)
            except KeyboardInterrupt:
                print("Interrupted: the settings done so far are kept.", file=sys.stderr)
    return result


def done(
    pool: Executor | None,
    parts: Sequence[slice],
    scenario: Scenario,
    policies: Sequence[RetryPolicy],
    seeds: Sequence[int],
    engine: str,
    patience: float,
) -> Iterator[tuple[slice, Floats]]:
    """Yield each batch as it is done."""
    if pool is None:
        for part in parts:
            yield part, model.batch(scenario, policies[part], seeds, engine, patience)
        return
    futures: dict[Future[Any], slice] = {
        pool.submit(model.batch, scenario, policies[part], list(seeds), engine, patience): part for part in parts
    }
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()


@contextmanager
def bar(total: int, shown: bool) -> Iterator[Callable[[int], Any]]:
    """Show a progress bar over so many settings, in the notebook's or the terminal's way."""
    from tqdm.auto import tqdm  # looks for a notebook when imported

    with tqdm(total=total, unit="setting", disable=not shown, leave=False) as progress:
        yield progress.update
