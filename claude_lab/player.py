"""Plays a playback to an ASGI connection, and notices at once when the client leaves.

With the `claude_lab.transport` extension it writes prebuilt bytes past the server's HTTP machinery and can reset a
connection; without it a drop is the best ASGI can do: the app returns before the response is complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from claude_lab import clock
from claude_lab.background import TRANSPORT
from claude_lab.playback import Playback
from claude_lab.sockets import reset

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BACKLOG = 65_536
"""Bytes that may wait in the connection's buffer before writing waits for the reader."""


class Connection:
    """One request's way out: the head, the chunks, the end."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.receive = receive
        self.send = send
        self.transport: asyncio.Transport | None = scope.get("extensions", {}).get(TRANSPORT)
        # Under HTTP/1.0 a body has no chunk frames; HEAD has no body: both go the server's way.
        self.direct = self.transport is not None and scope.get("http_version") == "1.1"
        self.sent_bytes = 0
        self.sized = False

    async def head(self, status: int, headers: Headers) -> None:
        """Send the status and the headers."""
        self.sized = any(name == b"content-length" for name, _ in headers)
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def body(self, data: bytes, *, more: bool = True, missing: int = 0) -> None:
        """Send a chunk; directly while the reader keeps up. With bytes `missing` the HTTP chunk is announced longer."""
        self.sent_bytes += len(data)
        if more and self.direct and not self.sized:
            transport = self.transport
            assert transport is not None
            if transport.is_closing():  # the client has left, and the loop has not come round to say so
                return
            if missing or transport.get_write_buffer_size() < BACKLOG:
                if data:
                    end = b"" if missing else b"\r\n"
                    transport.write(b"%x\r\n%b%b" % (len(data) + missing, data, end))
                return
        await self.send({"type": "http.response.body", "body": data, "more_body": more})

    async def gone(self) -> None:
        """Wait until the client has left."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def end(self, how: str) -> None:
        """End the response: "complete", or by "fin", "rst", or by doing nothing until the client leaves ("hang")."""
        if how == "complete":
            await self.body(b"", more=False)
            return
        if how == "hang":
            await asyncio.get_running_loop().create_future()
        if self.transport is not None:
            if how == "rst":
                reset(self.transport)
            else:
                self.transport.close()
            await self.gone()


Headers: TypeAlias = list[tuple[bytes, bytes]]


async def steps(
    played: Playback, connection: Connection, status: int, headers: Headers, closing: Callable[[], None]
) -> None:
    """Send the chunks, each when it is due; what is due at the same time leaves in one write."""
    due = clock.now()
    waiting: list[bytes] = []
    begun = False
    for data, wait in zip(played.chunks, played.waits, strict=True):
        if wait > 0:
            if waiting:
                begun = begun or await opened(connection, status, headers)
                await connection.body(b"".join(waiting))
                waiting = []
            due += wait
            # Behind the plan, too, others get their turn: a client that has left is noticed only then.
            await clock.sleep(max(0.0, due - clock.now()))
        waiting.append(data)
    if played.head and not begun:
        await opened(connection, status, headers)
    rest = b"".join(waiting)
    if played.end != "hang":
        closing()
    if played.end == "complete":
        await connection.body(rest, more=False)
    else:
        if rest:
            await connection.body(rest, missing=played.missing)
        await connection.end(played.end)


async def opened(connection: Connection, status: int, headers: Headers) -> bool:
    """Send the head; return True."""
    await connection.head(status, headers)
    return True


async def play(
    played: Playback,
    connection: Connection,
    status: int,
    headers: Headers,
    *,
    closing: Callable[[], None] = lambda: None,
) -> str:
    """Play it all; return how it ended: as planned ("complete", "fin", "rst", "hang"), or "client left".

    `closing` is called before the last bytes leave: what it notes can be read as soon as the client has them.
    """
    work = steps(played, connection, status, headers, closing)
    if not any(played.waits) and played.end != "hang":
        await work
        return played.end
    playing = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(connection.gone())
    try:
        await asyncio.wait({playing, watching}, return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            playing.result()
            return played.end
        return "client left"
    finally:
        await cancel(playing, watching)


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait until they are gone."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
