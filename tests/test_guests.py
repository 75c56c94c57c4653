"""tenacity and stamina under a policy: what the calls of one client share holds there as under our own driver."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from claude_lab import clock
from claude_lab.attempts import Attempts, drive
from claude_lab.clock import run_virtual
from claude_lab.failure import Failure
from claude_lab.retry import RetryPolicy
from claude_lab.thrift import Budget, Pacer, Share

DOWN = Failure("overloaded", status=529)
CALLS = 5


class Refused(Exception):
    """What the fake call raises."""


Attempt = Callable[[], Awaitable[None]]
Caller = Callable[[RetryPolicy, Share, Attempt], Awaitable[None]]
HANDED = {"rand": lambda: 0.5, "now": clock.now}


async def by_us(policy: RetryPolicy, share: Share, attempt: Attempt) -> None:
    """Call under our own driver."""
    await drive(
        lambda number: attempt(), Attempts(policy, share, lambda told: None, HANDED["rand"]), lambda error: DOWN
    )


async def by_tenacity(policy: RetryPolicy, share: Share, attempt: Attempt) -> None:
    """Call under tenacity."""
    tenacity = pytest.importorskip("tenacity")
    options = policy.tenacity_kwargs(lambda error: DOWN, sleep=asyncio.sleep, share=share, **HANDED)
    await tenacity.AsyncRetrying(**options)(attempt)


async def by_stamina(policy: RetryPolicy, share: Share, attempt: Attempt) -> None:
    """Call under stamina, with what its hook cannot see."""
    stamina = pytest.importorskip("stamina")
    hook = policy.stamina_hook(lambda error: DOWN, share=share, **HANDED)
    async for turn in stamina.retry_context(on=hook, attempts=None, timeout=None):
        with turn:
            await asyncio.sleep(share.turn(clock.now()))
            await attempt()
    share.earn()


def played(caller: Caller, policy: RetryPolicy, *, failures: int) -> tuple[list[float], list[bool]]:
    """Make calls one after the other, each failing so often first: when each attempt began, and which calls held."""
    began: list[float] = []
    held: list[bool] = []

    async def main() -> None:
        share = policy.share()
        for _ in range(CALLS):
            left = iter([True] * failures)

            async def attempt(left: Any = left) -> None:
                began.append(clock.now())
                if next(left, False):
                    raise Refused

            try:
                await caller(policy, share, attempt)
                held.append(True)
            except Refused:
                held.append(False)

    run_virtual(main())
    return [at - began[0] for at in began], held


@pytest.mark.parametrize("caller", [by_us, by_tenacity, by_stamina])
def test_successes_pay_for_retries(caller: Caller) -> None:
    """A budget of one retry for each success lets five calls fail once each, whoever drives them."""
    policy = RetryPolicy(base_delay=0.1, budget=Budget(ratio=1, burst=1))

    assert played(caller, policy, failures=1)[1] == [True] * CALLS
    assert played(caller, policy, failures=2)[1] == [False] * CALLS


@pytest.mark.parametrize("caller", [by_tenacity, by_stamina])
@pytest.mark.parametrize("failures", [0, 1])
def test_attempts_are_paced(caller: Caller, failures: int) -> None:
    """No two attempts come closer than the pacer lets them, the first of a call included, as under our own driver."""
    policy = RetryPolicy(base_delay=0.01, pacer=Pacer(rate=5))

    at, held = played(caller, policy, failures=failures)

    assert at == pytest.approx(played(by_us, policy, failures=failures)[0])
    assert at[-1] == pytest.approx(0.2 * (CALLS * (failures + 1) - 1))
    assert all(held)


def test_a_blocking_call_is_paced_too() -> None:
    """tenacity's plain `retry` waits by the `sleep` that it is given."""
    tenacity = pytest.importorskip("tenacity")
    slept: list[float] = []
    policy = RetryPolicy(max_retries=1, base_delay=1, jitter="none", pacer=Pacer(rate=0.5))
    options = policy.tenacity_kwargs(lambda error: DOWN, rand=lambda: 0.5, now=lambda: sum(slept), sleep=slept.append)

    with pytest.raises(Refused):
        tenacity.Retrying(**options)(refuse)

    assert slept == [1.0, 1.0]


def refuse() -> None:
    """Fail."""
    raise Refused


def test_a_pacer_needs_a_sleep() -> None:
    """tenacity has no wait before the first attempt, so the policy must bring one."""
    policy = RetryPolicy(pacer=Pacer(rate=5))

    with pytest.raises(ValueError, match="hand in sleep"):
        policy.tenacity_kwargs(lambda error: DOWN, **HANDED)
