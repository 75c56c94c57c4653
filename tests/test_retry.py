"""The retry policy."""

import asyncio
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from claude_lab import chance, clock
from claude_lab.clock import run_virtual
from claude_lab.retry import JITTERS, Budget, Failure, GiveUp, Pacer, RetryPolicy, Wait

LIMITED = Failure("rate_limit", status=429)
OVERLOADED = Failure("overloaded", status=529)


def luck(seed: int = 0) -> Callable[[], float]:
    """Numbers in [0, 1) by a counter."""
    numbers = iter(range(1_000_000))
    return lambda: chance.u(seed, 1, next(numbers), 0)


def waits(policy: RetryPolicy, *failures: Failure, at: float = 0.0) -> list[Wait | GiveUp]:
    """What the policy answers to these failures, all at one instant."""
    state, rand = policy.begin(at), luck()
    return [state.after(failure, now=at, rand=rand) for failure in failures]


def test_without_jitter_the_waits_double_up_to_the_cap():
    """base, 2 base, 4 base, ... never above max_delay."""
    policy = RetryPolicy(max_retries=5, base_delay=1, max_delay=6, jitter="none")

    assert list(policy.waits(luck())) == [1, 2, 4, 6, 6]


@pytest.mark.parametrize("jitter", JITTERS)
def test_a_state_answers_with_the_policys_own_waits(jitter: str):
    """Where the server names no wait, `after` walks the bare sequence, then gives up."""
    policy = RetryPolicy(max_retries=6, jitter=jitter)

    *answers, last = waits(policy, *[LIMITED] * 7)

    assert [answer.seconds for answer in answers] == list(policy.waits(luck()))
    assert last == GiveUp("max_retries=6 used up", "max_retries")


def test_a_final_failure_is_not_retried():
    """400 stops at once, and the reason says so."""
    assert waits(RetryPolicy(), Failure("invalid_request", status=400)) == [GiveUp("status 400 is final")]


def test_retry_after_is_a_floor_with_jitter_on_top():
    """Nobody comes before the server said, and not all at once."""
    policy = RetryPolicy(max_retries=50, base_delay=2, max_delay=10)

    answers = [answer.seconds for answer in waits(policy, *[Failure("rate_limit", retry_after=30.0)] * 50)]

    assert all(30 <= wait < 40 for wait in answers)
    assert len(set(answers)) == 50


def test_a_retry_after_beyond_its_cap_gives_up():
    """A day's wait is an answer to the caller, not a sleep."""
    [answer] = waits(RetryPolicy(), Failure("rate_limit", retry_after=86_400.0))

    assert "86400 s is longer than max_retry_after=300" in answer.reason


def test_a_policy_may_be_deaf_to_retry_after():
    """For comparison: the article's waits ignore the header."""
    policy = RetryPolicy.article(3, 1.0)

    assert waits(policy, *[Failure("rate_limit", retry_after=30.0)] * 3)[:2] == [Wait(1), Wait(2)]
    assert policy.max_attempts == 3


def test_the_sdks_policy_obeys_the_header_to_the_letter():
    """No jitter, no cap: 86,400 s are slept."""
    policy = RetryPolicy.sdk()

    assert waits(policy, Failure("rate_limit", retry_after=86_400.0)) == [Wait(86_400.0)]
    assert all(0.375 * 2**n <= wait <= 0.5 * 2**n for n, wait in enumerate(policy.waits(luck())))


def test_each_kind_may_have_its_own_base():
    """Throttling waits a second where a hiccup waits 50 ms."""
    policy = RetryPolicy(base_delay=1, base_delays={"overloaded": 0.05}, jitter="none")

    assert waits(policy, LIMITED)[0] == Wait(1)
    assert waits(policy, OVERLOADED)[0] == Wait(0.05)


def test_no_wait_ends_after_the_deadline():
    """The deadline counts from the call's beginning."""
    policy = RetryPolicy(max_retries=9, jitter="none", deadline=5)
    state = policy.begin(100.0)

    assert state.after(LIMITED, now=104.0, rand=luck()) == Wait(1)
    assert state.after(LIMITED, now=104.0, rand=luck()) == GiveUp("the deadline of 5 s would pass", "deadline")


def test_a_budget_is_shared_by_the_calls_of_a_client():
    """One call's retries leave fewer for the next; rate limits are not in the budget."""
    policy = RetryPolicy(max_retries=9, budget=Budget(burst=2))
    share = policy.share()
    first, second = policy.begin(0, share), policy.begin(0, share)

    answers = [state.after(OVERLOADED, now=0, rand=luck()) for state in (first, second, second)]

    assert answers[2] == GiveUp("the retry budget for overloaded is used up", "budget")
    assert isinstance(second.after(LIMITED, now=0, rand=luck()), Wait)


def test_a_pacer_is_shared_by_the_calls_of_a_client():
    """Three calls of one client leave a second apart."""
    policy = RetryPolicy(pacer=Pacer(rate=1))
    share = policy.share()

    assert [policy.begin(7.0, share).pace(7.0) for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(("fields", "word"), [
    ({"max_retries": -1}, "max_retries=-1"),
    ({"max_retries": 1.5}, "max_retries=1.5"),
    ({"base_delay": -0.5}, "base_delay=-0.5"),
    ({"base_delay": float("nan")}, "base_delay=nan"),
    ({"max_delay": float("inf")}, "max_delay=inf"),
    ({"jitter": "some"}, "jitter='some'"),
    ({"deadline": 0}, "deadline=0"),
    ({"deadline": "x"}, "deadline='x'"),
    ({"max_retries": float("nan")}, "max_retries=nan is not a count"),
    ({"max_retries": 2.0}, r"max_retries=2\.0 is not a count"),
    ({"max_retries": 10**9}, "at most 1,000,000"),
    ({"base_delay": "5"}, "base_delay='5' is not a delay"),
    ({"base_delays": 5}, "base_delays=5 is no mapping"),
    ({"honor_retry_after": "no"}, "honor_retry_after='no' is neither"),
    ({"budget": float("nan")}, "budget=nan is no Budget"),
    ({"pacer": float("nan")}, "pacer=nan is no Pacer"),
    ({"base_delays": {"tired": 1}}, "tired"),
    ({"base_delays": {"overloaded": -1}}, r"base_delays\['overloaded'\]=-1"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], word: str):
    """One sentence at the door, with the value."""
    with pytest.raises(ValueError, match=word):
        RetryPolicy(**fields)


def test_a_policy_is_one_or_the_usual_one():
    """None stands for the usual policy; anything else that is none is named."""
    assert RetryPolicy.of(None) == RetryPolicy()
    assert RetryPolicy.of(RetryPolicy(max_retries=7)).max_retries == 7
    with pytest.raises(TypeError, match="policy=5 is not a RetryPolicy; use"):
        RetryPolicy.of(5)


class Refused(Exception):
    """What the fake call raises."""


def slept(call: Callable[[Callable[[], Any]], Any]) -> list[float]:
    """Run a retried call that always fails; the times between its attempts."""
    times: list[float] = []

    async def attempt() -> None:
        times.append(clock.now())
        raise Refused

    async def main() -> None:
        with pytest.raises(Refused):
            await call(attempt)

    run_virtual(main())
    return [later - earlier for earlier, later in pairwise(times)]


@pytest.mark.parametrize("jitter", JITTERS)
def test_tenacity_waits_as_the_policy(jitter: str):
    """`tenacity_kwargs` gives the same waits, attempt by attempt, and the original error at the end."""
    tenacity = pytest.importorskip("tenacity")
    policy = RetryPolicy(max_retries=4, jitter=jitter)
    options = policy.tenacity_kwargs(lambda error: LIMITED, rand=luck(), now=clock.now)

    seen = slept(lambda attempt: tenacity.AsyncRetrying(**options)(attempt))

    assert seen == pytest.approx(list(policy.waits(luck())))


@pytest.mark.parametrize("jitter", JITTERS)
def test_stamina_waits_as_the_policy(jitter: str):
    """`stamina_hook` gives the same waits, though stamina itself never tells a hook the attempt's number."""
    stamina = pytest.importorskip("stamina")
    policy = RetryPolicy(max_retries=4, jitter=jitter)

    async def call(attempt: Callable[[], Any]) -> None:
        hook = policy.stamina_hook(lambda error: LIMITED, rand=luck(), now=clock.now)
        async for turn in stamina.retry_context(on=hook, attempts=None, timeout=None):
            with turn:
                await attempt()

    assert slept(call) == pytest.approx(list(policy.waits(luck())))


def test_tenacity_does_not_catch_a_cancellation():
    """A cancelled call ends, whatever the policy."""
    tenacity = pytest.importorskip("tenacity")
    options = RetryPolicy().tenacity_kwargs(lambda error: LIMITED, rand=random.random, now=clock.now)

    async def main() -> None:
        task = asyncio.ensure_future(tenacity.AsyncRetrying(**options)(asyncio.sleep, 100))
        await asyncio.sleep(1)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        run_virtual(main())
