"""Step 3 of the article: its loop of retries, its constants, and what it cannot protect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from claims.bench import ASK, TEXT, articles_loop, call, discard, environment, loop_as_printed, sdk_of
from claims.errors import plan
from claude_lab import clock, faults, model
from claude_lab.fake import FakeClaude
from claude_lab.faults import Fault
from claude_lab.limits import Limits
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.settings import Settings


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
