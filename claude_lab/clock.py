"""The time: the only module that reads it.

Inside a running event loop the time is the loop's, so code written with `now()` and `sleep()` runs unchanged on a
virtual-time loop; elsewhere it is the system's monotonic clock.
"""

from __future__ import annotations

import asyncio
import time


def now() -> float:
    """Return the time in seconds: the running loop's, else the system's monotonic clock."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


async def sleep(delay: float) -> None:
    """Wait `delay` seconds of the running loop's time."""
    await asyncio.sleep(delay)
