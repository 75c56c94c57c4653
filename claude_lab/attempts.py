"""The one driver of retries: the attempts of a call, and the loop that sleeps and asks again.

`Attempts` decides and reports; `drive` awaits, `drive_blocking` blocks. `pieces` awaits a
stream's first piece so. Whatever retries goes through them, so a call has one counter of attempts, whoever makes it.
A cancellation is never caught.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from claude_lab import clock
from claude_lab.failure import Failure
from claude_lab.retry import Attempt, GiveUp, RetryPolicy, Share, State

T = TypeVar("T")
Watch = Callable[[Attempt], None]
Judge = Callable[[BaseException], Failure]

log = logging.getLogger("claude_lab.retry")


def log_attempt(attempt: Attempt) -> None:
    """Log a failed attempt, as information: whoever must know of the last one gets its error."""
    if attempt.failure is None:
        return
    kind, number = attempt.failure.kind, attempt.number
    if attempt.wait is None:
        log.info("attempt %d failed (%s), giving up: %s", number, kind, attempt.gave_up)
    else:
        log.info("attempt %d failed (%s), next in %.3f s", number, kind, attempt.wait)


def retry_frame(attempt: Attempt) -> dict[str, Any] | None:
    """Return what the `retry` frame says of an attempt that another one follows, or None."""
    if attempt.failure is None or attempt.wait is None:
        return None
    return {"error": attempt.failure.kind, "attempt": attempt.number, "wait": round(attempt.wait, 6)}


@dataclass(slots=True)
class Tally:
    """Attempts as a metric: how many were answered, failed (by kind) or were the last, and the seconds waited between.

    An answer that broke off after its first content counts as answered and, if it is asked for again, as failed.
    """

    answered: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    given_up: int = 0
    waited: float = 0.0

    def watch(self, attempt: Attempt) -> None:
        """Count an attempt that is over."""
        if attempt.failure is None:
            self.answered += 1
            return
        self.failed[attempt.failure.kind] = self.failed.get(attempt.failure.kind, 0) + 1
        self.given_up += attempt.wait is None
        self.waited += attempt.wait or 0.0


def all_of(*watches: Watch) -> Watch:
    """Return a watch that tells several."""

    def watch(attempt: Attempt) -> None:
        for each in watches:
            each(attempt)

    return watch


@dataclass(slots=True)
class Attempts:
    """One call under a policy; `number` is the attempt under way, from 1.

    `share` is what the calls of one client have in common; `watch` is told of each attempt that is over.
    """

    policy: RetryPolicy
    share: Share | None = None
    watch: Watch = log_attempt
    rand: Callable[[], float] = random.random
    now: Callable[[], float] = clock.now
    number: int = 0
    at: float = 0.0
    gave_up: GiveUp | None = None
    state: State = field(init=False)

    def __post_init__(self) -> None:
        self.state = self.policy.begin(self.now(), self.share)

    def pause(self) -> float:
        """Return the seconds the pacer wants before the next attempt; reserves the turn."""
        return self.state.pace(self.now())

    def begin(self) -> int:
        """Begin the next attempt and return its number."""
        self.number, self.at = self.number + 1, self.now()
        return self.number

    def succeeded(self) -> None:
        """End the call well."""
        self.state.succeeded()
        self.watch(Attempt(self.number, self.at, self.now() - self.at))

    def failed(self, failure: Failure) -> GiveUp | float:
        """End the attempt badly; return the seconds to wait before the next, or why there is none."""
        now = self.now()
        answer = self.state.after(failure, now=now, rand=self.rand)
        if isinstance(answer, GiveUp):
            self.gave_up = answer
            self.watch(Attempt(self.number, self.at, now - self.at, failure, gave_up=answer.reason))
            return answer
        self.watch(Attempt(self.number, self.at, now - self.at, failure, wait=answer.seconds))
        return answer.seconds


async def drive(attempt: Callable[[int], Awaitable[T]], attempts: Attempts, judge: Judge) -> T:
    """Await attempts until one succeeds; raises the last one's own error when the policy gives up."""
    while True:
        if (pause := attempts.pause()) > 0:
            await clock.sleep(pause)
        number = attempts.begin()
        try:
            result = await attempt(number)
        except Exception as error:
            answer = attempts.failed(judge(error))
            if isinstance(answer, GiveUp):
                raise
        else:
            attempts.succeeded()
            return result
        await clock.sleep(answer)


def drive_blocking(attempt: Callable[[int], T], attempts: Attempts, judge: Judge) -> T:
    """Do the same for a blocking client, in its thread."""
    while True:
        if (pause := attempts.pause()) > 0:
            clock.block(pause)
        number = attempts.begin()
        try:
            result = attempt(number)
        except Exception as error:
            answer = attempts.failed(judge(error))
            if isinstance(answer, GiveUp):
                raise
        else:
            attempts.succeeded()
            return result
        clock.block(answer)


async def pieces(
    open: Callable[[int], AsyncGenerator[T, None]], attempts: Attempts, judge: Judge
) -> AsyncGenerator[T, None]:
    """Yield the pieces of the stream that `open(attempt)` returns, opened anew until one has come.

    What fails after the first piece is raised as it is: a second try would repeat what somebody has read.
    """

    async def first(number: int) -> tuple[list[T], AsyncGenerator[T, None]]:
        stream = open(number)
        try:
            return [await anext(stream)], stream
        except StopAsyncIteration:
            return [], stream
        except BaseException:
            await stream.aclose()
            raise

    begun, rest = await drive(first, attempts, judge)
    async with aclosing(rest):
        for piece in begun:
            yield piece
        async for piece in rest:
            yield piece
