"""A TCP cutter: passes bytes on to a server and cuts connections after so many, or takes the whole road away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from urllib.parse import urlsplit

from claude_lab.background import portal
from claude_lab.sockets import reset


class Cutter:
    """A road to the server at `url`; `cuts` holds, for each connection in turn, the answer's bytes it may carry.

    After the last of `cuts` connections carry all. A cut is a reset, or a polite close with `polite`; with `hold` it
    is silence until the road vanishes.
    """

    def __init__(self, url: str, cuts: Iterable[int] = (), *, polite: bool = False, hold: bool = False) -> None:
        parts = urlsplit(url)
        self.target = parts.hostname, parts.port
        self.path = parts.path
        self.cuts = list(cuts)
        self.polite = polite
        self.hold = hold
        self.connections = 0
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._vanished = asyncio.Event()

    def __enter__(self) -> Cutter:
        """Begin to listen."""
        portal().run(self._listen(), timeout=30)
        return self

    def __exit__(self, *error: object) -> None:
        """Close everything."""
        portal().run(self._vanish(), timeout=30)

    @property
    def url(self) -> str:
        """Where it listens, with the target's path."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def vanish(self) -> None:
        """Break every connection and refuse new ones."""
        portal().run(self._vanish(), timeout=30)

    def return_(self) -> None:
        """Listen again, at the same port."""
        portal().run(self._listen(), timeout=30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _vanish(self) -> None:
        self._server.close()
        self._vanished.set()
        for writer in list(self._open):
            self._break(writer)

    def _break(self, writer: asyncio.StreamWriter) -> None:
        if self.polite:
            writer.close()
        else:
            reset(writer.transport)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        left = self.cuts.pop(0) if self.cuts else None
        try:
            above, below = await asyncio.open_connection(*self.target)
        except OSError:
            writer.close()
            return
        self._open |= {writer, below}
        try:
            up = asyncio.create_task(self._copy(reader, below, None))
            await self._copy(above, writer, left)
            if self.hold and left is not None:
                await self._vanished.wait()
            up.cancel()
        finally:
            self._open -= {writer, below}
            below.transport.abort()
            self._break(writer) if left is not None else writer.close()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, left: int | None) -> None:
        """Copy until the source ends, or so many bytes have passed."""
        try:
            while left is None or left > 0:
                data = await source.read(65536)
                if not data:
                    return
                data = data if left is None else data[:left]
                left = None if left is None else left - len(data)
                target.write(data)
                await target.drain()
        except (ConnectionError, RuntimeError):
            return
