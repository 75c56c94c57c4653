"""The time: the only module that reads it.

Inside a running event loop the time is the loop's, so code written with `now()` and `sleep()` runs unchanged on a
virtual-time loop; elsewhere it is the system's monotonic clock.

A `VirtualLoop` never waits: when nothing is ready it sets its clock to the next timer and goes on, so hours pass in
the time their work takes. Bytes between two tasks of one loop must be ready at once: memory and UNIX sockets are,
TCP is not (its bytes sit in the kernel while the clock jumps).
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import math
import selectors
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

LOOKS = 20
"""In how many steps a wait is counted that gives somebody up: a process that stands still for a while takes one."""
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def now() -> float:
    """Return the time in seconds: the running loop's, else the system's monotonic clock."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


def date() -> float:
    """Return the calendar time, in seconds since 1970: for headers and ids, never for measuring."""
    return time.time()


def cpu() -> float:
    """Return the CPU seconds this process has used, for progress estimates and rates."""
    return time.process_time()


async def sleep(delay: float) -> None:
    """Wait `delay` seconds of the running loop's time."""
    await asyncio.sleep(delay)


class Deadlock(RuntimeError):
    """Everything waits, and nothing is scheduled that could end the waiting."""


class FifoTimer(asyncio.TimerHandle):
    """A timer that fires in the order of setting among those of one instant; asyncio's heap leaves it open."""

    __slots__ = ("order",)

    def __init__(self, order: int, *args: Any) -> None:
        super().__init__(*args)
        self.order = order

    def __lt__(self, other: Any) -> bool:
        return (self._when, self.order) < (other._when, other.order)  # type: ignore[attr-defined]  # not in typeshed


class Jump(selectors.DefaultSelector):
    """Looks at the sockets without waiting, and jumps the loop's clock where another selector would sleep."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        """Return what is ready; if nothing is, move the time to the next timer or raise Deadlock."""
        ready = super().select(0)
        if not ready and timeout != 0:
            self.loop.jump()
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0 and jumps exactly from timer to timer; executors run inline."""

    def __init__(self) -> None:
        selector = Jump()
        super().__init__(selector)
        selector.loop = self
        self._now = 0.0
        self._orders = itertools.count()
        self._set(0.0)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def _set(self, at: float) -> None:
        self._now = at
        # asyncio fires timers below now + resolution: one step of the float keeps each at its own instant.
        self._clock_resolution = math.ulp(at)

    def jump(self) -> None:
        """Set the clock to the next timer; raise Deadlock when there is none."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # not in typeshed
        if not scheduled:
            raise Deadlock(f"Nothing is scheduled at {self._now:g} s and these wait for ever: {self._waiting()}.")
        if scheduled[0].when() > self._now:
            self._set(scheduled[0].when())

    def _waiting(self) -> str:
        names = sorted(getattr(task.get_coro(), "__qualname__", "a task") for task in asyncio.all_tasks(self))
        return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule a callback; among callbacks of one instant the first set is the first called."""
        timer = FifoTimer(next(self._orders), when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]  # not in typeshed
        timer._scheduled = True  # type: ignore[attr-defined]  # asyncio counts cancelled timers by it
        return timer

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule a callback `delay` seconds from now."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]  # typeshed has a coroutine here
        """Run the function at once: a thread's real seconds have no place on this clock."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def run_virtual(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time and return its result; works inside a notebook's loop too.

    Raises Deadlock when everything waits for what cannot come.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(work)
    return _run_in_thread(work)


def _run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def _run_in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run beside the loop that already runs in this thread, waiting in steps that hear an interrupt."""
    outcome: list[T] = []
    failure: list[BaseException] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def noted() -> T:
        loops.append(asyncio.get_running_loop())
        return await work

    def main() -> None:
        try:
            outcome.append(_run(noted()))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=main, name="claude-lab-virtual", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.05)
    except KeyboardInterrupt:
        for loop in loops:
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks()])
        raise
    if failure:
        raise failure[0]
    return outcome[0]


def block(delay: float) -> None:
    """Wait `delay` seconds of the system's time, in this thread."""
    time.sleep(delay)
