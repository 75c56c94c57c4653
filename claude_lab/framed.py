"""A run's frames as an HTTP response: the status is honest, the reader's leaving is noticed, silence is filled.

What was appended since the last write leaves in one write, so a burst costs one system call.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from claude_lab import sse
from claude_lab.clock import now
from claude_lab.contract import STATUS_OF
from claude_lab.kinds import RUN
from claude_lab.runs import Entry, LogLost, Run
from claude_lab.settings import Settings

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}


class FrameResponse(Response):
    """A run's frames from one place on, as they are written; the head waits for the upstream, or for `grace`.

    A subclass may write the entries in the words of another protocol, with `names` for headers and a `closing` line.
    """

    names: Mapping[str, str] = HEADERS
    closing = b""

    def __init__(self, run: Run, settings: Settings, *, after: int = 0) -> None:
        self.run = run
        self.settings = settings
        self.after = after
        self.background = None
        run.join()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Write until the run has ended or the reader has left."""
        writer = asyncio.create_task(self._write(send))
        gone = asyncio.create_task(self._gone(receive))
        try:
            await asyncio.wait({writer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if writer.done():
                writer.result()
        finally:
            for task in (writer, gone):
                task.cancel()
            self.run.leave()

    async def _gone(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _write(self, send: Any) -> None:
        try:
            first = await self._first()
        except LogLost as error:
            raise HTTPException(503, str(error), {"retry-after": "1"}) from None
        status, extra = self.head(first)
        names = {**self.names, RUN: self.run.name, **extra}
        raw = [(name.encode(), value.encode("latin-1")) for name, value in names.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        body = sse.comment("ok") + self.written(first) if status == 200 else self.refused(first)
        await send({"type": "http.response.body", "body": body, "more_body": True})
        try:
            async for data in self._rest():
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except LogLost:
            return  # the body stays unfinished: a reader must not take it for the whole
        await send({"type": "http.response.body", "body": self.closing if status == 200 else b""})

    def head(self, first: list[Entry]) -> tuple[int, dict[str, str]]:
        """Return the status and the headers that these first entries ask for."""
        return head_of(first, self.after - len(first))

    def written(self, entries: list[Entry]) -> bytes:
        """Return the entries' bytes."""
        return b"".join([entry.data for entry in entries])

    def refused(self, entries: list[Entry]) -> bytes:
        """Return the body of an answer with the status of an error, which is the last entry."""
        return self.written(entries)

    async def _first(self) -> list[Entry]:
        """Return the entries to begin with: up to the first that an upstream's answer made, or what grace brought."""
        until = now() + self.settings.grace
        entries = await self.run.read(self.after, self.settings.grace)
        while entries and entries[-1].kind == "retry" and (left := until - now()) > 0:
            more = await self.run.read(self.after + len(entries), left)
            entries = self.run.entries[self.after :]
            if not more:
                break
        self.after += len(entries)
        return entries

    async def _rest(self) -> AsyncIterator[bytes]:
        while True:
            entries = await self.run.read(self.after, self.settings.heartbeat)
            self.after += len(entries)
            if entries:
                yield self.written(entries)
            elif self.run.ended:
                return
            else:  # silence, or an upstream's ping
                yield sse.comment("ping")


def head_of(first: list[Entry], after: int) -> tuple[int, dict[str, str]]:
    """Return the status and headers of a response that begins with these entries: an error's if nothing else came."""
    if after or not first or first[-1].kind != "error" or any(entry.kind != "retry" for entry in first[:-1]):
        return 200, {}
    frame = first[-1].frame
    seconds = frame.get("retry_after")
    return STATUS_OF[frame["error"]], {} if seconds is None else {"retry-after": f"{math.ceil(seconds)}"}
