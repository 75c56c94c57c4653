"""A scripted upstream and a raw client: both sides of a proxy, byte for byte."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from claude_lab import background
from claude_lab.reader import Reader

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
CHUNKED = HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Frame one chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@dataclass
class Origin:
    """An upstream that plays `script(reader, writer)` for each connection; `requests` holds what it was sent."""

    script: Callable[[Origin, asyncio.StreamWriter], Awaitable[None]]
    requests: list[bytes] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    go: list[asyncio.Event] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read a request, play the script; note when the proxy leaves."""
        head = await reader.readuntil(b"\r\n\r\n")
        size = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        self.requests.append(head + await reader.readexactly(size))
        watch = asyncio.ensure_future(reader.read())
        watch.add_done_callback(lambda done: (done.cancelled() or done.exception(), self.left.set()))
        try:
            await self.script(self, writer)
        except ConnectionError:
            pass
        finally:
            watch.cancel()
            writer.close()


@contextmanager
def origin(script: Callable[[Origin, asyncio.StreamWriter], Awaitable[None]]) -> Iterator[Origin]:
    """Serve a script on the portal."""
    served = Origin(script)

    async def start() -> asyncio.Server:
        return await asyncio.start_server(served.serve, "127.0.0.1", 0)

    async def stop(server: asyncio.Server) -> None:
        server.close()

    portal = background.portal()
    server = portal.run(start())
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        portal.run(stop(server))


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Client:
    """A raw HTTP/1.1 client on one connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.sock = socket.create_connection((parts.hostname, parts.port), timeout=30)

    def send(
        self, method: str = "GET", path: str = "/", body: bytes = b"", *, http: str = "1.1", more: str = ""
    ) -> None:
        """Send a request; `more` is further header lines, each with its CRLF."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.sock.sendall(f"{method} {path} HTTP/{http}\r\nHost: lab\r\n{length}{more}\r\n".encode() + body)

    def answer(self) -> tuple[Reader, bytes, str]:
        """Read one answer; how it ended: "whole", "closed" (in order) or "reset"."""
        reader, body = Reader(), b""
        while not reader.whole:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                return reader, body, "reset"
            if not data:
                return reader, body, "closed"
            body += reader.feed(data)
        return reader, body, "whole"

    def close(self) -> None:
        """Leave."""
        self.sock.close()


def fetch(url: str, path: str = "/", *, http: str = "1.1", more: str = "") -> tuple[Reader, bytes, str]:
    """Ask once, on a connection of its own."""
    client = Client(url)
    try:
        client.send(path=path, http=http, more=more)
        return client.answer()
    finally:
        client.close()
