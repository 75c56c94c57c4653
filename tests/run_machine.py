"""Everything that can happen to a run, in any order: the rules by which the stores are tried, and what must hold.

A store gives `Worker`s; a worker gives runs. A reader is a task that reads a run's bytes, may be cut anywhere, and
comes back at any worker with the last id it has seen. Whatever happened, in the end each reader has the whole answer
once, its ids rise, and nobody waits any more.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from claude_lab import sse
from claude_lab.runs import Run, Writer

PATIENCE = 30.0
"""Seconds after which a reader that should have ended counts as hung."""
TEXTS = st.lists(st.text("ab é🌊\n", min_size=1, max_size=3), min_size=1, max_size=4)


def examples(usual: int) -> int:
    """Return how many examples to try: CLAUDE_LAB_EXAMPLES, for a long night, or the usual few."""
    return int(os.environ.get("CLAUDE_LAB_EXAMPLES", usual))


def try_machine(
    machine: type[RunMachine],
    count: int,
    *,
    explain: bool = True,
    after: Callable[[asyncio.Runner], None] = lambda runner: None,
) -> None:
    """Try a machine on so many examples: the same ones each time, unless CLAUDE_LAB_EXAMPLES asks for others.

    `explain` makes a failing example as small as it can be; `after` cleans up in the loop.
    """
    chosen = settings(
        max_examples=count,
        stateful_step_count=20,
        deadline=None,
        database=None,
        derandomize="CLAUDE_LAB_EXAMPLES" not in os.environ,
        phases=[Phase.generate, Phase.shrink] if explain else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    with asyncio.Runner() as runner:
        machine.runner = runner
        try:
            run_state_machine_as_test(machine, settings=chosen)
        finally:
            after(runner)


async def pieces(run: Run, last: str | None) -> AsyncGenerator[bytes, None]:
    """Yield a run's bytes as a response does."""
    after = run.place(last) if last else 0
    run.join()
    try:
        while entries := await run.read(after, 2 * PATIENCE):
            after += len(entries)
            yield b"".join(entry.data for entry in entries)
    finally:
        run.leave()


class Store(Protocol):
    """What a machine does to a store; `worker` is 0 or 1, the same process for a store that has only one."""

    async def begin(self) -> Writer:
        """Begin a run at worker 0 and return its writer."""

    async def take(self, worker: int) -> Writer:
        """Let a worker take over, its lease over; return the new writer."""

    def crash(self) -> None:
        """Kill the worker that produces: what it has not written is lost."""

    def follow(self, worker: int, last: str | None) -> AsyncGenerator[bytes, None]:
        """Yield a run's bytes from behind an id on, in the pieces that leave together."""

    async def log(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the frames of the log as a newcomer reads them."""

    async def drain(self) -> None:
        """Wait until what was written is in the log."""

    async def save(self) -> None:
        """Take a snapshot of the log, where the store has such a thing."""

    async def restore(self) -> None:
        """Let the store come back as the snapshot has it."""

    async def expire(self) -> None:
        """Let the run's age be over."""

    async def gone(self, worker: int) -> bool:
        """Whether a worker finds no such run."""

    async def close(self) -> None:
        """Let go of everything of this example."""


@dataclass(slots=True, eq=False)
class Reader:
    """A client: its text, the ids it has seen, and how it was cut."""

    worker: int
    text: str = ""
    ids: list[tuple[int, int]] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    ended: bool = False
    cut: int | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)
    decoder: sse.Decoder = field(default_factory=sse.Decoder, repr=False)

    @property
    def last(self) -> str | None:
        """The last id it has seen."""
        return "{}-{}".format(*self.ids[-1]) if self.ids else None

    async def read(self, store: Store) -> None:
        """Read until the end, or until `cut` bytes of the next piece have come."""
        self.decoder = sse.Decoder()
        async with aclosing(store.follow(self.worker, self.last)) as pieces:
            async for data in pieces:
                self.take(data[: self.cut])
                if self.cut is not None:
                    return

    def take(self, data: bytes) -> None:
        """Do with the bytes what a client does: whole events only, each id once; a repeated one is noted."""
        for event in self.decoder.feed(data):
            frame = json.loads(event.data)
            epoch, _, seq = frame["id"].partition("-")
            place = int(epoch), int(seq)
            if self.ids and place <= self.ids[-1]:
                self.repeated.append(frame["id"])
                continue
            self.ids.append(place)
            self.text = applied(self.text, frame)
            self.ended = frame["type"] == "done"


def applied(text: str, frame: dict[str, Any]) -> str:
    """Return a text after one more frame."""
    if frame["type"] == "reset":
        return text[: frame["keep_chars"]]
    return text + frame["text"] if frame["type"] == "delta" else text


class RunMachine(RuleBasedStateMachine):
    """The rules. A subclass says which store and which loop; `runner` outlives the examples."""

    runner: asyncio.Runner
    can_restore = False

    def __init__(self) -> None:
        super().__init__()
        self.store = self.make_store()
        self.text = ""
        self.readers: list[Reader] = []
        self.alive = True
        self.zombies: list[Writer] = []
        self.saved = False
        self.older = False
        self.expired = False

    def make_store(self) -> Store:
        """Return a store for one example."""
        raise NotImplementedError

    def do(self, work: Any) -> Any:
        """Run something in the loop; a hang is a failure."""

        async def bounded() -> Any:
            return await asyncio.wait_for(work, PATIENCE)

        return self.runner.run(bounded())

    @initialize(pieces=TEXTS)
    def begin(self, pieces: list[str]) -> None:
        """A run begins, with some text and one reader."""
        self.writer = self.do(self.store.begin())
        self.write(pieces)
        self.connect(0)

    def write(self, pieces: list[str]) -> None:
        """Append the pieces."""
        self.text += "".join(pieces)
        self.within_the_loop(lambda: self.writer.extend([("delta", {"text": piece}) for piece in pieces]))

    @precondition(lambda self: self.alive and not self.expired)
    @rule(pieces=TEXTS)
    def append(self, pieces: list[str]) -> None:
        """The producer writes."""
        self.write(pieces)

    def within_the_loop(self, act: Any) -> Any:
        """Do something where a loop runs."""

        async def acting() -> Any:
            return act()

        return self.do(acting())

    @precondition(lambda self: len(self.readers) < 4 and not self.expired)
    @rule(worker=st.integers(0, 1))
    def connect(self, worker: int) -> None:
        """Another reader comes, and reads from the beginning."""
        reader = Reader(worker)
        self.readers.append(reader)
        self.start(reader)

    def start(self, reader: Reader) -> None:
        """Let a reader read."""
        reader.cut = None

        async def starting() -> None:
            reader.task = asyncio.create_task(reader.read(self.store))
            await asyncio.sleep(0)

        self.do(starting())

    @rule(turns=st.integers(1, 6))
    def pass_time(self, turns: int) -> None:
        """The loop turns a few times: readers get a little further."""

        async def turning() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.do(turning())

    @precondition(lambda self: bool(self.readers))
    @rule(data=st.data(), size=st.integers(0, 60), worker=st.integers(0, 1), at_once=st.booleans())
    def cut_and_reconnect(self, data: st.DataObject, size: int, worker: int, at_once: bool) -> None:
        """A reader's connection breaks, at once or inside the next bytes, and it comes back, perhaps elsewhere."""
        reader = self.readers[data.draw(st.integers(0, len(self.readers) - 1))]
        if at_once or self.expired:
            self.do(self.gone(reader))
        else:
            reader.cut = size
            self.pass_time(2)
            self.do(self.gone(reader))
        if not self.expired and not reader.ended:
            reader.worker = worker
            self.start(reader)

    async def gone(self, reader: Reader) -> None:
        """Drop a reader's connection."""
        assert reader.task is not None
        reader.task.cancel()
        await asyncio.gather(reader.task, return_exceptions=True)

    @precondition(lambda self: self.alive and not self.expired)
    @rule()
    def crash(self) -> None:
        """The producing worker dies; what it had not sent is lost with it."""
        self.within_the_loop(self.store.crash)
        self.alive = False

    @precondition(lambda self: self.can_restore and not self.expired)
    @rule()
    def save(self) -> None:
        """The store takes a snapshot."""
        self.do(self.store.save())
        self.saved = True

    @precondition(lambda self: self.saved and not self.expired)
    @rule()
    def come_back_older(self) -> None:
        """The store comes back as it was: what it has lost is sent again, or taken back, or refused out loud."""
        self.do(self.store.restore())
        self.older = True

    @precondition(lambda self: not self.expired)
    @rule(worker=st.integers(0, 1), keep=st.integers(0, 40))
    def take_over(self, worker: int, keep: int) -> None:
        """The lease is over, the producer dead or only slow: a worker takes over, and keeps some of the text."""
        self.zombies.append(self.writer)
        self.writer = self.do(self.store.take(worker))
        self.alive = True
        text = ""
        for kind, frame in self.do(self.store.log()):
            text = applied(text, {"type": kind, **frame})
        keep = min(keep, len(text))
        self.text, self.saved = text[:keep], False

        def reset() -> None:
            self.writer.append("reset", {"keep_chars": keep, "reason": "takeover"})

        self.within_the_loop(reset)

    @precondition(lambda self: self.zombies and not self.expired)
    @rule(data=st.data())
    def zombie_append(self, data: st.DataObject) -> None:
        """A producer that was taken for dead still writes, even an end: nobody may ever see it."""
        zombie = self.zombies[data.draw(st.integers(0, len(self.zombies) - 1))]
        self.within_the_loop(lambda: zombie.extend([("delta", {"text": "ZOMBIE"}), ("done", {})]))

    @precondition(lambda self: not self.expired)
    @rule(sure=st.integers(0, 9))
    def expire(self, sure: int) -> None:
        """The run's age is over: nobody finds it, nobody waits for it."""
        if sure:
            return
        self.do(self.store.expire())
        self.expired = True
        assert all(self.do(self.store.gone(worker)) for worker in (0, 1))

    def teardown(self) -> None:
        """End the run, and hold every reader to the whole answer, once."""
        try:
            if hasattr(self, "writer"):
                self.finish()
        finally:
            self.do(self.store.close())
            for reader in self.readers:
                self.do(self.gone(reader))

    def finish(self) -> None:
        """Write the end and wait for the readers."""
        if self.expired:
            self.do(self.all_read())
            return
        if not self.alive:
            self.take_over(1, 0)
        self.within_the_loop(lambda: self.writer.append("done", {}))
        self.do(self.store.drain())
        for _ in range(3 if self.older else 1):  # a reader of what was lost is cut, and comes back
            for reader in self.readers:
                if reader.task is not None and reader.task.done() and not reader.ended:
                    self.start(reader)
            self.do(self.all_read())
        for reader in self.readers:
            assert reader.ended
            assert reader.text == self.text
            if self.older:
                continue
            assert not reader.repeated
            assert reader.ids == sorted(set(reader.ids))
            assert [seq for _, seq in reader.ids] == list(range(1, len(reader.ids) + 1))

    async def all_read(self) -> None:
        """Wait until each reader has ended; PATIENCE bounds it."""
        await asyncio.gather(*(reader.task for reader in self.readers if reader.task), return_exceptions=True)
