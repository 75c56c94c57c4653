"""A signal to stop, heard besides whoever handles it: a server that waits for its streams tells them to go first.

uvicorn hears SIGTERM, listens no more, and waits for the answers under way; the app learns of it when they have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

DEAF_WITHIN = 0.3
"""Seconds until a server that was told to stop listens no more: who comes back sooner would meet it again."""


@contextlib.contextmanager
def heard(leave: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[None]:
    """Begin `leave` on the running loop soon after SIGTERM or SIGINT, whose handlers are called as before.

    Only in the main thread, where signals are handled, and only for what has a handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, tasks = asyncio.get_running_loop(), []

    def begin() -> None:
        tasks.append(loop.create_task(leave()))

    def hearing(before: Callable[[int, Any], Any]) -> Callable[[int, Any], None]:
        def hear(number: int, frame: Any) -> None:
            loop.call_soon_threadsafe(loop.call_later, DEAF_WITHIN, begin)
            before(number, frame)

        return hear

    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    ours = {number: hearing(handler) for number, handler in handlers.items()}
    for number, handler in ours.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) is ours[number]:
                signal.signal(number, handler)
