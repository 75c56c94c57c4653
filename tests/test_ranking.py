"""An outside anchor: the published ranking of jitters under contention (AWS Architecture Blog, 2015), by our formula.

Clients compete for one record with optimistic locking: read its version, write if it is unchanged, else wait and begin
again. Network delays are normal, 10 ms with a deviation of 2 ms; the base is 5 ms and the cap 2 s.
"""

import heapq
import random
from statistics import fmean

import pytest

from claude_lab.jitter import JITTERS, draw

CLIENTS = 100


def contend(jitter: str | None, seed: int) -> tuple[int, float]:
    """Return how many writes it takes until every client has written, and when that is, in ms; None waits nothing."""
    rand = random.Random(seed)
    version, writes, end = 0, 0, 0.0
    read = dict.fromkeys(range(CLIENTS), -1)
    retries, last = [0] * CLIENTS, [5.0] * CLIENTS
    heap = [(abs(rand.gauss(10, 2)), client, "read") for client in range(CLIENTS)]
    heapq.heapify(heap)
    while heap:
        now, client, step = heapq.heappop(heap)
        pause, after = 0.0, "write"
        if step == "read":
            read[client] = version
        else:
            writes += 1
            if read[client] == version:
                version, end = version + 1, now
                continue
            after = "read"
            if jitter is not None:
                pause = sum(draw(JITTERS.index(jitter), 5.0, 2000.0, retries[client], last[client], rand.random()))
            last[client], retries[client] = pause, retries[client] + 1
        heapq.heappush(heap, (now + pause + 2 * abs(rand.gauss(10, 2)), client, after))
    return writes, end


@pytest.fixture(scope="module")
def found() -> dict[str | None, tuple[float, float]]:
    """Mean writes and mean time for each way of waiting."""
    runs = {jitter: [contend(jitter, seed) for seed in range(12)] for jitter in (None, *JITTERS)}
    return {jitter: (fmean(run[0] for run in own), fmean(run[1] for run in own)) for jitter, own in runs.items()}


def test_calls_rank_as_published(found: dict[str | None, tuple[float, float]]):
    """Full jitter asks least, then equal, decorrelated, exponential without jitter, and no backoff the most."""
    writes = {jitter: each[0] for jitter, each in found.items()}

    assert writes["full"] <= 1.05 * writes["equal"]
    assert writes["equal"] < writes["decorrelated"] < writes["none"] < writes[None]


def test_times_rank_as_published(found: dict[str | None, tuple[float, float]]):
    """Exponential backoff without jitter takes several times as long as any jitter."""
    times = {jitter: each[1] for jitter, each in found.items()}

    assert times["none"] > 3 * max(times["full"], times["equal"], times["decorrelated"])
    assert times["decorrelated"] < times["equal"]
