"""Patience: how long an upstream's content may stay away."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import aiohttp
import httpx2

from claude_lab.clock import LOOKS


class Patience:
    """How long content may stay away; pings keep a socket alive and say nothing.

    One timer serves the whole stream and looks now and then whether anything came: a timer for each read costs more
    than the read does. A context manager around the reads: it raises TimeoutError when the patience is over, and
    aiohttp's errors in the transport's words.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.loop = asyncio.get_running_loop()
        self.waits: asyncio.Task[Any] | None = None
        self.over_now = False
        self.looks = 0

    def renew(self) -> None:
        """Begin the wait anew."""
        self.looks = 0

    def wait(self) -> None:
        """Say that the current task waits for bytes from now on."""
        self.waits = asyncio.current_task(self.loop)

    def rest(self) -> None:
        """Say that nobody waits: whoever takes a batch may keep it for long."""
        self.waits = None

    def _look(self) -> None:
        self.looks += self.waits is not None
        if self.looks > LOOKS and self.waits is not None:
            self.over_now = True
            self.waits.cancel()
        else:
            self.timer = self.loop.call_later(self.seconds / LOOKS, self._look)

    def __enter__(self) -> Self:
        self.timer = self.loop.call_later(self.seconds / LOOKS, self._look)
        self.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.timer.cancel()
        if isinstance(error, aiohttp.ClientError):
            raise httpx2.ReadError(str(error)) from error
        if isinstance(error, asyncio.CancelledError) and self.over_now and self.waits and not self.waits.uncancel():
            raise TimeoutError(f"No content came for {self.seconds} seconds.") from None
