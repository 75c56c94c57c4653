"""Asks a probe's endpoint through a chain and stamps every read; no HTTP client in the path, so none are merged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import uuid
from typing import Any
from urllib.parse import urlsplit

from claude_lab import clock, sse
from claude_lab.heads import Head, write
from claude_lab.observation import Observation, Question, Read, Watch, arrival
from claude_lab.reader import Reader

PATIENCE = 5.0
TICK = 0.01


class Watcher(asyncio.Protocol):
    """The client's side of one connection."""

    def __init__(self, watch: Watch, request: bytes) -> None:
        self.done = asyncio.Event()
        self._watch = watch
        self._request = request
        self._began = clock.now()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._began = clock.now()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Stamp."""
        self._watch.feed(data, seen=clock.now() - self._began)
        if self._watch.over:
            self._transport.abort()
            self.done.set()

    def connection_lost(self, error: Exception | None) -> None:
        """See how it ended."""
        self._watch.close(reset=error is not None)
        self.done.set()


async def ask(
    url: str, question: Question, *, context: ssl.SSLContext | None = None, patience: float = 0.0
) -> Observation:
    """Ask once and watch until the end, or until the plan's time and `patience` more seconds have passed."""
    plan = question.plan
    limit = (plan.due(plan.count) if plan else 0.0) + (patience or PATIENCE)
    watch = Watch(question)
    watch.observation.fresh = uuid.uuid4().hex
    ticker = asyncio.ensure_future(measure_noise(watch.observation))
    try:
        with contextlib.suppress(OSError, TimeoutError, ImportError):  # HTTP/2 needs h2, which may not be there
            await asyncio.wait_for((ask_http2 if question.http2 else ask_http1)(url, watch, context), limit)
    finally:
        ticker.cancel()
    if watch.observation.head is None:
        watch.observation.ended = "refused"
    return watch.observation


async def ask_http1(url: str, watch: Watch, context: ssl.SSLContext | None) -> None:
    """Ask over a connection of its own."""
    parts = urlsplit(url)
    secure, port = way(url, context)
    watcher = Watcher(watch, request(url, watch.observation.question, watch.observation.fresh))
    transport, _ = await asyncio.get_running_loop().create_connection(
        lambda: watcher, parts.hostname or "", port, ssl=secure, server_hostname=parts.hostname if secure else None
    )
    try:
        await watcher.done.wait()
    finally:
        transport.abort()


async def ask_http2(url: str, watch: Watch, context: ssl.SSLContext | None) -> None:
    """Ask over HTTP/2 with httpx, if its h2 is there; reads may be merged, which for one comparison does no harm."""
    import httpx  # only HTTP/2 needs a client library

    observation, decoder = watch.observation, sse.Decoder()
    question = observation.question
    headers = {"accept": question.accept, "accept-encoding": "identity", "cache-control": "no-cache"}
    async with httpx.AsyncClient(http2=True, verify=context or True, timeout=PATIENCE, trust_env=False) as client:
        began, body = clock.now(), 0
        async with client.stream(
            question.method, target(url, question, observation.fresh), headers=headers
        ) as response:
            fields = tuple(response.headers.multi_items())
            observation.head = Head(f"{response.http_version} {response.status_code} ", fields)
            async for data in response.aiter_raw():
                seen, body = clock.now() - began, body + len(data)
                observation.reads.append(Read(seen, body, body))
                observation.arrivals += [arrival(event.data, seen, body, body) for event in decoder.feed(data)]
        observation.ended = "whole"


def target(url: str, question: Question, fresh: str) -> str:
    """Return the URL with the plan in its query, and something that no cache has seen."""
    if question.plan is None:
        return url
    joint = "&" if urlsplit(url).query else "?"
    return f"{url}{joint}{question.plan.query()}&fresh={fresh}"


def request(url: str, question: Question, fresh: str = "") -> bytes:
    """Return the request's bytes."""
    parts = urlsplit(target(url, question, fresh))
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = [("Host", parts.netloc.rpartition("@")[2]), ("Accept", question.accept), ("Cache-Control", "no-cache")]
    if question.encoding:
        fields.append(("Accept-Encoding", question.encoding))
    if question.method == "POST":
        fields += [("Content-Type", "application/json"), ("Content-Length", "2")]
    return write(f"{question.method} {path} HTTP/1.1", fields) + (b"{}" if question.method == "POST" else b"")


async def measure_noise(observation: Observation) -> None:
    """Keep the longest delay of our own loop while we watch."""
    while True:
        before = clock.now()
        await asyncio.sleep(TICK)
        observation.noise = max(observation.noise, clock.now() - before - TICK)


async def state_of(url: str, name: str, *, context: ssl.SSLContext | None = None) -> dict[str, Any]:
    """Ask the endpoint what became of a named stream; an empty dict when it does not say."""
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, f"report={name}"]))
    lines = write(f"GET {parts.path or '/'}?{query} HTTP/1.1", [("Host", parts.netloc), ("Accept", "application/json")])
    answer, body = Reader(), b""
    try:
        secure, port = way(url, context)
        reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure)
        try:
            writer.write(lines)
            while answer.whole is not True and (data := await asyncio.wait_for(reader.read(65536), PATIENCE)):
                body += answer.feed(data)
        finally:
            writer.transport.abort()
        return dict(json.loads(body))
    except (OSError, TimeoutError, ValueError, TypeError):
        return {}


def way(url: str, context: ssl.SSLContext | None) -> tuple[ssl.SSLContext | None, int]:
    """Return the TLS context, if any, and the port of a URL."""
    parts = urlsplit(url)
    secure = (context or ssl.create_default_context()) if parts.scheme == "https" else None
    return secure, parts.port or (443 if secure else 80)
