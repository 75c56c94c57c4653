"""The one driver of retries."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from claude_lab import attempts as driver
from claude_lab import clock
from claude_lab.attempts import Attempts, drive, drive_blocking, pieces
from claude_lab.clock import run_virtual
from claude_lab.retry import Failure, Pacer, RetryPolicy

BUSY = Failure("overloaded", status=529)
PATIENT = RetryPolicy(max_retries=3, base_delay=1, jitter="none")


class Busy(Exception):
    """What a busy upstream raises."""


def judge(error: BaseException) -> Failure:
    """Busy is transient, anything else is not known."""
    return BUSY if isinstance(error, Busy) else Failure("unknown")


def busy_until(number: int, times: list[float]):
    """An attempt that fails before its turn comes."""

    async def attempt(now: int) -> str:
        times.append(clock.now())
        if now < number:
            raise Busy
        return f"answer {now}"

    return attempt


def test_it_sleeps_the_policys_waits_and_returns_the_answer():
    """Attempts at 0, 1 and 3 seconds; each that ends is told, with its wait."""
    times, told = [], []

    async def main() -> str:
        return await drive(busy_until(3, times), Attempts(PATIENT, watch=told.append), judge)

    assert run_virtual(main()) == "answer 3"
    assert times == [0, 1, 3]
    assert [(each.number, each.wait) for each in told] == [(1, 1), (2, 2), (3, None)]


def test_the_last_error_is_raised_as_it_is():
    """When the policy gives up the caller sees the upstream's own error, and the reason was told."""
    told = []

    with pytest.raises(Busy):
        run_virtual(drive(busy_until(99, []), Attempts(PATIENT, now=lambda: 0.0, watch=told.append), judge))

    assert told[-1].gave_up == "max_retries=3 used up"


def test_an_unknown_error_is_not_retried():
    """A mistake in the caller's own code is raised at once."""
    times: list[float] = []

    async def attempt(number: int) -> None:
        times.append(clock.now())
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        run_virtual(drive(attempt, Attempts(PATIENT, now=lambda: 0.0), judge))
    assert len(times) == 1


def test_a_cancellation_is_never_caught():
    """A cancelled call ends in the middle of its wait, without another attempt."""
    times: list[float] = []

    async def main() -> None:
        task = asyncio.create_task(drive(busy_until(99, times), Attempts(PATIENT), judge))
        await clock.sleep(1.5)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        run_virtual(main())
    assert times == [0, 1]


def test_a_pacer_holds_back_attempts_of_the_same_client():
    """Calls that share a client leave a second apart."""
    policy = RetryPolicy(pacer=Pacer(rate=1))
    share, times = policy.share(), []

    async def main() -> None:
        calls = (drive(busy_until(1, times), Attempts(policy, share), judge) for _ in range(3))
        await asyncio.gather(*calls)

    run_virtual(main())

    assert times == [0, 1, 2]


def test_a_stream_is_opened_anew_until_its_first_piece():
    """Failures before it are hidden, failures after it are raised, and nothing is repeated."""

    async def opened(number: int) -> AsyncGenerator[str, None]:
        if number < 3:
            raise Busy
        yield "Hel"
        yield "lo"
        raise Busy

    async def main() -> list[str]:
        seen = []
        try:
            async for piece in pieces(opened, Attempts(PATIENT), judge):
                seen.append(piece)
        except Busy:
            seen.append("(broken)")
        return seen

    assert run_virtual(main()) == ["Hel", "lo", "(broken)"]


def test_an_empty_stream_is_a_stream():
    """No piece and no error: nothing to retry."""

    async def opened(number: int) -> AsyncGenerator[str, None]:
        return
        yield

    async def main() -> list[str]:
        return [piece async for piece in pieces(opened, Attempts(PATIENT), judge)]

    assert run_virtual(main()) == []


def test_leaving_a_stream_closes_it():
    """A reader that stops early leaves no upstream open."""
    closed = []

    async def opened(number: int) -> AsyncGenerator[int, None]:
        try:
            for piece in range(100):
                yield piece
        finally:
            closed.append(number)

    async def main() -> None:
        stream = pieces(opened, Attempts(PATIENT), judge)
        async for _ in stream:
            break
        await stream.aclose()

    run_virtual(main())

    assert closed == [1]


def test_a_blocking_client_is_driven_by_the_same_rules():
    """The same waits, slept by the thread."""
    told = []

    def attempt(number: int) -> str:
        if number < 3:
            raise Busy
        return "answer"

    policy = RetryPolicy(max_retries=3, base_delay=0.001, jitter="none")
    assert drive_blocking(attempt, Attempts(policy, watch=told.append), judge) == "answer"
    assert [each.wait for each in told] == [0.001, 0.002, None]


def test_one_event_feeds_log_frame_and_count(caplog: pytest.LogCaptureFixture):
    """Each attempt that ends is logged, told to the reader and counted, from the one place that knows."""
    told: list[dict[str, Any] | None] = []
    tally = driver.Tally()
    watch = driver.all_of(driver.log_attempt, lambda attempt: told.append(driver.retry_frame(attempt)), tally.watch)

    async def main() -> None:
        await drive(busy_until(2, []), Attempts(PATIENT, watch=watch), judge)

    with caplog.at_level(logging.INFO, "claude_lab.retry"):
        run_virtual(main())

    assert told == [{"error": "overloaded", "attempt": 1, "wait": 1.0}, None]
    assert tally == driver.Tally(answered=1, failed={"overloaded": 1}, waited=1.0)
    assert caplog.messages == ["attempt 1 failed (overloaded), next in 1.000 s"]
