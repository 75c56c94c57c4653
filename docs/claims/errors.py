"""Step 3 of the article: which errors there are, and its loop of retries, on virtual time."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx2

from claims.bench import ASK, TEXT, articles_loop, call, discard, sdk_of
from claude_lab import clock, faults, retrying
from claude_lab.failure import HOPELESS
from claude_lab.fake import FakeClaude
from claude_lab.faults import Fault
from claude_lab.limits import Limits
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.settings import Settings


def plan(*script: Fault) -> Scenario:
    """Return a plan with these faults first, and no waiting of its own."""
    return Scenario(script, pace="instant", answer=TEXT)


async def by_policy(fn: Any, **request: Any) -> Any:
    """Call once by the lab's default policy."""
    return await retrying.call_with_retry(lambda: fn(**request), RetryPolicy(), rand=lambda: 0.5)


@dataclass(frozen=True)
class Limited:
    """The article's loop against two kinds of 429."""

    passing: str
    spend_limit: str
    spend_limit_requests: int
    ours_requests: int


def two_kinds_of_429(second: str = "enforced_spend_limit_reached") -> Limited:
    """Refuse a call with 429 once, and another with the 429 of a spend limit for good; both are RateLimitError."""
    final = faults.SpendLimited(error_code=second) if second in HOPELESS else faults.ok
    passing = call(plan(faults.RateLimited()))
    spent, ours = (call(plan(*[final] * 9), loop) for loop in (None, by_policy))
    return Limited(passing.ended, spent.ended, spent.requests, ours.requests)


@dataclass(frozen=True)
class Final:
    """Requests made for errors that no second try can cure."""

    requests: tuple[int, ...]
    ended: tuple[str, ...]


def refused_for_good(statuses: tuple[int, ...] = (401, 400)) -> Final:
    """Refuse a call with 401 and another with 400, and count the requests of the article's loop."""
    calls = [call(plan(*[faults.Refusal(status=status)] * 9), max_retries=2) for status in statuses]
    return Final(tuple(each.requests for each in calls), tuple(each.ended for each in calls))


BAD: dict[str, dict[str, Any]] = {
    "no message": {"messages": []},
    "an unknown field": {"extra_body": {"mood": "calm"}},
    "max_tokens below zero": {"max_tokens": -1},
    "a prefilled answer": {"messages": [*ASK["messages"], {"role": "assistant", "content": "Because"}]},
    "a role that is none": {"messages": [{"role": "sky", "content": "?"}]},
}


@dataclass(frozen=True)
class Bad:
    """What BadRequestError was raised for."""

    raised: int
    about_length: int
    size_status: int
    size_is_bad_request: bool


def bad_requests(bad: tuple[str, ...] = tuple(BAD), size_status: int = 413) -> Bad:
    """Send requests that the API refuses with 400, and one that is too large; look at what the errors are about."""

    async def main() -> Bad:
        raised, length = 0, 0
        async with sdk_of(FakeClaude(plan())) as sdk:
            for name in bad:
                try:
                    await sdk.messages.create(**{**ASK, **BAD[name]})
                except anthropic.BadRequestError as error:
                    raised += 1
                    length += "too long" in error.message
        async with sdk_of(
            FakeClaude(plan(faults.Refusal(status=size_status, message="Request exceeds the maximum size")))
        ) as sdk:
            try:
                await sdk.messages.create(**ASK)
            except anthropic.APIStatusError as error:
                return Bad(raised, length, error.status_code, isinstance(error, anthropic.BadRequestError))
        raise RuntimeError("The request that is too large was not refused.")

    return clock.run_virtual(main())


@dataclass(frozen=True)
class Dropped:
    """One drop before the answer, one in its middle."""

    early: str
    late: str
    late_is_connection_error: bool
    late_requests: int


def drops(at: str = "between events") -> Dropped:
    """Drop the connection before the head, and in mid-answer; retry a reader of the stream with the article's loop."""

    async def read(fault: Fault) -> tuple[str, bool, int]:
        fake = FakeClaude(plan(*[fault] * 3))
        async with sdk_of(fake) as sdk:

            async def whole() -> str:
                async with sdk.messages.stream(**ASK) as stream:
                    return "".join([text async for text in stream.text_stream])

            try:
                with contextlib.redirect_stdout(None):
                    await articles_loop()(whole)
            except (anthropic.APIError, httpx2.HTTPError) as error:
                return named(error), isinstance(error, anthropic.APIConnectionError), len(fake.requests)
        raise RuntimeError(f"{fault} did not break the stream.")

    early, _, _ = clock.run_virtual(read(faults.Drop(at="before headers")))
    return Dropped(early, *clock.run_virtual(read(faults.Drop(at=at))))


def named(error: Exception) -> str:
    """Return an error's class with its package."""
    return f"`{type(error).__module__.partition('.')[0]}.{type(error).__name__}`"


OTHERS = (408, 409, 500, 502, 503, 504, 529)


@dataclass(frozen=True)
class Others:
    """How many passing errors were survived."""

    statuses: tuple[int, ...]
    article: int
    ours: int


def passing_errors(statuses: tuple[int, ...] = OTHERS) -> Others:
    """Refuse one call each with these statuses once, and answer the second attempt, if there is one."""
    ended = [
        [call(plan(faults.Refusal(status=status)), loop).ended for status in statuses] for loop in (None, by_policy)
    ]
    article, ours = (sum(each == "answered" for each in calls) for calls in ended)
    return Others(statuses, article, ours)


@dataclass(frozen=True)
class Hidden:
    """Requests for an error that the loop does not retry, and for one that it does."""

    client_retries: int
    overloaded_requests: int
    limited_requests: int


def loop_and_client(client_retries: int = 2) -> Hidden:
    """Put the loop around a client with its default retries, against an upstream that refuses for good."""
    over, limited = (
        call(plan(*[kind()] * 20), max_retries=client_retries) for kind in (faults.Overloaded, faults.RateLimited)
    )
    return Hidden(client_retries, over.requests, limited.requests)


@dataclass(frozen=True)
class Flaky:
    """The article's own trial, repeated."""

    ended: str
    attempts: int
    waits: tuple[float, ...]


def flaky(failures: int = 2, attempts: int = 3) -> Flaky:
    """Let the upstream fail twice with 429 and then answer, on virtual time."""
    seen = call(plan(*[faults.RateLimited()] * failures), articles_loop(attempts=attempts))
    return Flaky(seen.ended, seen.requests, seen.waits)


@dataclass(frozen=True)
class Interval:
    """Two base delays against one limit."""

    seconds_between: int
    short: str
    long: str


def interval(rpm: float = 6) -> Interval:
    """Use up a limit of one request every ten seconds, and retry with a base delay of 0.1 s, then of 5 s."""
    limits = Limits(rpm, None, None, burst=1 / rpm, retry_after="absent")

    def ended(base: float) -> str:
        async def twice(fn: Any, **request: Any) -> Any:
            await fn(**request)
            return await articles_loop(base)(fn, **request)

        return call(Scenario(limits=limits, pace="instant", answer=TEXT), twice).ended

    return Interval(round(60 / rpm), ended(0.1), ended(5.0))


@dataclass(frozen=True)
class Configured:
    """What a server reads from its environment."""

    max_retries: int
    base_delay: float
    as_attempts: int


def from_environment(prefix: str = "") -> Configured:
    """Set MAX_RETRIES and BASE_DELAY in the environment and read the server's settings."""
    before = dict(os.environ)
    os.environ.update({f"{prefix}MAX_RETRIES": "6", f"{prefix}BASE_DELAY": "2.5"})
    try:
        read = Settings(_env_file=None)
        counted = Settings(_env_file=None, retry_unit="attempts")
    finally:
        os.environ.clear()
        os.environ.update(before)
    return Configured(read.max_retries, read.base_delay, counted.retries)


@dataclass(frozen=True)
class Unprotected:
    """The loop given a stream."""

    error: str
    requests: int


def around_a_stream(method: str = "stream") -> Unprotected:
    """Hand the SDK's `messages.stream` to the article's loop, as its listing calls other methods."""
    fake = FakeClaude(plan())

    async def main() -> str:
        async with sdk_of(fake) as sdk:

            def asked(**request: Any) -> Any:
                made = getattr(sdk.messages, method)(**request)
                return discard(made) if method == "stream" else made

            try:
                await articles_loop()(asked, **ASK)
            except TypeError as error:
                return type(error).__name__
        return "none"

    return Unprotected(clock.run_virtual(main()), len(fake.requests))
