"""Runs: one generation each, with an append-only log that any number of readers follow from any place.

A run's producer is not the request: readers come and go. A run that nobody reads for `orphan_grace` seconds is
stopped, and so is its spending. One `read` serves replay and tail, so there is no hand-over to lose anything in.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from claude_lab import sse

EPOCH = 1
FINAL = frozenset({"done", "error"})
STOPPED: dict[str, Any] = {"stop_reason": "stopped", "usage": {}, "ttft": None, "events": 0}
NAME = re.compile(r"[A-Za-z0-9_-]{16,64}")
EVENT_ID = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Entry:
    """One frame of a run: its number from 1, its type, the frame itself, and its bytes on the wire."""

    seq: int
    kind: str
    frame: dict[str, Any]
    data: bytes


def new_name() -> str:
    """Return an unguessable name for a run."""
    return secrets.token_urlsafe(16)


def seq_of(event_id: str) -> int:
    """Return the number in an event id `<epoch>-<seq>`. Raises ValueError for anything else."""
    found = EVENT_ID.fullmatch(event_id)
    if not found or int(found[1]) != EPOCH:
        raise ValueError(f"The event id {event_id[:40]!r} is none of ours; send back an id as it came, such as '1-12'.")
    return int(found[2])


def encode(kind: str, frame: dict[str, Any], seq: int) -> bytes:
    """Return a frame's bytes: the JSON alone in its block, then its id in one of its own."""
    event_id = f"{EPOCH}-{seq}"
    return sse.encode(json.dumps({"type": kind, **frame, "id": event_id})) + sse.encode(id=event_id)


@dataclass(slots=True)
class Run:
    """One generation: its log, its readers and the task that writes it."""

    name: str
    orphan_grace: float
    entries: list[Entry] = field(default_factory=list)
    readers: int = 0
    ended: bool = False
    producer: asyncio.Task[None] | None = None
    stopping: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _orphaned: asyncio.TimerHandle | None = None

    def append(self, kind: str, frame: dict[str, Any]) -> None:
        """Add a frame; after a final one nothing is added any more."""
        if self.ended:
            return
        seq = len(self.entries) + 1
        self.entries.append(Entry(seq, kind, frame, encode(kind, frame, seq)))
        self.ended = kind in FINAL
        self.announce()

    def announce(self) -> None:
        """Wake the readers."""
        self._news.set()
        self._news = asyncio.Event()

    def ping(self) -> None:
        """Tell the readers that the upstream is alive."""
        self.announce()

    async def read(self, after: int, block: float) -> list[Entry]:
        """Return the entries after number `after`, waiting up to `block` seconds for one; [] when nothing came."""
        if len(self.entries) <= after and not self.ended:
            try:
                await asyncio.wait_for(self._news.wait(), block)
            except TimeoutError:
                return []
        return self.entries[after:]

    def join(self) -> None:
        """Count a reader in."""
        self.readers += 1
        if self._orphaned is not None:
            self._orphaned.cancel()
            self._orphaned = None

    def leave(self) -> None:
        """Count a reader out; when the last has left, the run has `orphan_grace` seconds to find another."""
        self.readers -= 1
        if not self.readers and not self.ended:
            self._orphaned = asyncio.get_running_loop().call_later(self.orphan_grace, self.stop)

    def stop(self) -> None:
        """Stop the generation; its log ends with `done`, stop reason `stopped`. Twice is fine."""
        if self.producer is not None and not self.ended:
            self.stopping = True
            self.producer.cancel()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Let `work` write the log; should it be stopped before its first step, the log ends all the same."""
        self.producer = asyncio.create_task(work)
        self.producer.add_done_callback(lambda task: self.append("done", dict(STOPPED)))


@dataclass(slots=True)
class Runs:
    """The runs of one server, bounded: the oldest ended ones go first."""

    most: int = 1000
    runs: dict[str, Run] = field(default_factory=dict)

    def add(self, name: str, orphan_grace: float) -> Run:
        """Register a new run. Raises ValueError for a name that is taken or malformed, OverflowError when full."""
        if not NAME.fullmatch(name):
            raise ValueError(f"The run name {name[:70]!r} is malformed; send 16 to 64 letters, digits, - or _.")
        if name in self.runs:
            raise ValueError(f"The run {name!r} exists already; read it with GET, or choose another name.")
        if len(self.runs) >= self.most:
            oldest = next((other for other, run in self.runs.items() if run.ended), None)
            if oldest is None:
                raise OverflowError(f"{self.most} runs are under way; try again when some have ended.")
            del self.runs[oldest]
        self.runs[name] = run = Run(name, orphan_grace)
        return run

    def get(self, name: str) -> Run | None:
        """Return the run, or None."""
        return self.runs.get(name)

    @property
    def open(self) -> int:
        """How many runs are under way."""
        return sum(not run.ended for run in self.runs.values())
