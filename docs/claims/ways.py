"""Three ways to push text to a reader, each in as few statements as it takes: JSON lines, SSE, a WebSocket.

Each server takes the question as JSON and pushes an answer in pieces; each reader asks and reads it to the end.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import fastapi
import pydantic
import uvicorn
from websockets.asyncio.client import connect

from claims import bench, clients, connections, servers
from claims.claim import outcome_of
from claude_lab.background import Portal
from claude_lab.sockets import listen


@dataclass(frozen=True)
class Way:
    """The source of a server, and of its reader."""

    server: str
    reader: str


LINES = Way(
    """
import json
from fastapi.responses import StreamingResponse
@app.post("/")
async def answer(ask: Ask):
    async def write():
        for piece in pieces(ask):
            yield json.dumps(piece) + "\\n"
    return StreamingResponse(write(), media_type="application/jsonl")
""",
    """
import httpx
with httpx.stream("POST", f"http://{place}", json=question) as response:
    for line in response.iter_lines():
        got.append(json.loads(line))
""",
)
EVENTS = Way(
    """
import json
from fastapi.responses import StreamingResponse
@app.post("/")
async def answer(ask: Ask):
    async def write():
        for piece in pieces(ask):
            yield f"data: {json.dumps(piece)}\\n\\n"
    return StreamingResponse(write(), media_type="text/event-stream")
""",
    """
import httpx
with httpx.stream("POST", f"http://{place}", json=question) as response:
    for line in response.iter_lines():
        if line.startswith("data:"):
            got.append(json.loads(line[5:]))
""",
)
SOCKET = Way(
    """
from fastapi import WebSocket
@app.websocket("/")
async def answer(socket: WebSocket):
    await socket.accept()
    ask = Ask(**await socket.receive_json())
    for piece in pieces(ask):
        await socket.send_json(piece)
    await socket.close()
""",
    """
import json
from websockets.sync.client import connect
with connect(f"ws://{place}") as socket:
    socket.send(json.dumps(question))
    for message in socket:
        got.append(json.loads(message))
""",
)


class Ask(pydantic.BaseModel):
    """What a reader asks."""

    message: str


WITHOUT_A_QUESTION = {
    '.post("/")': '.get("/")',
    "ask: Ask": "",
    "pieces(ask)": "pieces(None)",
    '"POST"': '"GET"',
    ", json=question": "",
    "    ask = Ask(**await socket.receive_json())\n": "",
    "    socket.send(json.dumps(question))\n": "",
}
"""What changes where the answer is pushed without anybody asking."""


@dataclass(frozen=True)
class Code:
    """One way: whether the text came whole, its statements, and the packages that the article's four do not bring."""

    whole: bool
    statements: int
    packages: tuple[str, ...]


@dataclass(frozen=True)
class Simple:
    """Statements and further packages of three ways, and what a browser does by itself when a stream is cut."""

    whole: bool
    lines: int
    events: int
    socket: int
    events_need: tuple[str, ...]
    socket_needs: tuple[str, ...]
    events_unasked: int
    socket_unasked: int
    came_back_with: str
    fetches: int


def three_ways(question: bool = True, extra: str = "", ids: bool = True) -> Simple:
    """Push an answer to a question in three ways, in as few statements as it takes, and count them.

    Without a `question` the answer is pushed unasked; an `extra` is one of uvicorn's, whose packages are there then;
    without `ids` the browser's stream has none.
    """
    tried = ((LINES, question), (EVENTS, question), (SOCKET, question), (EVENTS, False), (SOCKET, False))
    with ThreadPoolExecutor() as together:
        lines, events, socket, *unasked = together.map(lambda way: run(*way, extra=extra), tried)
    browser = outcome_of(clients.event_source) if ids else clients.event_source(ids=False)
    return Simple(
        all(way.whole for way in (lines, events, socket, *unasked)),
        lines.statements,
        events.statements,
        socket.statements,
        events.packages,
        socket.packages,
        *(way.statements for way in unasked),
        browser.came_back_with,
        browser.fetches_after_a_cut,
    )


def run(way: Way, question: bool, *, extra: str) -> Code:
    """Serve and read one way; count its statements."""
    server, reader = way.server, way.reader
    for old, new in () if question else WITHOUT_A_QUESTION.items():
        server, reader = server.replace(old, new), reader.replace(old, new)
    asked, told, got = {"message": "Why is the sky blue?"}, [*bench.TEXT.split(), "two\nlines"], list[Any]()

    def pieces(ask: Ask | None) -> list[str]:
        return told if not question or ask == Ask(**asked) else []

    names: dict[str, Any] = {"app": fastapi.FastAPI(), "Ask": Ask, "pieces": pieces, "question": asked, "got": got}
    exec(compile(server, "server.py", "exec", dont_inherit=True), names)
    with served(names["app"]) as names["place"]:
        exec(compile(reader, "reader.py", "exec", dont_inherit=True), names)
    source = server + reader
    there = servers.brought(extra=extra)
    missing = tuple(name for name in servers.imported(source) if name not in there)
    return Code(got == told, sum(isinstance(node, ast.stmt) for node in ast.walk(ast.parse(source))), missing)


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an app with uvicorn, WebSockets as well, on a loop of its own; yield its host and port."""
    loop, sock = Portal(), listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    running = loop.submit(server.serve(sockets=[sock]))
    try:
        asyncio.run(bench.until(lambda: server.started))
        yield "{}:{}".format(*sock.getsockname())
    finally:
        server.should_exit = True
        running.result(10)
        loop.close()


@dataclass(frozen=True)
class Crowd:
    """How many of a crowd one worker held at once, as streams and as WebSockets."""

    asked: int
    events: int
    sockets: int


def crowd(count: int = 40, client: str = "async") -> Crowd:
    """Open 40 streams at once on one process that serves the listing, and 40 WebSockets on one that only holds them."""
    app, together = fastapi.FastAPI(), Together(count)
    app.add_api_websocket_route("/", together.hold)
    with served(app) as place:
        asyncio.run(together.visit(f"ws://{place}"))
    streams = connections.streams_of_one_worker
    seen = outcome_of(streams) if (count, client) == (40, "async") else streams(count, client)
    return Crowd(count, seen.async_one_worker, together.most)


@dataclass
class Together:
    """WebSockets that stay until as many as expected are there: how many were, at most."""

    expected: int
    there: int = 0
    most: int = 0

    async def hold(self, socket: fastapi.WebSocket) -> None:
        """Hold one WebSocket open until all have come."""
        await socket.accept()
        self.there += 1
        self.most = max(self.most, self.there)
        await bench.until(lambda: self.most == self.expected)
        self.there -= 1
        await socket.close()

    async def visit(self, url: str) -> None:
        """Open all of them and wait until each is closed."""

        async def once() -> None:
            async with connect(url, proxy=None) as socket:
                await socket.wait_closed()

        await asyncio.gather(*(once() for _ in range(self.expected)))
