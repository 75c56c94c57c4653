"""Step 3 of the article: which errors there are, and what each calls for, on virtual time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx2

from claims.bench import (
    ASK,
    TEXT,
    WITHOUT_THOUGHTS,
    articles_loop,
    call,
    sdk_of,
)
from claude_lab import clock, faults, retrying
from claude_lab.failure import HOPELESS
from claude_lab.fake import FakeClaude
from claude_lab.faults import Fault
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario


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


LONG = "Why is the sky blue? " * 50_000
BAD: dict[str, dict[str, Any]] = {
    "no message": {"messages": []},
    "an unknown field": {"extra_body": {"mood": "calm"}},
    "max_tokens below zero": {"max_tokens": -1},
    "a prefilled answer": {"messages": [*ASK["messages"], {"role": "assistant", "content": "Because"}]},
    "a role that is none": {"messages": [{"role": "sky", "content": "?"}]},
    "a prompt beyond the window": {"model": WITHOUT_THOUGHTS, "messages": [{"role": "user", "content": LONG}]},
}
"""Requests that the API refuses with 400: the last is longer than the model's 200,000 tokens."""


@dataclass(frozen=True)
class Bad:
    """What BadRequestError was raised for, what shortening the message cured, and how a body of 33 MB is refused."""

    raised: int
    shortened: int
    said_too_long: int
    both: int
    size_status: int
    size_error: str


def bad_requests(bad: tuple[str, ...] = tuple(BAD)) -> Bad:
    """Send requests that the API refuses with 400, then each with its message cut short, and one of 33 MB."""

    async def main() -> Bad:
        async with sdk_of(FakeClaude(plan())) as sdk:
            seen = []
            for name in bad:
                first, again = [await refusal(sdk, **change) for change in (BAD[name], cut_short(BAD[name]))]
                if isinstance(first, anthropic.BadRequestError):
                    seen.append((again is None, "too long" in first.message))
            large = await refusal(sdk, messages=[{"role": "user", "content": "x" * (33 << 20)}])
        cured, said = [sum(column) for column in zip(*seen, strict=True)]
        status = large.status_code if large else 200
        return Bad(len(seen), cured, said, sum(map(all, seen)), status, type(large).__name__)

    return clock.run_virtual(main())


async def refusal(sdk: anthropic.AsyncAnthropic, **change: Any) -> anthropic.APIStatusError | None:
    """Ask once; return the error, if there is one."""
    try:
        await sdk.messages.create(**{**ASK, **change})
    except anthropic.APIStatusError as error:
        return error
    return None


def cut_short(change: dict[str, Any], characters: int = 20) -> dict[str, Any]:
    """Return a request's fields with each message cut to its first characters, as the article advises."""
    if "messages" not in change:
        return change
    return {**change, "messages": [{**each, "content": each["content"][:characters]} for each in change["messages"]]}


@dataclass(frozen=True)
class Dropped:
    """How the loop fares with one drop before the answer, and with one in its middle."""

    early: str
    early_requests: int
    late: str
    late_requests: int


def drops(at: str = "between events", early: str = "before headers") -> Dropped:
    """Drop the connection once before the head, and once in mid-answer, with the article's loop around a reader."""

    async def read(fault: Fault) -> tuple[str, int]:
        fake = FakeClaude(plan(fault))
        async with sdk_of(fake) as sdk:

            async def whole() -> str:
                async with sdk.messages.stream(**ASK) as stream:
                    return "".join([text async for text in stream.text_stream])

            try:
                with contextlib.redirect_stdout(None):
                    text = await articles_loop()(whole)
            except (anthropic.APIError, httpx2.HTTPError) as error:
                return named(error), len(fake.requests)
        return "answered" if text == TEXT else "cut", len(fake.requests)

    return Dropped(*clock.run_virtual(read(faults.Drop(at=early))), *clock.run_virtual(read(faults.Drop(at=at))))


def named(error: Exception) -> str:
    """Return an error's class with its package."""
    return f"`{type(error).__module__.partition('.')[0]}.{type(error).__name__}`"


OTHERS = (402, 403, 404, 408, 409, 413, 422, 500, 502, 503, 504, 529)


@dataclass(frozen=True)
class Others:
    """Of some statuses, each given once before an answer: which the article's loop survived, and which ours."""

    statuses: tuple[int, ...]
    article: tuple[int, ...]
    ours: tuple[int, ...]
    left_alone: tuple[int, ...]


def other_errors(statuses: tuple[int, ...] = OTHERS) -> Others:
    """Refuse one call each with these statuses once, and answer the second attempt, if there is one."""
    article, ours = (
        tuple(each for each in statuses if call(plan(faults.Refusal(status=each)), loop).ended == "answered")
        for loop in (None, by_policy)
    )
    return Others(statuses, article, ours, tuple(each for each in statuses if each not in ours))
