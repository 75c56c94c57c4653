"""Runs on a real Redis: the machine of all events, and what workers owe each other."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis_server import redis_server
from run_machine import RunMachine, examples, pieces, try_machine

from claude_lab.redis_log import Database, RedisLog
from claude_lab.runs import Bounds, LogLost, Run, Writer, new_name
from claude_lab.shared_run import SharedRun
from claude_lab.shared_runs import SharedRuns

FOREVER = 1e6
LONG = 60.0


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """One Redis for the module."""
    with redis_server() as made:
        yield made


class Workers(SharedRuns):
    """A worker whose followers look often, while no lease ever ends by itself: the machine says when it is over."""

    def _log(self, name: str, caller: str) -> RedisLog:
        return RedisLog(self.database, f"{caller}:{name}", self.worker, lease=LONG, age=LONG)


class Shared:
    """Two workers on one Redis, as processes would be; a crashed one is replaced."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.name = new_name()
        self.workers = [self._worker(), self._worker()]
        self.holder: SharedRun
        self.saved: dict[str, bytes] = {}

    def _worker(self) -> Workers:
        worker = Workers("redis://unused", Bounds(), lease=0.15, orphan_grace=FOREVER, retake=self._retake)
        worker.database = self.database
        return worker

    async def _retake(self, writer: Writer, request: dict[str, Any]) -> None:
        """Leave the writing to the machine."""
        await asyncio.Event().wait()

    async def begin(self) -> Writer:
        """Begin the run at worker 0."""
        run = await self.workers[0].add(self.name, FOREVER)
        assert isinstance(run, SharedRun)
        self.holder = run
        return Writer(run)

    async def take(self, worker: int) -> Writer:
        """End the lease, and see who takes over: the worker that is asked to, or a follower that is quicker."""
        old = self.holder.epoch
        if self.workers[worker].runs.get(("", self.name)) is self.holder:
            worker = 1 - worker  # a producer that lives cannot take over from itself
        while True:
            await self.database.redis.hset(self.holder.log.keys[0], "until", 0)
            run = await self.workers[worker].get(self.name)
            assert isinstance(run, SharedRun)
            if not run.held:
                with contextlib.suppress(LogLost):  # it knew what Redis has lost
                    await run._take()
            known = await run.log.look(reading=False)
            for found in (run, *self._handles()):
                if found.held and known and found.epoch == known.epoch > old and known.left > 0:
                    self.holder = found
                    return Writer(found, found.epoch)
            await asyncio.sleep(0.001)

    def _handles(self) -> list[SharedRun]:
        found = [worker.runs.get(("", self.name)) for worker in self.workers]
        return [run for run in found if run is not None]

    async def save(self) -> None:
        """Note what Redis holds of the run, as a snapshot on its disk does."""
        redis, keys = self.database.redis, self.holder.log.keys[:2]
        self.saved = {key: told for key in keys if (told := await redis.dump(key)) is not None}

    async def restore(self) -> None:
        """Redis crashes, and another process begins from the snapshot."""
        async with self.database.redis.pipeline(transaction=True) as at_once:
            at_once.unlink(*self.holder.log.keys)
            for key, told in self.saved.items():
                at_once.restore(key, int(LONG * 1000), told)
            at_once.hset(self.holder.log.keys[0], "home", f"restored at {time.monotonic()}")
            await at_once.execute()

    def crash(self) -> None:
        """Kill the worker that produces: its tasks end where they are, its readers are cut."""
        dead = self.holder
        dead.held = False
        for task in (dead._keeper, dead._flusher, dead.producer, *dead._errands):
            if task is not None:
                task.cancel()
        dead._vanish(LogLost("killed"))
        index = next(number for number, worker in enumerate(self.workers) if worker.worker == dead.log.worker)
        self.workers[index] = self._worker()

    async def follow(self, worker: int, last: str | None) -> AsyncGenerator[bytes, None]:
        """Read as a response does."""
        found = await self.workers[worker].get(self.name)
        assert found is not None
        async for piece in pieces(found, last):
            yield piece

    async def log(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the log as a third worker reads it."""
        found = await self._worker().get(self.name)
        assert found is not None
        return [(entry.kind, entry.frame) for entry in found.entries]

    async def say(self, writer: Writer, *texts: str) -> None:
        """Append these, and wait until Redis has them."""
        seen = len(self.holder.entries)
        writer.extend([("delta", {"text": text}) for text in texts])
        while len(self.holder.entries) < seen + len(texts):
            await self.holder.read(len(self.holder.entries), 1)

    async def drain(self) -> None:
        """Wait until the end is in the log."""
        while not self.holder.ended:
            await self.holder.read(len(self.holder.entries), 1)

    async def expire(self) -> None:
        """Nobody renews it any more, and its age is over."""
        if self.holder.held:
            self.crash()
        await self.holder.log.forget()

    async def gone(self, worker: int) -> bool:
        """Whether a worker finds it."""
        return await self.workers[worker].get(self.name) is None

    async def close(self) -> None:
        """Let go of the run at both workers."""
        handles = self._handles()
        await asyncio.gather(*(run.close() for run in handles))
        await RedisLog(self.database, f":{self.name}", "", lease=1, age=1).forget()


async def until_told(run: Run) -> None:
    """Read on until no more can come."""
    while True:
        await run.read(len(run.entries), 0.05)


@asynccontextmanager
async def shared(url: str) -> AsyncGenerator[Shared, None]:
    """Yield two workers on a Redis."""
    database = Database(url, patience=5)
    store = Shared(database)
    try:
        yield store
    finally:
        await store.close()
        await database.close()


def test_nothing_is_lost_nothing_comes_twice_and_nobody_hangs(url: str) -> None:
    """Appends, cuts at any byte, reconnections at any worker, crashes, takeovers, expiry, zombies, an older Redis."""

    class Machine(RunMachine):
        database: Database | None = None
        can_restore = True

        def make_store(self) -> Shared:
            if Machine.database is None:
                Machine.database = Database(url, patience=25)
            return Shared(Machine.database)

    def close(runner: asyncio.Runner) -> None:
        if Machine.database is not None:
            runner.run(Machine.database.close())

    try_machine(Machine, examples(40), explain=False, after=close)


def test_what_an_older_redis_lacks_is_sent_again(url: str) -> None:
    """The producer notices at its next frame that the log has a hole, and fills it; a newcomer elsewhere sees none."""

    async def main() -> Any:
        async with shared(url) as store:
            writer = await store.begin()
            await store.say(writer, "a", "b")
            await store.save()
            await store.say(writer, "c", "d")
            await store.restore()
            writer.append("done", {})
            await store.drain()
            found = await store.workers[1].get(store.name)
            assert found is not None
            return [(entry.seq, entry.epoch, entry.frame.get("text")) for entry in found.entries]

    assert asyncio.run(main()) == [(1, 1, "a"), (2, 1, "b"), (3, 1, "c"), (4, 1, "d"), (5, 1, None)]


def test_who_has_seen_what_redis_lost_is_cut_and_can_come_back(url: str) -> None:
    """The producer is dead too: a follower that knows more than the log is told, not left waiting; then it resumes."""

    async def main() -> Any:
        async with shared(url) as store:
            writer = await store.begin()
            await store.say(writer, "a")
            await store.save()
            await store.say(writer, "b")
            reader = await store.workers[1].get(store.name)
            assert reader is not None
            reader.join()
            store.crash()
            await store.restore()
            await store.database.redis.hset(store.holder.log.keys[0], "until", 0)
            with pytest.raises(LogLost, match="lacks entries"):
                await until_told(reader)
            again = await store.workers[1].get(store.name)
            assert again is not None
            return again.place("1-2"), [entry.frame["text"] for entry in again.entries]

    assert asyncio.run(asyncio.wait_for(main(), 10)) == (1, ["a"])


def test_a_log_that_lacks_entries_is_refused(url: str) -> None:
    """The state says three and the stream has two: whoever asks is told at once, and nobody asks Redis in a circle."""

    async def main() -> None:
        async with shared(url) as store:
            writer = await store.begin()
            await store.say(writer, "a", "b", "c")
            await store.database.redis.xdel(store.holder.log.keys[1], "1-2")
            with pytest.raises(LogLost, match="lacks entries"):
                await store.workers[1].get(store.name)

    asyncio.run(asyncio.wait_for(main(), 10))


def test_an_errand_that_is_given_up_before_it_began_leaves_nothing_behind(
    url: str, recwarn: pytest.WarningsRecorder
) -> None:
    """The last reader leaves while its worker stops: nothing is left that nobody awaits."""

    async def main() -> None:
        async with shared(url) as store:
            await store.say(await store.begin(), "a")
            reader = await store.workers[1].get(store.name)
            assert isinstance(reader, SharedRun)
            reader.join()
            reader.leave()
            await reader.close()

    gc.collect()  # what earlier tests left behind is not meant
    recwarn.clear()
    asyncio.run(main())
    gc.collect()

    assert [str(warning.message) for warning in recwarn] == []
