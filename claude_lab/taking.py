"""Whether a reader takes what it is sent: a connection that takes nothing for a few looks is cut, with what it holds.

A client that never reads would keep a whole run alive behind a write that never ends, past every bound. A slow one is
left alone: with each look either more was handed to its connection, or less is left in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from claude_lab.sockets import reset, unread

LOOKS = 4
"""How many looks in a row may find that nothing was taken."""


class Taking:
    """Looks at the connection behind a server's `send` every so many seconds; `late` says that its time is over.

    `written` counts what was handed to it. A server other than uvicorn, which shows no transport, is not looked at.
    """

    def __init__(self, send: Any, every: float, written: Callable[[], int], late: Callable[[], bool]) -> None:
        self.transport: Any = getattr(getattr(send, "__self__", None), "transport", None)
        self.every = every
        self.written = written
        self.late = late
        self._ended = False
        self._seen = -1, 0
        self._stuck = 0
        self._timer: asyncio.TimerHandle | None = None
        if self.transport is not None:
            self._again()

    def _again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.every, self._look)

    def _look(self) -> None:
        before, self._seen = self._seen, (self.written(), unread(self.transport))
        left = self._seen[1]
        self._stuck = self._stuck + 1 if left and self._seen[0] == before[0] and left >= before[1] else 0
        if self._stuck >= LOOKS or (left and self.late()):
            reset(self.transport)
        elif left or not self._ended:
            self._again()

    def finish(self, *, close: bool = False) -> None:
        """Look on only for as long as something is left to take, and let go of all else; `close` ends it then."""
        if close and self.transport is not None:
            self.transport.close()
        self._ended, self.written, self.late = True, int, bool
        if self._timer is not None and not unread(self.transport):
            self._timer.cancel()
