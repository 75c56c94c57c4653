"""A crowd of readers: many streams over real sockets at once, each stamped as it arrives, and `/health` meanwhile.

The readers are bare asyncio protocols that count and compare bytes, so that a crowd costs less than what it asks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from claude_lab.clock import now


@dataclass(frozen=True, slots=True)
class Question:
    """What each reader posts, and how an answer is known: the bytes in its `first` delta, and in its `last` event."""

    fields: dict[str, Any] = field(default_factory=lambda: {"message": "Why is the sky blue?"})
    path: str = "/chat/stream"
    first: bytes = b'"delta"'
    last: bytes = b'"done"'
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, host: str, prefix: str) -> bytes:
        """Return the request's bytes; the server closes the connection at the answer's end."""
        body = json.dumps(self.fields).encode()
        return head("POST", prefix + self.path, host, {"content-type": "application/json", **self.headers}, body)


@dataclass(frozen=True, slots=True)
class Stream:
    """What one reader saw, in seconds since the crowd began; `first` is its first delta, None when there was none."""

    began: float
    first: float | None
    ended: float
    events: int
    size_bytes: int
    whole: bool

    @property
    def ttft(self) -> float | None:
        """Seconds to the first delta."""
        return None if self.first is None else self.first - self.began


@dataclass(frozen=True, slots=True)
class Crowd:
    """What a crowd saw: its streams, the latencies of `/health`, and the seconds from first to last.

    `answered` probes had their answer before the last stream was over.
    """

    streams: tuple[Stream, ...]
    health: tuple[float, ...]
    answered: int
    took: float

    @property
    def whole(self) -> int:
        """How many streams arrived whole."""
        return sum(stream.whole for stream in self.streams)

    @property
    def events(self) -> int:
        """How many events arrived."""
        return sum(stream.events for stream in self.streams)

    @property
    def at_once(self) -> float:
        """How many whole streams were between their first delta and their end, on average over the time from the first
        of those to the last of these: a slow machine stretches it and the streams alike. 0 without a whole stream.
        """
        spans = [(each.first, each.ended) for each in self.streams if each.whole and each.first is not None]
        if not spans:
            return 0.0
        return sum(end - first for first, end in spans) / (max(end for _, end in spans) - min(spans)[0])

    def ttft(self, share: float) -> float:
        """Return the time to the first delta that this share of the streams stays below; infinite without one."""
        return quantile([float("inf") if stream.ttft is None else stream.ttft for stream in self.streams], share)

    def health_at(self, share: float) -> float:
        """Return the latency of `/health` that this share of the probes stays below."""
        return quantile(self.health, share)


def quantile(values: list[float] | tuple[float, ...], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not pass; NaN of none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def head(method: str, path: str, host: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Return a whole HTTP/1.1 request."""
    names = {"host": host, **headers, "content-length": str(len(body)), "connection": "close"}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in names.items()), "", ""]
    return "\r\n".join(lines).encode() + body


class Reader(asyncio.Protocol):
    """One request on one connection; `begun` is done at its first delta or its end, `done` when it has gone."""

    def __init__(self, request: bytes, first: bytes, last: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.request, self.mark, self.last = request, first, last
        self.overlap = max(len(b"data: "), len(first), len(last)) - 1
        self.began = now()
        self.first: float | None = None
        self.events = self.size_bytes = 0
        self.whole = False
        self.tail = b""
        self.begun: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[float] = loop.create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as it is for TCP
        """Ask."""
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Count what came; what is looked for may be cut, so a few bytes from before are looked at again."""
        self.size_bytes += len(data)
        seen = self.tail + data
        self.events += seen.count(b"data: ", max(0, len(self.tail) - 5))
        if self.first is None and self.mark in seen:
            self.first = now()
            self.settle()
        self.whole = self.whole or self.last in seen
        self.tail = seen[-self.overlap :]

    def itself(self) -> Reader:
        """Return the reader: what `create_connection` calls."""
        return self

    def settle(self) -> None:
        """Say that the first delta is here, or will not come."""
        if not self.begun.done():
            self.begun.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Note the end."""
        self.settle()
        if not self.done.done():
            self.done.set_result(now())

    def leave(self) -> None:
        """Cut the connection, if it is still there."""
        if self.transport is not None:
            self.transport.abort()

    def seen(self, start: float) -> Stream:
        """Return what it saw, on a clock that began at `start`."""
        ended = self.done.result() if self.done.done() else now()
        first = None if self.first is None else self.first - start
        return Stream(self.began - start, first, ended - start, self.events, self.size_bytes, self.whole)


class Probes:
    """Asks one path again and again, on schedule, whether or not the last question was answered."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self.where = host, port
        self.request = request
        self.took: list[float] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self) -> None:
        """Ask once, on a connection of its own."""
        began = now()
        reader, writer = await asyncio.open_connection(*self.where)
        try:
            writer.write(self.request)
            await reader.read()
            self.took.append(now() - began)
        finally:
            writer.transport.abort()

    async def go_on(self, every: float) -> None:
        """Ask every so many seconds until cancelled."""
        while True:
            task = asyncio.create_task(self.ask())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(every)

    async def settle(self, patience: float) -> None:
        """Wait for the answers that are still to come; what does not come within `patience` counts as that long."""
        if waiting := set(self._tasks):
            _, late = await asyncio.wait(waiting, timeout=patience)
            for task in late:
                task.cancel()
                self.took.append(patience)
            await asyncio.gather(*waiting, return_exceptions=True)


async def drive(
    url: str,
    streams: int,
    question: Question | None = None,
    *,
    apart: float = 0.0,
    health: str | None = "/health",
    every: float = 0.05,
    patience: float = 60.0,
    during: Callable[[], None] | None = None,
    stay: bool = True,
) -> Crowd:
    """Open so many streams, `apart` seconds from one to the next, read them all, and ask `health` every so often.

    What is not over `patience` seconds after the last was opened is cut off and is not whole. `during` is called once
    each stream has had its first delta or has ended; without `stay` the readers leave then.
    Raises OSError when nobody listens.
    """
    asked, parts = question or Question(), urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    request = asked.request(parts.netloc, parts.path)
    probes = Probes(host, port, head("GET", f"{parts.path}{health}", parts.netloc, {}))
    readers: list[Reader] = []
    loop, start = asyncio.get_running_loop(), now()
    probing = asyncio.create_task(probes.go_on(every)) if health else None
    try:
        for number in range(streams):
            if apart and (left := start + number * apart - now()) > 0:
                await asyncio.sleep(left)
            readers.append(Reader(request, asked.first, asked.last))
            await loop.create_connection(readers[-1].itself, host, port)
        until = now() + patience
        if during is not None:
            await asyncio.wait([reader.begun for reader in readers], timeout=patience)
            during()
        if stay:
            await asyncio.wait([reader.done for reader in readers], timeout=until - now())
        answered, took = len(probes.took), now() - start
    finally:
        if probing is not None:
            probing.cancel()
        for reader in readers:
            reader.leave()
        await probes.settle(patience)
    return Crowd(tuple(reader.seen(start) for reader in readers), tuple(probes.took), answered, took)
