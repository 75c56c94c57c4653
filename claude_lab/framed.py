"""A run's frames as an HTTP response: the status is honest, the reader's leaving is noticed, silence is filled.

What was appended since the last write leaves in one write, so a burst costs one system call.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from claude_lab import sse
from claude_lab.clock import now
from claude_lab.contract import STATUS_OF
from claude_lab.guard import straight
from claude_lab.kinds import RUN
from claude_lab.log import Entry
from claude_lab.runs import LogLost, Moved, Run
from claude_lab.settings import Settings
from claude_lab.taking import LOOKS, Taking

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}
STEPS = 5
OK, PING = sse.comment("ok"), sse.comment("ping")


class FrameResponse(Response):
    """A run's frames from one place on, as they are written; the head waits for the upstream, or for `grace`.

    A subclass may write the entries in the words of another protocol, with `names` for headers and a `closing` line.
    """

    names: Mapping[str, str] = HEADERS
    closing = b""
    most = 1000
    """How many entries one write takes: a reader that does not read holds up so much memory, not a whole log."""
    left = is_leaving = False
    moved = sse.encode(json.dumps({"type": "moved", "retry": 0.0}))

    def __init__(self, run: Run, settings: Settings, *, after: int = 0) -> None:
        self.run = run
        self.settings = settings
        self.after = after
        self.background = None
        run.join()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Write until the run has ended or the reader has left.

        A task of its own writes: waking it for an event wakes nothing of the app's twenty layers above this one.
        """
        send_body = straight(scope, send)
        taking = Taking(send_body, self.settings.heartbeat, lambda: self.after, self._late)
        writing = asyncio.create_task(self._write(send, send_body))
        gone = asyncio.create_task(self._gone(receive, writing))
        asking = asyncio.current_task()
        assert asking is not None
        try:
            await writing
        except asyncio.CancelledError:
            if not self.left or asking.cancelling():
                raise
        finally:
            gone.cancel()
            taking.finish(close=self.is_leaving)
            self.run.leave()

    def _late(self) -> bool:
        """Whether the run ended so long ago that nobody would find it any more."""
        ended, longest = self.run.ended_at, max(self.run.bounds.age, LOOKS * self.settings.heartbeat)
        return ended is not None and now() - ended > longest

    async def _gone(self, receive: Any, writing: asyncio.Task[None]) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left = True
        writing.cancel()

    async def _write(self, send: Any, send_body: Any) -> None:
        begin = self.after
        try:
            await self._first()
            await self.ready()
        except Moved:
            pass  # said below, in a stream that has a name to come back to
        except LogLost as error:
            raise HTTPException(503, str(error), {"retry-after": "1"}) from None
        first = self.run.entries[begin : self.after]
        status, extra = self.head(first)
        names = {**self.names, RUN: self.run.name, **extra}
        raw = [(name.encode(), value.encode("latin-1")) for name, value in names.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        body = OK + self.written(begin) if status == 200 else self.refused(first)
        try:
            while not self.over:
                await send_body({"type": "http.response.body", "body": body, "more_body": True})
                if self.after < len(self.run.entries.data):  # others go on while a long log is written
                    await asyncio.sleep(0)
                await self.run.wait(self.after, self.settings.heartbeat)
                body = self._next()
        except LogLost as error:
            if isinstance(error, Moved) and self.moved:
                await send_body({"type": "http.response.body", "body": self.moved})
                self.is_leaving = True
            return  # without it the body stays unfinished: a reader must not take it for the whole
        await send_body({"type": "http.response.body", "body": body + (self.closing if status == 200 else b"")})

    @property
    def over(self) -> bool:
        """Whether nothing can follow what was taken from the log."""
        return self.run.ended and self.after == len(self.run.entries)

    def _next(self) -> bytes:
        """Return what was appended meanwhile; a comment for silence, or for an upstream's ping."""
        begin, self.after = self.after, min(len(self.run.entries.data), self.after + self.most)
        if begin < self.after:
            return self.written(begin)
        return b"" if self.run.ended else PING

    async def ready(self) -> None:
        """Prepare for the first write, once it is known that there is one."""

    def head(self, first: list[Entry]) -> tuple[int, dict[str, str]]:
        """Return the status and the headers that these first entries ask for."""
        return head_of(first, self.after - len(first))

    def written(self, begin: int) -> bytes:
        """Return the bytes of the entries from an index on, up to `after`."""
        return b"".join(self.run.entries.data[begin : self.after])

    def refused(self, entries: list[Entry]) -> bytes:
        """Return the body of an answer with the status of an error, which is the last entry."""
        return b"".join([entry.data for entry in entries])

    async def _first(self) -> None:
        """Take the entries to begin with: up to the first that an upstream's answer made, or what grace brought.

        It is waited for in steps, of which a process that stands still for a while takes one.
        """
        left, kinds = self.settings.grace, self.run.entries.kinds
        step = left / STEPS
        while len(kinds) <= self.after or kinds[-1] == "retry":
            began = now()
            await self.run.wait(len(kinds), min(step, left))
            left -= min(now() - began, step)
            if left <= step / 1000 or self.run.ended:  # the sum of the steps is not exact
                break
        self.after = min(len(kinds), self.after + self.most)


def head_of(first: list[Entry], after: int) -> tuple[int, dict[str, str]]:
    """Return the status and headers of a response that begins with these entries: an error's if nothing else came."""
    if after or not first or first[-1].kind != "error" or any(entry.kind != "retry" for entry in first[:-1]):
        return 200, {}
    frame = first[-1].frame
    seconds = frame.get("retry_after")
    return STATUS_OF[frame["error"]], {} if seconds is None else {"retry-after": f"{math.ceil(seconds)}"}
