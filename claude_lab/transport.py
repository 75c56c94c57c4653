"""Transports for the anthropic SDK that stream and drop in memory, on whatever clock the loop has.

`PlayedTransport` plays answers from a function; `StreamingASGI` calls an ASGI app, piece by piece as it sends.
Both enforce the request's read timeout, which in-memory transports usually ignore.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import httpx2

from claude_lab.background import TRANSPORT

App = Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

CUTS: Mapping[str, type[httpx2.TransportError]] = {
    "fin": httpx2.RemoteProtocolError,
    "rst": httpx2.ReadError,
}
"""How a connection breaks, and what the client sees."""

SAID = {
    "fin": "peer closed connection without sending complete message body",
    "rst": "connection reset by peer",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What to play to one request.

    `head_after` is the wait before the status line; `steps` are (seconds to wait, bytes); `end` is "complete", "fin"
    (closed in the middle), "rst" (reset) or "hang" (silent until the client leaves).
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    steps: Iterable[tuple[float, bytes]] = ()
    head_after: float = 0.0
    end: str = "complete"


def read_timeout(request: httpx2.Request) -> float | None:
    """Return how long the client will wait for the next bytes, in seconds; None is for ever."""
    timeout: float | None = request.extensions.get("timeout", {}).get("read")
    return timeout


def broken(how: str, request: httpx2.Request) -> NoReturn:
    """Raise what httpx2 raises when the connection breaks so."""
    raise CUTS[how](SAID[how], request=request)


async def wait(delay: float, request: httpx2.Request) -> None:
    """Let `delay` seconds of silence pass, or the read timeout: raises ReadTimeout when it is the shorter."""
    limit = read_timeout(request)
    if limit is not None and delay > limit:
        await asyncio.sleep(limit)
        raise httpx2.ReadTimeout(f"no bytes for {limit:g} s", request=request)
    if delay > 0:
        await asyncio.sleep(delay)


class PlayedStream(httpx2.AsyncByteStream):
    """The body of a played answer."""

    def __init__(self, answer: Answer, request: httpx2.Request) -> None:
        self.answer = answer
        self.request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for delay, data in self.answer.steps:
            await wait(delay, self.request)
            yield data
        if self.answer.end == "hang":
            await wait(float("inf"), self.request)
        elif self.answer.end != "complete":
            broken(self.answer.end, self.request)


class PlayedTransport(httpx2.AsyncBaseTransport):
    """Answers each request with what `play(request)` returns."""

    def __init__(self, play: Callable[[httpx2.Request], Answer]) -> None:
        self.play = play

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Play one answer."""
        await request.aread()
        answer = self.play(request)
        await wait(answer.head_after, request)
        return httpx2.Response(answer.status, headers=dict(answer.headers), stream=PlayedStream(answer, request))


class Line:
    """The connection as the app may see it, in the scope's `claude_lab.transport` extension: it can be cut."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def is_closing(self) -> bool:
        """Whether the connection is cut."""
        return self._exchange.left.is_set()

    def close(self) -> None:
        """Close the connection in the middle."""
        self._exchange.cut("fin")

    def abort(self) -> None:
        """Reset the connection."""
        self._exchange.cut("rst")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """There is no socket below."""
        return default


@dataclass(slots=True)
class Exchange:
    """One request and its response between an app's task and the client's, in one loop.

    `pieces` carries, in order: the start message, bytes, None at a complete end, or the name of a cut.
    """

    request: httpx2.Request
    body: bytes
    pieces: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    asked: bool = False

    def scope(self) -> dict[str, Any]:
        """Return the ASGI scope of the request."""
        url = self.request.url
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "2",
            "method": self.request.method,
            "headers": [(name.lower(), value) for name, value in self.request.headers.raw],
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.split(b"?")[0],
            "query_string": url.query,
            "server": (url.host, url.port),
            "client": ("127.0.0.1", 0),
            "root_path": "",
            "extensions": {TRANSPORT: Line(self)},
        }

    async def receive(self) -> dict[str, Any]:
        """Hand over the body, then wait for the client to leave."""
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, Any]) -> None:
        """Pass on what the app sends; after the client left it goes nowhere, as under uvicorn."""
        if self.left.is_set():
            return
        if message["type"] == "http.response.start":
            self.pieces.put_nowait(message)
        elif message["type"] == "http.response.body":
            if message.get("body"):
                self.pieces.put_nowait(message["body"])
            if not message.get("more_body", False):
                self.pieces.put_nowait(None)

    def cut(self, how: str) -> None:
        """Break the connection: the client reads what was sent, then fails."""
        self.pieces.put_nowait(how)
        self.left.set()

    async def run(self, app: App) -> None:
        """Call the app; its error cuts the connection, and before the start reaches the client as it is."""
        try:
            await app(self.scope(), self.receive, self.send)
        except Exception as error:
            self.pieces.put_nowait(error)
        else:
            self.pieces.put_nowait("fin")

    async def piece(self) -> Any:
        """Return the next piece; raises ReadTimeout when none comes in time."""
        if not self.pieces.empty():
            return self.pieces.get_nowait()
        limit = read_timeout(self.request)
        try:
            async with asyncio.timeout(limit):
                return await self.pieces.get()
        except TimeoutError:
            raise httpx2.ReadTimeout(f"no bytes for {limit:g} s", request=self.request) from None


class ExchangeStream(httpx2.AsyncByteStream):
    """The body of an app's response, as it is sent."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self.exchange.piece()) is not None:
            if isinstance(piece, Exception):
                raise httpx2.RemoteProtocolError(SAID["fin"], request=self.exchange.request) from piece
            if isinstance(piece, str):
                broken(piece, self.exchange.request)
            yield piece

    async def aclose(self) -> None:
        """Tell the app that the client has left."""
        self.exchange.left.set()


class StreamingASGI(httpx2.AsyncBaseTransport):
    """Calls an ASGI app in the loop of the client; each piece arrives when the app sends it.

    The app may break the connection through the scope's `claude_lab.transport`, which ASGI alone cannot say.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Start the app on one request and return once it has sent its status."""
        exchange = Exchange(request, await request.aread())
        task = asyncio.create_task(exchange.run(self.app))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            start = await exchange.piece()
        except BaseException:
            exchange.left.set()
            raise
        if isinstance(start, Exception):
            raise start
        if isinstance(start, str):
            broken(start, request)
        return httpx2.Response(start["status"], headers=start.get("headers", []), stream=ExchangeStream(exchange))

    async def aclose(self) -> None:
        """Stop what the app still does for clients that are gone."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
