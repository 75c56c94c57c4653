"""Asks a probe's endpoint through a chain and stamps every read; no HTTP client in the path, so none are merged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import uuid
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from claude_lab import clock, sse
from claude_lab.heads import BadHead, Head, write
from claude_lab.probe import MARK, Plan
from claude_lab.reader import Reader

PATIENCE = 5.0
TICK = 0.01
TAIL_BYTES = 200


@dataclass(frozen=True, slots=True)
class Question:
    """One request: what the origin is to do (None for a URL that is no probe), and how the client asks."""

    plan: Plan | None = field(default_factory=Plan)
    method: str = "GET"
    accept: str = "text/event-stream"
    encoding: str = "gzip"
    http2: bool = False
    leave_after: int | None = None

    def but(self, **changes: Any) -> Question:
        """Return the question with fields of it, or of its plan, changed."""
        own = {name: value for name, value in changes.items() if name in Question.__dataclass_fields__}
        inner = {name: value for name, value in changes.items() if name not in own}
        plan = replace(self.plan, **inner) if self.plan and inner else self.plan
        return replace(self, **{"plan": plan, **own})


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event at the client: its number, when it was due, written and seen (seconds), and where it ended."""

    n: int
    due: float
    at: float
    seen: float
    body_bytes: int
    wire_bytes: int


@dataclass(frozen=True, slots=True)
class Read:
    """One read: when, how many bytes there were so far, and whether it ended in the middle of an event."""

    seen: float
    body_bytes: int
    wire_bytes: int
    within_event: bool = False


@dataclass(slots=True)
class Observation:
    """What a client saw of one answer.

    `ended` is "whole", "cut", "reset", "closed" (only the connection's close said so), "silent" (nobody ended it),
    "left" (we did), or "refused". `noise` is the longest time our own loop was late; below it nothing can be told.
    """

    question: Question
    head: Head | None = None
    arrivals: list[Arrival] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    ended: str = "silent"
    tail: str = ""
    noise: float = 0.0
    head_after: float | None = None

    @property
    def status(self) -> int:
        """The HTTP status, or 0."""
        return self.head.status if self.head else 0

    @property
    def is_probe(self) -> bool:
        """Whether our endpoint answered."""
        return self.head is not None and bool(self.head.get(MARK))

    @property
    def holds(self) -> list[float]:
        """How long each event was underway beyond the quickest one, in seconds."""
        trips = [arrival.seen - arrival.at for arrival in self.arrivals]
        return [trip - min(trips) for trip in trips]


class Watch:
    """Turns the bytes of one answer, each read with its time, into an observation; `over` once it has ended."""

    def __init__(self, question: Question) -> None:
        self.observation = Observation(question)
        self.over = False
        self._reader = Reader()
        self._decoder = sse.Decoder()
        self._body = 0
        self._wire = 0
        self._tail = b""

    def feed(self, data: bytes, *, seen: float) -> None:
        """Stamp and decode one read."""
        observation = self.observation
        self._wire += len(data)
        try:
            body = self._reader.feed(data)
        except BadHead:
            self.end("refused")
            return
        if self._reader.head and observation.head is None:
            observation.head, observation.head_after = self._reader.head, seen
        self._body += len(body)
        self._tail = (self._tail + body)[-TAIL_BYTES:]
        for event in self._decoder.feed(body):
            observation.arrivals.append(arrival(event.data, seen, self._body, self._wire))
        observation.reads.append(Read(seen, self._body, self._wire, self._decoder.pending))
        leave = observation.question.leave_after
        if leave is not None and len(observation.arrivals) >= leave:
            self.end("left")
        elif self._reader.whole:
            self.end("whole")

    def close(self, *, reset: bool = False) -> None:
        """The connection closed: see what that means for this framing."""
        if self._reader.head is None:
            self.end("refused")
        elif reset:
            self.end("reset")
        else:
            self.end("closed" if self._reader.whole is None else "cut")

    def end(self, how: str) -> None:
        """Note how it ended, once."""
        if not self.over:
            self.over = True
            self.observation.ended = how
            if self._decoder.pending or not self.observation.arrivals:
                self.observation.tail = self._tail.decode("utf-8", "replace")


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


def arrival(data: str, seen: float, body_bytes: int, wire_bytes: int) -> Arrival:
    """Read one event; what is not ours counts as written when it was seen."""
    try:
        words = json.loads(data)
        return Arrival(words["n"], words["due"], words["at"], seen, body_bytes, wire_bytes)
    except (ValueError, TypeError, KeyError):
        return Arrival(-1, seen, seen, seen, body_bytes, wire_bytes)


async def ask(
    url: str, question: Question, *, context: ssl.SSLContext | None = None, patience: float = 0.0
) -> Observation:
    """Ask once and watch until the end, or until the plan's time and `patience` more seconds have passed."""
    plan = question.plan
    limit = (plan.due(plan.count) if plan else 0.0) + (patience or PATIENCE)
    watch = Watch(question)
    ticker = asyncio.ensure_future(measure_noise(watch.observation))
    try:
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for((ask_http2 if question.http2 else ask_http1)(url, watch, context), limit)
    finally:
        ticker.cancel()
    if watch.observation.head is None:
        watch.observation.ended = "refused"
    return watch.observation


async def ask_http1(url: str, watch: Watch, context: ssl.SSLContext | None) -> None:
    """Ask over a connection of its own."""
    parts = urlsplit(url)
    secure = (context or ssl.create_default_context()) if parts.scheme == "https" else None
    port = parts.port or (443 if secure else 80)
    watcher = Watcher(watch, request(url, watch.observation.question))
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
        async with client.stream(question.method, target(url, question), headers=headers) as response:
            fields = tuple(response.headers.multi_items())
            observation.head = Head(f"{response.http_version} {response.status_code} ", fields)
            async for data in response.aiter_raw():
                seen, body = clock.now() - began, body + len(data)
                observation.reads.append(Read(seen, body, body))
                observation.arrivals += [arrival(event.data, seen, body, body) for event in decoder.feed(data)]
        observation.ended = "whole"


def target(url: str, question: Question) -> str:
    """Return the URL with the plan in its query, and something that no cache has seen."""
    if question.plan is None:
        return url
    joint = "&" if urlsplit(url).query else "?"
    return f"{url}{joint}{question.plan.query()}&fresh={uuid.uuid4().hex}"


def request(url: str, question: Question) -> bytes:
    """Return the request's bytes."""
    parts = urlsplit(target(url, question))
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
    import httpx

    joint = "&" if urlsplit(url).query else "?"
    try:
        async with httpx.AsyncClient(verify=context or True, timeout=PATIENCE, trust_env=False) as client:
            answer = await client.get(f"{url}{joint}report={name}", headers={"accept": "application/json"})
            return dict(answer.json())
    except (httpx.HTTPError, ValueError, TypeError):
        return {}
