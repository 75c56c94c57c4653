"""Runs in memory, tried in any order of events; and the two designs known to be wrong, which must be caught."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Any

import pytest
from run_machine import RunMachine, examples, pieces, try_machine

from claude_lab.log import Entry, Frame
from claude_lab.runs import Bounds, Run, Runs, Writer

NAME = "the-run-of-this-example"
FOREVER = 1e6


class Memory:
    """The store of one process: both workers are the same."""

    def __init__(self) -> None:
        self.runs = Runs(Bounds(age=10))
        self.run: Run

    async def begin(self) -> Writer:
        """Begin the run."""
        run = await self.runs.add(NAME, FOREVER)
        assert run is not None
        self.run = run
        return Writer(run)

    async def take(self, worker: int) -> Writer:
        """Begin the next epoch."""
        return self.run.turn(self.run.epoch + 1)

    def crash(self) -> None:
        """Lose nothing: what was written in memory is there."""

    async def follow(self, worker: int, last: str | None) -> AsyncGenerator[bytes, None]:
        """Read as a response does."""
        found = await self.runs.get(NAME)
        assert found is not None
        async for piece in pieces(found, last):
            yield piece

    async def log(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the log."""
        return [(entry.kind, entry.frame) for entry in self.run.entries]

    async def drain(self) -> None:
        """Wait for nothing."""

    async def expire(self) -> None:
        """End the run, long ago."""
        self.run.append("done", {})
        assert self.run.ended_at is not None
        self.run.ended_at -= 11

    async def gone(self, worker: int) -> bool:
        """Whether it is forgotten."""
        return await self.runs.get(NAME) is None

    async def close(self) -> None:
        """Let go of nothing."""


class MemoryMachine(RunMachine):
    """The machine on the store in memory."""

    def make_store(self) -> Memory:
        """Return a fresh store."""
        return Memory()


class Subscribed(Memory):
    """The wrong designs' store: a list for replay, and a queue for each subscriber."""

    def __init__(self) -> None:
        super().__init__()
        self.queues: list[asyncio.Queue[Entry]] = []

    async def begin(self) -> Writer:
        """Begin a run that tells its subscribers of each entry."""
        await super().begin()
        queues = self.queues

        class Telling(Run):
            def _add(self, epoch: int, kinds: list[str], data: list[bytes]) -> None:
                Run._add(self, epoch, kinds, data)
                for queue in queues:
                    for entry in self.entries[len(self.entries) - len(data) :]:
                        queue.put_nowait(entry)

        self.run = self.runs.runs["", NAME] = Telling(NAME, FOREVER)
        return Writer(self.run)

    def subscribe(self) -> asyncio.Queue[Entry]:
        """Return a queue of what comes from now on."""
        self.queues.append(asyncio.Queue())
        return self.queues[-1]


async def another_store() -> None:
    """Take as many turns of the loop as an answer from another store does."""
    for _ in range(10):
        await asyncio.sleep(0)


async def tail(queue: asyncio.Queue[Entry]) -> AsyncGenerator[bytes, None]:
    """Yield what a queue brings, up to the final frame."""
    while True:
        entry = await queue.get()
        yield entry.data
        if entry.kind == "done":
            return


class ReplayThenSubscribe(Subscribed):
    """Wrong: what is appended between the replay and the subscription reaches nobody."""

    async def follow(self, worker: int, last: str | None) -> AsyncGenerator[bytes, None]:
        """Replay, then subscribe."""
        for entry in self.run.entries[self.run.place(last) if last else 0 :]:
            yield entry.data
        await another_store()
        if not self.run.ended:
            async for data in tail(self.subscribe()):
                yield data


class SubscribeThenReplay(Subscribed):
    """Wrong: what is appended between the subscription and the replay comes twice."""

    async def follow(self, worker: int, last: str | None) -> AsyncGenerator[bytes, None]:
        """Subscribe, then replay."""
        queue = self.subscribe()
        await another_store()
        for entry in self.run.entries[self.run.place(last) if last else 0 :]:
            yield entry.data
        if not self.run.ended:
            async for data in tail(queue):
                yield data


class Unfenced(Memory):
    """Wrong: whoever was taken for dead writes on."""

    async def begin(self) -> Writer:
        """Begin a run that lets every producer write."""
        await super().begin()

        class Open(Run):
            def write(self, epoch: int, frames: Iterable[Frame]) -> None:
                Run.write(self, self.epoch, frames)

        self.run = self.runs.runs["", NAME] = Open(NAME, FOREVER)
        return Writer(self.run)


def test_nothing_is_lost_nothing_comes_twice_and_nobody_hangs() -> None:
    """Appends, cuts at any byte, reconnections, second readers, crashes, takeovers, expiry, zombies: in any order."""
    try_machine(MemoryMachine, examples(150))


@pytest.mark.parametrize("wrong", [ReplayThenSubscribe, SubscribeThenReplay, Unfenced])
def test_the_wrong_designs_are_caught(wrong: type[Memory], monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine tells the store from those that sew a replay to a subscription, and from one without a fence."""
    monkeypatch.setattr("run_machine.PATIENCE", 0.2)

    class Machine(RunMachine):
        def make_store(self) -> Memory:
            return wrong()

    with pytest.raises((AssertionError, TimeoutError, ExceptionGroup)):
        try_machine(Machine, 400, explain=False)
