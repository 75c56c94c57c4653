"""Virtual time."""

import asyncio
import threading
import time

import pytest

from claude_lab import clock
from claude_lab.clock import Deadlock, run_virtual


def test_now_is_the_loops_time_inside_and_the_systems_outside():
    """`now` follows the clock that governs the code that asks."""

    async def inside() -> float:
        return clock.now()

    assert run_virtual(inside()) == 0.0
    assert clock.now() == pytest.approx(time.monotonic(), abs=1)


def test_a_year_passes_at_once():
    """Sleeping costs no real time, and the clock stands exactly where the sleeps add up."""

    async def year() -> float:
        for _ in range(365):
            await clock.sleep(86_400)
        return clock.now()

    assert run_virtual(year()) == 365 * 86_400


def test_jumps_are_exact():
    """The clock stands on the timer's own float, not near it."""

    async def times() -> list[float]:
        seen = []
        for delay in (0.1, 1e-9, 1 / 3, 1e6):
            at = clock.now()
            await clock.sleep(delay)
            seen.append((clock.now(), at + delay))
        return seen

    assert all(now == planned for now, planned in run_virtual(times()))


def test_two_instants_one_step_of_the_float_apart_stay_apart():
    """Timers do not fire early to share a neighbor's turn."""
    first, second = 1.0, 1.0 + 2**-52

    async def wake(at: float) -> float:
        await asyncio.sleep(at)
        return clock.now()

    async def both() -> list[float]:
        return await asyncio.gather(wake(first), wake(second))

    assert run_virtual(both()) == [first, second]


def test_timers_of_one_instant_fire_in_the_order_of_setting():
    """A thousand sleepers of one length wake as they lay down."""
    woken: list[int] = []

    async def sleeper(number: int) -> None:
        await asyncio.sleep(5)
        woken.append(number)

    async def crowd() -> None:
        await asyncio.gather(*(sleeper(number) for number in range(1000)))

    run_virtual(crowd())

    assert woken == list(range(1000))


def test_a_wait_for_nothing_raises_and_names_the_waiter():
    """A hang is an error at once, with the coroutine that waits."""

    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match="forever"):
        run_virtual(forever())


def test_timeouts_follow_the_virtual_clock():
    """`asyncio.timeout` and anyio's deadlines end at their virtual second."""
    import anyio

    async def late() -> tuple[float, float]:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await asyncio.Event().wait()
        at = clock.now()
        with anyio.move_on_after(30):
            await anyio.sleep(1000)
        return at, clock.now()

    assert run_virtual(late()) == (600, 630)


def test_executors_run_inline():
    """`to_thread` runs its function on the loop's own thread, and its error arrives."""

    async def threads() -> int:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return await asyncio.to_thread(threading.get_ident)

    assert run_virtual(threads()) == threading.get_ident()


def test_it_runs_inside_a_running_loop():
    """A notebook's cell, whose loop is busy, can run virtual time without nesting loops."""

    async def cell() -> float:
        return run_virtual(asyncio.sleep(3600, 7.0))

    assert asyncio.run(cell()) == 7.0


def test_an_error_in_the_work_arrives_from_inside_a_running_loop():
    """What fails in the thread is raised where it was asked for."""

    async def broken() -> None:
        raise LookupError("lost")

    async def cell() -> None:
        run_virtual(broken())

    with pytest.raises(LookupError, match="lost"):
        asyncio.run(cell())
