"""A relay through which a page of another origin may read one stream, cut into pieces as networks cut them.

A lab's server answers only its own origin. The relay forwards `POST` requests from one unguessable path to one
target, lets any page that knows the path read the answer, and can cut the bytes wherever it is told to.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

import httpx

from claude_lab import background

ALLOWED = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-headers", b"content-type, accept, x-xsrftoken"),
    (b"access-control-allow-private-network", b"true"),
]
BETWEEN = 0.004


def cut(chunk: bytes, size_bytes: int | None) -> Iterator[bytes]:
    """Yield a chunk in pieces of `size_bytes`, or whole."""
    step = size_bytes or max(len(chunk), 1)
    return (chunk[start : start + step] for start in range(0, len(chunk), step))


class Relay:
    """Forwards to `target`; `url` is where a page asks. A context manager that stops it.

    With `cut_bytes` each chunk is passed on in pieces of that size, a few milliseconds apart.
    """

    def __init__(self, target: str, *, cut_bytes: int | None = None) -> None:
        if cut_bytes is not None and cut_bytes < 1:
            raise ValueError(f"cut_bytes={cut_bytes!r} cuts nothing off; give 1 or more, or None.")
        self.target = target
        self.cut_bytes = cut_bytes
        self._path = f"/{secrets.token_urlsafe(18)}"
        self._served = background.serve(self)
        self.url = self._served.url + self._path

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI app."""
        if scope["type"] != "http":
            return
        if scope["path"] != self._path:
            await reply(send, 403)
        elif scope["method"] != "POST":
            await reply(send, 204 if scope["method"] == "OPTIONS" else 405)
        else:
            await self._forward(await whole_body(receive), receive, send)

    async def _forward(self, body: bytes, receive: Any, send: Any) -> None:
        """Pass the answer on as it comes; when the page leaves, leave the target too."""
        passing = asyncio.ensure_future(self._pass(body, send))
        leaving = asyncio.ensure_future(receive())
        await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        for task in (passing, leaving):
            task.cancel()
        await asyncio.wait({passing, leaving}, timeout=1)
        if not passing.cancelled() and isinstance(passing.exception(), httpx.HTTPError):
            await reply(send, 502)

    async def _pass(self, body: bytes, send: Any) -> None:
        headers = {"content-type": "application/json", "accept": "text/event-stream", "accept-encoding": "identity"}
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            async with client.stream("POST", self.target, content=body, headers=headers) as answer:
                kind = answer.headers.get("content-type", "text/event-stream").encode()
                head = [*ALLOWED, (b"content-type", kind), (b"cache-control", b"no-cache, no-transform")]
                await send({"type": "http.response.start", "status": answer.status_code, "headers": head})
                async for chunk in answer.aiter_raw():
                    for piece in cut(chunk, self.cut_bytes):
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                        if self.cut_bytes:
                            await asyncio.sleep(BETWEEN)
        await send({"type": "http.response.body", "body": b""})

    def stop(self) -> None:
        """Stop listening; twice is fine."""
        self._served.stop()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


async def whole_body(receive: Any) -> bytes:
    """Read a request's body."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def reply(send: Any, status: int) -> None:
    """Send an empty answer."""
    await send({"type": "http.response.start", "status": status, "headers": [*ALLOWED, (b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
