"""Three ways to stream from a server, as an app for `uvicorn --workers N`: what `workers` measures.

    uvicorn claude_lab.streamers:app --workers 4
    python -m claude_lab.streamers 1 4               # the same for one worker and for four, with one import

`POST /async` awaits the SDK's async client. `POST /sync` iterates its sync client inside an async generator, and so
blocks the event loop from the first event to the last. `POST /threads` iterates it in a plain generator, which
Starlette runs in a pool of threads. Otherwise they are alike: a line of JSON for each piece of text, then `done`.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anthropic
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from claude_lab import sockets

waiting = anthropic.Anthropic(max_retries=0)
awaiting = anthropic.AsyncAnthropic(max_retries=0)
MODEL = "claude-haiku-5-5"
DONE = 'data: {"type": "done"}\n\n'


def delta(text: str) -> str:
    """Return one piece of text as a frame."""
    return f"data: {json.dumps({'type': 'delta', 'text': text})}\n\n"


async def with_async_client(asked: dict[str, Any]) -> AsyncIterator[str]:
    """Let other streams go on while this one waits."""
    async with awaiting.messages.stream(**asked) as stream:
        async for text in stream.text_stream:
            yield delta(text)
    yield DONE


async def with_sync_client(asked: dict[str, Any]) -> AsyncIterator[str]:
    """Wait for each event inside the event loop: nothing else goes on meanwhile."""
    with waiting.messages.stream(**asked) as stream:
        for text in stream.text_stream:
            yield delta(text)
    yield DONE


def in_threads(asked: dict[str, Any]) -> Iterator[str]:
    """Wait for each event in a thread of Starlette's pool."""
    with waiting.messages.stream(**asked) as stream:
        for text in stream.text_stream:
            yield delta(text)
    yield DONE


FORKS = hasattr(os, "fork")
Way = Callable[[dict[str, Any]], AsyncIterator[str] | Iterator[str]]
WAYS: dict[str, Way] = {"async": with_async_client, "sync": with_sync_client, "threads": in_threads}


def request(message: str) -> dict[str, Any]:
    """Return the Messages API request for a message."""
    return {"model": MODEL, "max_tokens": 4096, "messages": [{"role": "user", "content": message}]}


async def answer(asked: Request) -> StreamingResponse:
    """Stream in the way that the path names."""
    way = WAYS[asked.path_params["way"]]
    return StreamingResponse(way(request((await asked.json())["message"])), media_type="text/event-stream")


async def health(asked: Request) -> JSONResponse:
    """Say that the worker is up."""
    return JSONResponse({"status": "ok"})


app = Starlette(routes=[Route("/health", health), Route("/{way}", answer, methods=["POST"])])


async def warm() -> None:
    """Ask once in each way, with clients of its own: a first request imports half the SDK."""
    async with anthropic.AsyncAnthropic(max_retries=0) as client:
        async with client.messages.stream(**request("burst 3")) as stream:
            await stream.get_final_text()
    with anthropic.Anthropic(max_retries=0) as blocking, blocking.messages.stream(**request("burst 3")) as events:
        events.get_final_text()


class Worker(uvicorn.Server):
    """One worker of several on one listening socket; says when it has begun to accept."""

    def __init__(self, ready: Any) -> None:
        super().__init__(uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=0))
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as usual."""
        if not FORKS:  # who is forked has it from before
            await warm()
        await super().startup(sockets)
        self.ready.release()


def work(sock: socket.socket, ready: Any) -> None:
    """Be one worker until terminated."""
    Worker(ready).run(sockets=[sock])


def main(counts: list[int]) -> None:
    """Serve with so many workers each, print a line with the URLs, and end when standard input does.

    Workers are forked where the system can, after everything is imported: five cost little more than one.
    """
    context: Any = multiprocessing.get_context("fork" if FORKS else "spawn")
    asyncio.run(warm())
    ready, ports, workers = context.Semaphore(0), [], []
    for count in counts:
        sock = sockets.listen()
        ports.append(sock.getsockname()[1])
        for _ in range(count):
            workers.append(context.Process(target=work, args=(sock, ready), daemon=True))
            workers[-1].start()
    for _ in workers:
        ready.acquire()
    print(*(f"http://127.0.0.1:{port}" for port in ports), flush=True)
    sys.stdin.read()
    for worker in workers:
        worker.kill()  # they hold nothing that would have to be put in order


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]])
