"""What the retry laboratory costs, and how far it can be trusted: prints one table.

    python benchmarks/sweep.py                 # everything, about two minutes
    python benchmarks/sweep.py speed sdk       # some parts: speed, sdk, rungs, coverage, ranking, wall, executors

Times are CPU seconds of this process unless a row says wall; a wall time is the best of three.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from cases import case
from test_ranking import JITTERS, contend

from claude_lab import faults, intervals, ladder, model
from claude_lab.limits import Limits
from claude_lab.metrics import METRICS
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.sweeps import sweep
from claude_lab.traffic import Traffic

Rows = Iterator[tuple[str, str, str]]
GRID = {
    "max_retries": range(13),
    "base_delay": [0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20],
    "jitter": ["none", "full", "equal", "decorrelated", "sdk"],
    "honor_retry_after": [True, False],
}


def best_of_three(run: Callable[[], object]) -> float:
    """Return the shortest of three wall times, in seconds."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def speed() -> Rows:
    """The model, compiled and plain."""
    big, small = Scenario.bursty(rpm=50, requests=2000), Scenario.bursty(rpm=50)
    found = sweep(big, **GRID, seeds=5, progress=False)
    calls = float((found.days("attempts_per_success") * found.days("success")).sum() * 2000)
    seconds = best_of_three(lambda: sweep(big, **GRID, seeds=5, progress=False))
    yield f"{len(found):,} settings x 5 days x 2,000 requests, wall", f"{seconds:.2f} s", "<= 2 s"
    yield "  simulated attempts in it", f"{calls / 1e6:.1f} M, {calls / seconds / 1e6:.1f} M a second", ""
    cells = {"max_retries": range(11), "base_delay": [0.1 * 1.35**step for step in range(18)], "seeds": 8}
    seconds = best_of_three(lambda: sweep(small, **cells, progress=False))
    yield "198-cell map, 8 days x 400 requests, wall", f"{seconds:.2f} s", "<= 0.5 s"
    policies = [RetryPolicy(max_retries=6, base_delay=base) for base in (0.5, 2.0, 5.0)]
    model.batch(big, policies, range(1), "plain")
    began = time.process_time()
    metrics = model.batch(big, policies, range(5), "plain")
    spent = time.process_time() - began
    calls = float((metrics[:, :, 4] * metrics[:, :, 0]).sum() * 2000)
    yield "plain Python, attempts a CPU second", f"{calls / spent / 1e6:.2f} M", ">= 0.25 M"


def sdk() -> Rows:
    """The real SDK on virtual time, streaming."""
    scenario = replace(Scenario.steady(rpm=50, load=0.5, requests=3000), pace="steady")
    ladder.rows("sdk", Scenario.steady(rpm=50, requests=5), RetryPolicy())
    began = time.process_time()
    rows = ladder.rows("sdk", scenario, RetryPolicy())
    spent = time.process_time() - began
    calls, hours = sum(row.attempts for row in rows), max(row.settled for row in rows) / 3600
    yield "real SDK on virtual time, streamed calls a CPU second", f"{calls / spent:,.0f}", ">= 1,200"
    yield "  one hour of that traffic", f"{spent / hours:.2f} s", ""


def rungs() -> Rows:
    """Generated experiments on each rung against the model."""
    for layer in ("coroutine", "sdk", "asgi", "uds"):
        checks = [ladder.verify(*case(number, requests=30), layer=layer, seed=number) for number in range(50)]
        attempts = sum(check.attempts for check in checks)
        same = sum(map(bool, checks))
        yield f"experiments the same on model and {layer}", f"{same} of 50 ({attempts:,} attempts)", "50"


COVERED = {
    "bursty, 3 retries": (Scenario.bursty(rpm=50, requests=150), RetryPolicy(max_retries=3, base_delay=5)),
    "overload, 3 retries": (Scenario.steady(rpm=50, load=1.4, requests=150), RetryPolicy(max_retries=3, base_delay=2)),
    "fan-out, 4 retries": (Scenario.fanout(rpm=50, requests=160), RetryPolicy(max_retries=4, base_delay=5)),
}


def coverage() -> Rows:
    """How often a stated 95 % interval from 20 days holds the truth, in 1,000 replications."""
    for name, (scenario, policy) in COVERED.items():
        days = model.batch(scenario, [policy], range(32_000), "auto")[0]
        for metric in ("success", "in_time", "attempts_per_success"):
            own = days[:, METRICS.index(metric)]
            low, _, high = intervals.means(own[:20_000].reshape(1000, 20))
            share = ((low <= own[20_000:].mean()) & (own[20_000:].mean() <= high)).mean()
            yield f"coverage, {name}, {metric}", f"{share:.1%}", "93-97 %"
    policies = [RetryPolicy(max_retries=count, base_delay=2) for count in (4, 5)]
    both = model.batch(Scenario.bursty(rpm=50), policies, range(400), "auto")[:, :, METRICS.index("success")]
    gain = statistics.variance(both[0, :200] - both[1, 200:]) / statistics.variance(both[0, :200] - both[1, :200])
    yield "variance of a difference, other days over common days", f"{gain:.0f} x", "> 1"


def ranking() -> Rows:
    """The published contention experiment, by our jitters."""
    for jitter in (None, *JITTERS):
        runs = [contend(jitter, seed) for seed in range(20)]
        calls, ends = (statistics.fmean(column) for column in zip(*runs, strict=True))
        yield f"contention, 100 clients, {jitter or 'no backoff'}", f"{calls:,.0f} calls, {ends / 1000:.1f} s", ""


def wall() -> Rows:
    """Virtual time against the wall clock, over TCP on 127.0.0.1."""
    free = Scenario(
        pace="steady",
        odds={faults.Overloaded(): 0.15, faults.ServerError(): 0.05},
        traffic=Traffic(shape="steady", rpm=1800, requests=90, input_tokens=40, output_tokens=12),
    )
    same, late = [], []
    for seed in range(4):
        pairs = compared(free, RetryPolicy(max_retries=3, base_delay=0.2), seed)
        same += [(real.outcome, real.attempts) == (virtual.outcome, virtual.attempts) for real, virtual in pairs]
        late += [real.first - virtual.first for real, virtual in pairs if max(real.first, virtual.first) < 1e9]
    yield "rows equal, virtual and wall, no limit binding", f"{sum(same)} of {len(same)}", ">= 99 %"
    yield "  first token later on the wall, median", f"{statistics.median(late) * 1000:.1f} ms", ""
    traffic = Traffic(shape="steady", rpm=1728, requests=150, input_tokens=40, output_tokens=12)
    overload = Scenario(pace="steady", limits=Limits(1200, None, None, burst=10 / 1200), traffic=traffic)
    pairs = []
    for seed in range(6):
        pairs += compared(overload, RetryPolicy(max_retries=4, base_delay=0.3, honor_retry_after=False), seed)
    served = [statistics.fmean(row.outcome == "ok" for row in side) for side in zip(*pairs, strict=True)]
    tried = [sum(row.attempts for row in side) for side in zip(*pairs, strict=True)]
    yield "success under 144 % load, wall and virtual", f"{served[0]:.1%} and {served[1]:.1%}", "within 1 point"
    yield "attempts under 144 % load, wall over virtual", f"{tried[0] / tried[1] - 1:+.1%}", "within 3 %"


def compared(scenario: Scenario, policy: RetryPolicy, seed: int) -> list[tuple[model.Row, model.Row]]:
    """Return each call's row on the wall clock beside its row on the model."""
    return list(zip(*(ladder.rows(layer, scenario, policy, seed=seed) for layer in ("wall", "model")), strict=True))


def executors() -> Rows:
    """The same sweep on two processes."""
    scenario, grid = Scenario.bursty(rpm=50, requests=1000), {**GRID, "jitter": ["full"], "seeds": 5}
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        one = sweep(scenario, **grid, executor=pool, progress=False)
        seconds = best_of_three(lambda: sweep(scenario, **grid, executor=pool, progress=False))
    threads = best_of_three(lambda: sweep(scenario, **grid, progress=False))
    same = (one.metrics == sweep(scenario, **grid, progress=False).metrics).all()
    yield "312 settings on 2 processes and on threads, wall", f"{seconds:.2f} s and {threads:.2f} s", ""
    yield "  identical bit for bit", "yes" if same else "no", "yes"


PARTS = {
    "speed": speed,
    "sdk": sdk,
    "rungs": rungs,
    "coverage": coverage,
    "ranking": ranking,
    "wall": wall,
    "executors": executors,
}


def main() -> None:
    chosen = sys.argv[1:] or list(PARTS)
    print("| what | found | wanted |\n|---|---|---|")
    for name in chosen:
        for row in PARTS[name]():
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
