"""A run's log in a real Redis: explicit ids, fencing, repeats, the lease, the bell, expiry."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from redis_server import redis_server

from claude_lab.redis_log import Database, RedisLog
from claude_lab.redis_scripts import THOUSAND
from claude_lab.runs import LogLost, new_name

REQUEST = {"model": "m", "messages": [{"role": "user", "content": "naïve 🌊"}]}
FRAMES = [("delta", '{"text": "a"}'), ("delta", '{"text": "b"}')]
Act = Callable[[RedisLog, RedisLog], Awaitable[Any]]
Trial = Callable[..., Any]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """One Redis for the module."""
    with redis_server() as made:
        yield made


@pytest.fixture
def trial(url: str) -> Trial:
    """Return what does something with two workers' hold of one new log, and gives back what came of it."""

    def run(act: Act, *, lease: float = 60.0, age: float = 60.0) -> Any:
        async def main() -> Any:
            database, name = Database(url, patience=5), new_name()
            first, second = (RedisLog(database, name, worker, lease=lease, age=age) for worker in ("one", "two"))
            try:
                assert await first.create(REQUEST)
                return await asyncio.wait_for(act(first, second), 10)
            finally:
                await database.close()

        return asyncio.run(main())

    return run


def test_entries_lie_under_explicit_ids(trial: Trial) -> None:
    """What is appended is read back in order, from behind any id, with its epoch and its number."""

    async def act(first: RedisLog, second: RedisLog) -> Any:
        await first.append(1, 1, FRAMES, final=False)
        rows = [await second.read(after, 0) for after in ("0-0", "1-1", "1-2")]
        return [[(row.epoch, row.seq, row.kind, row.told) for row in each] for each in rows]

    whole = [(1, 1, *FRAMES[0]), (1, 2, *FRAMES[1])]
    assert trial(act) == [whole, whole[1:], []]


def test_an_append_that_is_repeated_adds_nothing(trial: Trial) -> None:
    """After a lost answer the same frames are sent again, with or without further ones: each is there once."""

    async def act(first: RedisLog, second: RedisLog) -> Any:
        kept = [await first.append(1, 1, frames, final=False) for frames in (FRAMES, FRAMES, [*FRAMES, *FRAMES])]
        return kept, [row.seq for row in await first.read("0-0", 0)]

    assert trial(act) == ([2, 2, 4], [1, 2, 3, 4])


def test_an_append_that_would_leave_a_hole_adds_nothing(trial: Trial) -> None:
    """A log that does not reach up to the frames says where it stands, and takes them behind what it lacked."""

    async def act(first: RedisLog, second: RedisLog) -> Any:
        stands = [await first.append(1, number, FRAMES, final=False) for number in (2, 1, 4, 3)]
        return stands, [row.seq for row in await first.read("0-0", 0)]

    assert trial(act) == ([0, 2, 2, 4], [1, 2, 3, 4])


def test_no_epoch_is_given_twice_by_a_redis_that_lost_it(trial: Trial) -> None:
    """A log made or taken under another Redis process is taken in an epoch that no second before could give."""

    async def act(first: RedisLog, second: RedisLog) -> Any:
        epochs = []
        for home in ("another", "a third"):
            await first.database.redis.hset(first.keys[0], mapping={"home": home, "epoch": 1, "until": 0})
            taken = await second.take()
            assert taken is not None
            epochs.append(taken.epoch)
            await asyncio.sleep(1.01)
        await second.release(epochs[-1])
        after = await first.take()
        assert after is not None
        return epochs[1] > epochs[0] > THOUSAND, {epoch % THOUSAND for epoch in epochs}, after.epoch - epochs[1]

    assert trial(act) == (True, {2}, 1)


def test_a_taken_log_refuses_the_producer_before(trial: Trial) -> None:
    """Only an expired lease can be taken, with the request; then the older epoch can neither append nor renew."""

    async def act(first: RedisLog, second: RedisLog) -> Any:
        await first.append(1, 1, FRAMES, final=False)
        early = await second.take()
        await first.release(1)
        taken = await second.take()
        assert taken is not None
        zombie = await first.append(1, 3, FRAMES, final=True), await first.keep(1)
        own = await second.append(2, 3, FRAMES[:1], final=False)
        rows = await first.read("0-0", 0)
        return early, (taken.epoch, taken.seq, taken.request), zombie, own, [(row.epoch, row.seq) for row in rows]

    assert trial(act) == (None, (2, 2, REQUEST), (None, None), 3, [(1, 1), (1, 2), (2, 3)])


def test_of_many_only_one_takes_over(trial: Trial) -> None:
    """Twenty that try at once: one has the next epoch, the others nothing."""

    async def act(first: RedisLog, second: RedisLog) -> Any:
        await first.release(1)
        taken = await asyncio.gather(*(second.take() for _ in range(20)))
        return [each.epoch for each in taken if each is not None]

    assert trial(act) == [2]


def test_a_lease_runs_out_by_itself_and_an_append_renews_it(trial: Trial) -> None:
    """It is Redis's own clock that counts; with every append the whole lease begins anew."""

    async def act(first: RedisLog, second: RedisLog) -> Any:
        await first.release(1)
        await first.append(1, 1, FRAMES, final=False)
        known = await second.look(reading=False)
        assert known is not None
        await asyncio.sleep(0.22)
        return known.left, await second.take() is not None

    left, taken = trial(act, lease=60.0)
    assert (30 < left <= 60, taken) == (True, False)
    assert trial(act, lease=0.2)[1]


def test_an_ended_log_is_nobodys_to_take(trial: Trial) -> None:
    """After the final frame there is no lease and no takeover, and a stop asks for nothing."""

    async def act(first: RedisLog, second: RedisLog) -> Any:
        await first.append(1, 1, [("done", "{}")], final=True)
        known = await second.look(reading=True)
        assert known is not None
        return known.final, known.left <= 0, await second.take(), await second.stop()

    assert trial(act) == (True, True, None, True)


def test_the_bell_calls_the_producer(trial: Trial) -> None:
    """A stop and a leaving ring at once; the producer learns who reads elsewhere and whether to stop."""

    async def act(first: RedisLog, second: RedisLog) -> Any:
        await second.look(reading=True)
        told = [await first.keep(1)]
        bell = "0-0"
        for ring in (second.leave, second.stop):
            waiting = asyncio.create_task(first.listen(bell, 5))
            await asyncio.sleep(0.02)
            await ring()
            bell = await waiting
            told.append(await first.keep(1))
        return told

    assert trial(act) == [(False, 1), (False, 0), (True, 0)]


def test_nothing_stays_behind(trial: Trial) -> None:
    """Every key a log may have expires, also one that a worker which died left in any state."""

    async def act(first: RedisLog, second: RedisLog) -> Any:
        await first.append(1, 1, FRAMES, final=False)
        await second.look(reading=True)
        await second.stop()
        await second.leave()
        lives = [await first.database.redis.pttl(key) for key in first.keys]
        await asyncio.sleep(0.35)
        return (
            max(lives) <= 300,
            min(lives),
            await first.look(reading=False),
            await first.append(1, 3, FRAMES, final=True),
        )

    assert trial(act, lease=0.1, age=0.2) in [(True, -2, None, None)]


def test_an_answer_that_stays_away_is_a_lost_log() -> None:
    """Nothing waits longer than its patience, and the sentence names the setting."""

    async def main(port: int) -> None:
        database = Database(f"redis://127.0.0.1:{port}", patience=0.05)
        try:
            await RedisLog(database, "x", "one", lease=1, age=1).look(reading=False)
        finally:
            await database.close()

    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(LogLost, match="check REDIS_URL"):
        asyncio.run(main(silent.getsockname()[1]))


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, whoever sets REDIS_URL is told what to install."""
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)

    with pytest.raises(ValueError, match=r"pip install 'claude_lab\[redis\]'"):
        Database("redis://127.0.0.1", patience=1)
