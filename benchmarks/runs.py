"""What the log of a run costs, and what it survives: python benchmarks/runs.py [latency kills ...]

latency  from the append of an event to its reader, beside a bare queue in the same run: memory, Redis at the worker
         that produces, Redis at another; medians, and what each adds to the queue
kills    kill -9 of the producing server process in mid-stream; the reader goes on at another: byte-exact answers,
         and the time to the first frame after the kill, as a multiple of the lease (--count, --lease)

--json FILE writes the figures of these parts, beside those of others that are there: docs/runs.json makes a table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from redis_server import redis_server  # noqa: E402
from workers import ANSWER, cluster  # noqa: E402

from claude_lab.runs import Bounds, Run, Runs, Writer, new_name  # noqa: E402
from claude_lab.shared_runs import SharedRuns  # noqa: E402

EVENTS = 3000
FOREVER = 1e6
Put = Callable[[float], None]
Get = Callable[[], Awaitable[float]]


async def retake(writer: Writer, request: dict[str, Any]) -> None:
    raise RuntimeError("Nobody takes over here.")


def reader_of(run: Run) -> Get:
    """Return what waits for a run's next event and gives back when it was appended."""
    run.join()

    async def get() -> float:
        while not (entries := await run.read(len(seen), 5)):
            pass
        seen.extend(entries)
        return float(entries[-1].frame["at"])

    seen: list[Any] = []
    return get


def writer_of(run: Run) -> Put:
    writer = Writer(run)
    return lambda at: writer.append("delta", {"text": " token", "at": at})


def queue() -> tuple[Put, Get]:
    waiting: asyncio.Queue[float] = asyncio.Queue()
    return waiting.put_nowait, waiting.get


async def trip(put: Put, get: Get) -> float:
    """Return the seconds from an append to the reader that waits for it."""

    async def arrived() -> float:
        at = await get()
        return time.perf_counter() - at

    waiting = asyncio.create_task(arrived())
    await asyncio.sleep(0)
    put(time.perf_counter())
    return await waiting


async def latencies(url: str) -> dict[str, float]:
    """Return the median latency of each way, the ways taking turns."""
    workers = [SharedRuns(url, Bounds(), lease=5, orphan_grace=FOREVER, retake=retake) for _ in range(2)]
    memory = await Runs().add(new_name(), FOREVER)
    here, there = await workers[0].add(new_name(), FOREVER), await workers[0].add(new_name(), FOREVER)
    distant = await workers[1].get(there.name)
    assert distant is not None
    ways = {
        "queue": queue(),
        "memory": (writer_of(memory), reader_of(memory)),
        "Redis, same worker": (writer_of(here), reader_of(here)),
        "Redis, other worker": (writer_of(there), reader_of(distant)),
    }
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(EVENTS):
        for way, (put, get) in ways.items():
            took[way].append(await trip(put, get))
    for worker in workers:
        await worker.close()
    return {way: statistics.median(times) for way, times in took.items()}


def latency(options: argparse.Namespace) -> dict[str, list[float]]:
    with redis_server() as url:
        rounds = [asyncio.run(latencies(url)) for _ in range(5)]
    print(f"latency of one event, medians of 5 rounds of {EVENTS}:")
    bare = statistics.median(each["queue"] for each in rounds)
    for way in rounds[0]:
        middle = statistics.median(each[way] for each in rounds)
        print(f"  {way:20} {middle * 1e3:7.3f} ms, adds {(middle - bare) * 1e3:7.3f} ms")
    return {way: [round(each[way] * 1e3, 4) for each in rounds] for way in rounds[0]}


def kills(options: argparse.Namespace) -> dict[str, Any]:
    exact, takeovers, rng = 0, [], random.Random(1)
    with cluster(LEASE=str(options.lease), RECOVERY=options.recovery) as shared:
        other, doomed = shared.worker(), shared.worker()
        for number in range(options.count):
            following = shared.worker()
            answer, took = shared.kill_and_resume(doomed, other, after=rng.randrange(2, 60))
            whole = answer.text == ANSWER and answer.final.get("type") == "done"
            exact += whole
            takeovers.append(took / options.lease)
            print(f"  {number + 1:3}: {'exact' if whole else 'WRONG'}, {took:.2f} s", flush=True)
            doomed.stop()
            doomed = following
    print(f"kill -9, {options.recovery}: {exact} of {options.count} answers byte-exact")
    print(
        f"takeover / lease of {options.lease} s: median {statistics.median(takeovers):.2f}, "
        f"longest {max(takeovers):.2f}"
    )
    told = {"recovery": options.recovery, "lease": options.lease, "count": options.count, "exact": exact}
    return told | {"takeover_per_lease": [round(took, 3) for took in takeovers]}


PARTS = {"latency": latency, "kills": kills}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[], help="what to measure; all by default")
    parser.add_argument("--count", type=int, default=20, help="how many workers to kill")
    parser.add_argument("--lease", type=float, default=2.0, help="seconds")
    parser.add_argument("--recovery", choices=["restart", "continue"], default="restart")
    parser.add_argument("--json", type=Path, help="the file of figures")
    options = parser.parse_args()
    made = {part: PARTS[part](options) for part in options.parts or PARTS}
    if options.json:
        known = json.loads(options.json.read_text("utf-8")) if options.json.exists() else {}
        options.json.write_text(json.dumps(known | made, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
