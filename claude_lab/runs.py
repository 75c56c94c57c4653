"""Runs: one generation each, with an append-only log that any number of readers follow from any place.

A run's producer is not the request: readers come and go. A run that nobody reads for `orphan_grace` seconds is
stopped, and so is its spending. One `read` serves replay and tail, so there is no hand-over to lose anything in.

An entry's id is `<epoch>-<seq>`. `seq` counts a run's entries from 1 without a gap; `epoch` counts its producers, and
what one of them appends after the next has taken over is dropped.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from claude_lab.clock import now
from claude_lab.kinds import FINAL
from claude_lab.log import Entry, Frame, Log, encode

STOPPED: dict[str, Any] = {"stop_reason": "stopped", "usage": {}, "ttft": None, "events": 0}
NAME = re.compile(r"[A-Za-z0-9_-]{16,64}")
EVENT_ID = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")


class LogLost(ConnectionError):
    """A run's log cannot be reached, or is gone."""


class Moved(LogLost):
    """This worker lets go of its runs; another goes on with them."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept: runs, bytes and readers of each, the seconds that an ended one stays readable, bytes of all."""

    runs: int = 1000
    run_bytes: int = 16 * 2**20
    readers: int = 32
    age: float = 600.0
    total_bytes: int = 2**30

    def full(self, runs: int, size_bytes: int) -> str:
        """Return which bound leaves no room for one more run, in words, or nothing."""
        if runs >= self.runs:
            return f"{runs} runs are under way or read"
        if size_bytes >= self.total_bytes:
            return f"The runs that are under way or read hold {size_bytes} bytes, of MAX_BYTES={self.total_bytes}"
        return ""


def new_name() -> str:
    """Return an unguessable name for a run."""
    return secrets.token_urlsafe(16)


def check_name(name: str) -> None:
    """Raise ValueError for a name that is no name."""
    if not NAME.fullmatch(name):
        raise ValueError(f"The run name {name[:70]!r} is malformed; send 16 to 64 letters, digits, - or _.")


def wake(waiting: Iterable[asyncio.Future[None]]) -> None:
    """Let those who wait go on."""
    for waiter in waiting:
        if not waiter.done():
            waiter.set_result(None)


@dataclass(slots=True, eq=False)
class Run:
    """One generation: its log, its readers and the task that writes it."""

    name: str
    orphan_grace: float
    bounds: Bounds = field(default_factory=Bounds)
    entries: Log = field(default_factory=Log)
    epoch: int = 1
    readers: int = 0
    ended: bool = False
    ended_at: float | None = None
    producer: asyncio.Task[None] | None = None
    stopping: bool = False
    _waiting: dict[asyncio.Future[None], float] = field(default_factory=dict)
    _alarm: asyncio.TimerHandle | None = None
    _orphaned: asyncio.TimerHandle | None = None

    def append(self, kind: str, frame: dict[str, Any]) -> None:
        """Add a frame; after a final one nothing is added any more."""
        self.write(self.epoch, ((kind, frame),))

    def write(self, epoch: int, frames: Iterable[Frame]) -> None:
        """Add the frames of the producer of that epoch, unless another has taken over."""
        if epoch != self.epoch or self.ended:
            return
        kinds, data = [], []
        for seq, (kind, frame) in enumerate(frames, len(self.entries.data) + 1):
            kinds.append(kind)
            data.append(encode(kind, frame, seq, epoch))
            if kind in FINAL:
                break
        self._add(epoch, kinds, data)
        if self.entries.size_bytes > self.bounds.run_bytes and not self.ended:
            self.stop()
            self.append(*too_long(self.bounds.run_bytes))
        self.announce()

    def _add(self, epoch: int, kinds: list[str], data: list[bytes]) -> None:
        self.entries.add(epoch, kinds, data)
        if kinds and kinds[-1] in FINAL:
            self.ended, self.ended_at = True, now()

    def announce(self) -> None:
        """Wake the readers."""
        waiting, self._waiting = self._waiting, {}
        wake(waiting)

    def ping(self) -> None:
        """Tell the readers that the upstream is alive."""
        self.announce()

    async def read(self, after: int, block: float) -> list[Entry]:
        """Return the entries after number `after`, waiting up to `block` seconds for one; [] when nothing came."""
        await self.wait(after, block)
        return self.entries[after:]

    async def wait(self, after: int, block: float) -> None:
        """Wait up to `block` seconds for an entry after number `after`, the end, or a ping."""
        if len(self.entries.data) > after or self.ended:
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting[waiter] = until = loop.time() + block
        if self._alarm is None or self._alarm.when() > until:
            self._arm(until)
        try:
            await waiter
        finally:
            self._waiting.pop(waiter, None)

    def _arm(self, until: float) -> None:
        """Set the one timer of all waits; it is left alone when a wait ends early, which is what most do."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_at(until, self._ring)

    def _ring(self) -> None:
        """Wake whose time is over, and set the timer for the next."""
        at, self._alarm = now(), None
        wake([waiter for waiter, until in self._waiting.items() if until <= at])
        later = [until for until in self._waiting.values() if until > at]
        if later:
            self._arm(min(later))

    def place(self, event_id: str) -> int:
        """Return an event id's number, or the end of its epoch if that is less. Raises ValueError for a foreign one.

        A reader behind that place gets exactly what it has not seen; if a store lost what the reader has seen, the next
        producer's `reset` stands there.
        """
        found = EVENT_ID.fullmatch(event_id)
        epoch, seq = (int(found[1]), int(found[2])) if found else (0, 0)
        end = self.entries.end(epoch)
        known = epoch == 1 or epoch in self.entries.epochs
        if not known or (0 < seq <= end and self.entries.epoch(seq - 1) != epoch):
            raise ValueError(
                f"The event id {event_id[:40]!r} is none of this run's; send back an id as it came, such as '1-12'."
            )
        return min(seq, end)

    def join(self) -> None:
        """Count a reader in. Raises OverflowError when the run has as many as it may."""
        if self.readers >= self.bounds.readers:
            raise OverflowError(f"This run has {self.readers} readers; try again when one has left.")
        self.readers += 1
        if self._orphaned is not None:
            self._orphaned.cancel()
            self._orphaned = None

    def leave(self) -> None:
        """Count a reader out; when the last has left, the run has `orphan_grace` seconds to find another."""
        self.readers -= 1
        if not self.readers and not self.ended:
            self._orphaned = asyncio.get_running_loop().call_later(self.orphan_grace, self.orphan)

    def orphan(self) -> None:
        """Act on the grace being over."""
        self.stop()

    def stop(self) -> None:
        """Stop the generation; its log ends with `done`, stop reason `stopped`. Twice is fine."""
        if self.producer is not None and not self.ended:
            self.stopping = True
            self.producer.cancel()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Let `work` write the log; should it be stopped before its first step, the log ends all the same."""
        writer = Writer(self, self.epoch)
        self.producer = asyncio.create_task(work)
        self.producer.add_done_callback(lambda task: writer.append("done", dict(STOPPED)))

    def turn(self, epoch: int) -> Writer:
        """Begin a later epoch and return its writer; what the producer before still writes is dropped."""
        self.epoch = epoch
        if self.producer is not None:
            self.producer.cancel()
        return Writer(self, epoch)


@dataclass(frozen=True, slots=True)
class Writer:
    """One producer's hold of a run; after the next one's `turn` it writes nothing any more."""

    run: Run
    epoch: int = 1

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.name

    @property
    def stopping(self) -> bool:
        """Whether the run was asked to stop."""
        return self.run.stopping

    def append(self, kind: str, frame: dict[str, Any]) -> None:
        """Add a frame."""
        self.run.write(self.epoch, ((kind, frame),))

    def extend(self, frames: Iterable[Frame]) -> None:
        """Add several at once: readers wake once."""
        self.run.write(self.epoch, frames)

    def ping(self) -> None:
        """Tell the readers that the upstream is alive."""
        self.run.ping()


def too_long(run_bytes: int) -> Frame:
    """Return the final frame of a run that outgrew its log."""
    message = f"The answer outgrew MAX_RUN_BYTES={run_bytes} and was stopped; raise it, or ask for fewer max_tokens."
    return "error", {"error": "token_limit", "message": message, "retryable": False}


@dataclass(slots=True)
class Runs:
    """The runs of one server in memory, bounded; a run is found by the caller that made it and by no other."""

    bounds: Bounds = field(default_factory=Bounds)
    runs: dict[tuple[str, str], Run] = field(default_factory=dict)

    async def add(
        self, name: str, orphan_grace: float, *, caller: str = "", request: dict[str, Any] | None = None
    ) -> Run:
        """Register a new run. Raises ValueError for a name that is taken or malformed, OverflowError when full."""
        check_name(name)
        self._forget()
        if (caller, name) in self.runs:
            raise ValueError(f"The run {name!r} exists already; read it with GET, or choose another name.")
        while full := self.bounds.full(len(self.runs), self.size_bytes):
            oldest = next((key for key, run in self.runs.items() if run.ended and not run.readers), None)
            if oldest is None:
                raise OverflowError(f"{full}; try again when some have ended.")
            del self.runs[oldest]
        self.runs[caller, name] = run = Run(name, orphan_grace, self.bounds)
        return run

    async def get(self, name: str, *, caller: str = "") -> Run | None:
        """Return the caller's run of that name, or None."""
        run = self.runs.get((caller, name))
        return None if run is None or self._old(run) else run

    def _forget(self) -> None:
        """Drop what ended too long ago and is not read any more, from the oldest run on."""
        while self.runs and self._old(oldest := next(iter(self.runs.values()))) and not oldest.readers:
            del self.runs[next(iter(self.runs))]

    @property
    def size_bytes(self) -> int:
        """How many bytes the logs hold."""
        return sum(run.entries.size_bytes for run in self.runs.values())

    def _old(self, run: Run) -> bool:
        return run.ended_at is not None and now() - run.ended_at > self.bounds.age

    @property
    def open(self) -> int:
        """How many runs are under way."""
        return sum(not run.ended for run in self.runs.values())

    async def ready(self) -> None:
        """Return at once: memory is always there."""

    async def leave(self) -> None:
        """Do nothing: no other worker has these runs."""

    async def close(self) -> None:
        """Stop every run."""
        for run in self.runs.values():
            run.stop()
