"""Step 3 of the article: which errors there are, and its loop of retries, on virtual time."""

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
    discard,
    environment,
    loop_as_printed,
    sdk_of,
)
from claude_lab import clock, faults, model, retrying
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


@dataclass(frozen=True)
class Hidden:
    """Requests of the loop around a client with its default retries, and around one without any."""

    default: int
    overloaded: int
    limited: int
    bare_final: tuple[int, ...]
    bare_limited: int
    bare_dropped: int


def loop_and_client(default: int = 2, bare: int = 0) -> Hidden:
    """Put the loop around a client with its default retries, and around one with none; let every request fail."""

    def asked(fault: Fault, retries: int) -> int:
        return call(plan(*[fault] * 20), max_retries=retries).requests

    limited, over, drop = faults.RateLimited(), faults.Overloaded(), faults.Drop(at="before headers")
    final = (over, faults.Refusal(status=500), faults.Refusal(status=403))
    return Hidden(
        default, asked(over, default), asked(limited, default),
        tuple(asked(each, bare) for each in final), asked(limited, bare), asked(drop, bare),
    )  # fmt: skip


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
class Plans:
    """What one pair of constants does under the limits of two plans."""

    limits: tuple[int, ...]
    served: tuple[float, ...]


def two_plans(limits: tuple[int, ...] = (50, 1000)) -> Plans:
    """Play a day of 60 calls a minute with the article's constants under a limit of 50 a minute, and of 1,000."""
    days = [Scenario.steady(rpm=rpm, load=60 / rpm, requests=1000) for rpm in limits]
    rows = [model.day(day, RetryPolicy.article(3, 1.0)).rows() for day in days]
    return Plans(limits, tuple(round(100 * sum(row.outcome == "ok" for row in each) / len(each), 1) for each in rows))


READS = {
    "import asyncio\n": "import asyncio\nimport os\n",
    "MAX_RETRIES = 3": 'MAX_RETRIES = int(os.environ.get("MAX_RETRIES", 3))',
    "BASE_DELAY = 1.0": 'BASE_DELAY = float(os.environ.get("BASE_DELAY", 1.0))',
}
"""What would have to change in the listing for it to read them."""


@dataclass(frozen=True)
class Configured:
    """Requests of the listing and its first wait, where all are refused: as printed, and with its lines changed."""

    requests: int
    wait: float
    changed_requests: int
    changed_wait: float
    ours: int


def from_environment(prefix: str = "", changes: tuple[str, ...] = ()) -> Configured:
    """Set MAX_RETRIES=6 and BASE_DELAY=2.5, start the article's retry.py, as printed and reading them; refuse all."""
    named = {f"{prefix}MAX_RETRIES": "6", f"{prefix}BASE_DELAY": "2.5"}
    with environment(**named):
        printed, changed = (loop_as_printed({old: READS[old] for old in lines}) for lines in (changes, READS))
        ours = Settings(_env_file=None, retry_unit="attempts").retries + 1
    calls = [call(plan(*[faults.RateLimited()] * 9), loop) for loop in (printed, changed)]
    told = [value for each in calls for value in (each.requests, each.waits[0])]
    return Configured(*told, ours)


@dataclass(frozen=True)
class Unprotected:
    """The loop given a stream, and given a call that answers whole."""

    error: str
    requests: int
    whole: str


def around_a_stream(method: str = "stream", other: str = "create") -> Unprotected:
    """Hand the SDK's `messages.stream` to the article's loop, then its `messages.create`."""
    (error, requests), (whole, _) = given(method), given(other)
    return Unprotected(error, requests, whole)


def given(method: str) -> tuple[str, int]:
    """Run the article's loop around a method of the SDK; return the error, and how many requests came."""
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

    return clock.run_virtual(main()), len(fake.requests)
