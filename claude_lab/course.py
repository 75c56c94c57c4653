"""One answer down several routes at once: the same bytes, written at the same moments, on one clock.

`send_through` plays a schedule through rules; `ask_through` puts one question to several addresses of a lab's server.
Both return a trace for each route, ready for `plots.staircase`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from claude_lab import background, clock, heads, sse
from claude_lab.buffering import Timed, note, schedule
from claude_lab.failure import kind_of
from claude_lab.nginx import Nginx, find
from claude_lab.proxy import Proxy
from claude_lab.reader import Reader
from claude_lab.rule import Rule
from claude_lab.sockets import reset
from claude_lab.trace import Trace

Ending = Literal["clean", "close", "reset"]
Target = tuple[str, ssl.SSLContext | None]
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Passed:
    """How one route treated an answer.

    `first_share` is the part of the stream's length that the first event took, holds are seconds an event was kept
    beyond its writing, `bursts` counts the arrivals that were apart, `lost_bytes` never came.
    """

    first_share: float
    hold: float
    longest_hold: float
    bursts: int
    lost_bytes: int


def passed(sent: Trace, seen: Trace) -> Passed:
    """Compare what a route delivered with what was sent; events are matched in order."""
    holds = [b - a for a, b in zip(sent.arrivals, seen.arrivals, strict=False)] or [sent.duration]
    lost = sum(mark.value for mark in sent.of("chunk")) - sum(mark.value for mark in seen.of("chunk"))
    began = sent.arrivals[0] if sent.arrivals else 0.0
    first = seen.ttft if seen.ttft is not None else sent.duration
    length = max(sent.duration - began, 1e-9)
    return Passed((first - began) / length, statistics.median(holds), max(holds), len(seen.bursts()), lost)


def send_through(
    routes: Mapping[str, Rule | None],
    events: Iterable[Timed] | None = None,
    *,
    ending: Ending = "clean",
    fields: Sequence[tuple[str, str]] = (),
    accept: str = "text/event-stream",
    accept_encoding: str = "",
    real: bool = False,
    watching: Callable[[str, Trace], None] | None = None,
) -> dict[str, Trace]:
    """Write one schedule to every route at once and return what arrived: `sent` first, then a trace for each label.

    A rule of None is no proxy at all. With `real` an nginx rule runs in the installed nginx, where there is one. The
    body is chunked for a hop that speaks HTTP/1.1 and ends with the connection for one that speaks HTTP/1.0;
    `ending` may break it off. `fields` go into the upstream's head, such as ("x-accel-buffering", "no").
    `accept` and `accept_encoding` are what the clients ask for; `watching` is given each label and its trace before
    the first byte, for a live view.
    """
    origin = Origin(list(events if events is not None else schedule(100)), len(routes), ending, tuple(fields))
    with ExitStack() as stack:
        url = stack.enter_context(origin).url
        build = find() if real else None

        def target(rule: Rule | None) -> Target:
            if rule is None:
                return url, None
            if build and rule.hold == "nginx":
                nginx = stack.enter_context(Nginx(url, rule, build=build))
                return nginx.url, nginx.ssl_context() if rule.tls else None
            return stack.enter_context(Proxy(url, rule)).url, None

        targets = {label: target(rule) for label, rule in routes.items()}
        lines = [f"Accept: {accept}", *([f"Accept-Encoding: {accept_encoding}"] if accept_encoding else [])]
        return background.portal().run(origin.race(targets, lines, watching), timeout=600)


def ask_through(
    urls: Mapping[str, str],
    message: Mapping[str, Any],
    *,
    path: str = "/chat/stream",
    watching: Callable[[str, Trace], None] | None = None,
) -> dict[str, Trace]:
    """Put the same question to several addresses of a lab's server at once; a trace for each label.

    An address that does not answer, or that refuses, leaves an `error` in its trace.
    `watching` is given each trace before it begins, for a live view.
    """

    async def ask(label: str, url: str) -> Trace:
        trace = Trace()
        if watching is not None:
            watching(label, trace)
        await collect(url + path, trace, body=json.dumps(dict(message)).encode())
        head = trace.last("head")
        if not trace.ended and head is not None and head.value >= 400:
            told = f"{url} answered {head.value} and no stream; give a lab, its `url`, or a proxy in front of it."
            trace.add("error", {"error": kind_of(head.value), "message": told})
        return trace

    async def every() -> dict[str, Trace]:
        traces = await asyncio.gather(*(ask(label, url) for label, url in urls.items()))
        return dict(zip(urls, traces, strict=True))

    return background.portal().run(every(), timeout=600)


@dataclass
class Origin:
    """An upstream that waits until every route has asked, then writes to all of them in step."""

    events: list[Timed]
    expected: int
    ending: Ending
    fields: tuple[tuple[str, str], ...] = ()
    url: str = ""
    writers: list[tuple[asyncio.StreamWriter, bool]] = field(default_factory=list)
    all_here: asyncio.Event = field(default_factory=asyncio.Event)
    server: asyncio.Server | None = None

    def __enter__(self) -> Origin:
        async def start() -> asyncio.Server:
            return await asyncio.start_server(self._accept, "127.0.0.1", 0)

        self.server = background.portal().run(start(), timeout=10)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        async def stop() -> None:
            if self.server is not None:
                self.server.close()
            for writer, _ in self.writers:
                writer.transport.abort()

        background.portal().run(stop(), timeout=5)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            request = heads.parse(await reader.readuntil(b"\r\n\r\n"))
            self.writers.append((writer, request.version == "1.1"))
            if len(self.writers) >= self.expected:
                self.all_here.set()

    async def race(
        self, targets: Mapping[str, Target], lines: list[str], watching: Callable[[str, Trace], None] | None = None
    ) -> dict[str, Trace]:
        """Ask through every route, play once all have asked, and return the traces."""
        sent = Trace()
        traces = {label: Trace() for label in targets}
        for label, trace in {"sent": sent, **traces}.items():
            if watching is not None:
                watching(label, trace)
        asking = [
            asyncio.ensure_future(collect(url, traces[label], lines=lines, context=context))
            for label, (url, context) in targets.items()
        ]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.all_here.wait(), PATIENCE)
        now = clock.now()
        for trace in (sent, *traces.values()):
            trace.started = now
        await self._play(sent)
        await asyncio.wait(asking, timeout=PATIENCE)
        for task in asking:
            task.cancel()
        return {"sent": sent, **traces}

    async def _play(self, sent: Trace) -> None:
        for writer, chunked in self.writers:
            framing = [("transfer-encoding", "chunked")] if chunked else []
            fields = [("content-type", "text/event-stream"), *self.fields, *framing]
            writer.write(heads.write("HTTP/1.1 200 OK", fields))
        decoder = sse.Decoder()
        for at, data in self.events:
            await asyncio.sleep(max(0.0, sent.started + at - clock.now()))
            for writer, chunked in self.writers:
                if not writer.is_closing():
                    writer.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
            sent.add("chunk", len(data))
            for event in decoder.feed(data):
                note(sent, event.data)
        for writer, chunked in self.writers:
            await self._end(writer, chunked=chunked)

    async def _end(self, writer: asyncio.StreamWriter, *, chunked: bool) -> None:
        if self.ending == "reset":
            await asyncio.sleep(0.02)  # what was written must have been read, or the reset takes it along
            reset(writer.transport)
            return
        if chunked and self.ending == "clean":
            writer.write(b"0\r\n\r\n")
        writer.close()


async def collect(
    url: str,
    trace: Trace,
    *,
    lines: Iterable[str] = (),
    body: bytes = b"",
    context: ssl.SSLContext | None = None,
) -> None:
    """Ask an address and write what arrives into a trace: `head`, `chunk`, `delta`, frames, and `error` for a cut."""
    parts = urlsplit(url)
    port = parts.port or (443 if context else 80)
    name = parts.hostname if context else None
    try:
        reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context, server_hostname=name)
    except OSError as error:
        trace.add("error", {"error": "network_error", "message": f"{parts.netloc} does not answer ({error})."})
        return
    try:
        writer.write(request(parts.path or "/", parts.netloc, lines, body))
        await read_answer(reader, trace)
    finally:
        writer.transport.abort()


def request(path: str, host: str, lines: Iterable[str], body: bytes) -> bytes:
    """Return a request; with a body a POST of JSON."""
    first = f"{'POST' if body else 'GET'} {path} HTTP/1.1"
    length = ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([first, f"Host: {host}", *lines, *length, "", ""]).encode() + body


async def read_answer(stream: asyncio.StreamReader, trace: Trace) -> None:
    """Write an answer's arrival into a trace until it ends, one way or another."""
    reader, decoder, reason = Reader(), sse.Decoder(), "ended"
    while not reader.whole:
        try:
            data = await stream.read(1 << 16)
        except ConnectionError:
            data, reason = b"", "was reset"
        if not data:
            break
        had_head = reader.head is not None
        piece = reader.feed(data)
        if reader.head and not had_head:
            trace.add("head", reader.head.status)
        if piece:
            trace.add("chunk", len(piece))
        for event in decoder.feed(piece):
            note(trace, event.data)
    if reader.whole is False or reason == "was reset" or reader.head is None:
        trace.add("error", {"error": "truncated", "message": f"The connection {reason} before the answer did."})
