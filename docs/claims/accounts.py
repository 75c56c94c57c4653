"""Accounts, tasks and loops: the prompt cache, batches, cancellation, one client in several loops, the base delay."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import anthropic

from claims import bench
from claims.bench import ASK, BRISK, TEXT
from claude_lab import faults, model, spending
from claude_lab.fake import FakeClaude
from claude_lab.limits import Limits
from claude_lab.retry import Pacer, RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.traffic import Traffic

HANDBOOK = {"type": "text", "text": "Deploy on Tuesdays, never on Fridays. " * 400}
EPHEMERAL = {"cache_control": {"type": "ephemeral"}}


@dataclass(frozen=True)
class Cached:
    """The accounts of two equal requests with a long prompt that is marked for the cache."""

    first_event: str
    read_at_first_event: int
    read_of_written: bool
    events_before_text: int
    final_usage: bool
    code_lines: int


def cache(marked: bool = True) -> Cached:
    """Ask twice with a cacheable prompt, streamed, and note the first event that says whether the cache was hit."""
    block = {**HANDBOOK, **(EPHEMERAL if marked else {})}
    ask = {**ASK, "messages": [{"role": "user", "content": [block, {"type": "text", "text": "When?"}]}]}
    with FakeClaude(Scenario(answer=TEXT, pace="instant")) as fake:
        with anthropic.Anthropic(base_url=fake.url, api_key="lab", max_retries=0) as sdk:
            seen: list[list[Any]] = []
            for _ in range(2):
                with sdk.messages.stream(**ask) as stream:
                    seen.append(list(stream))
                    usage = stream.get_final_message().usage
    written = seen[0][0].message.usage.cache_creation_input_tokens or 0
    first = seen[1][0]
    read = first.message.usage.cache_read_input_tokens or 0
    before = next(number for number, event in enumerate(seen[1]) if event.type == "text")
    return Cached(first.type, read, bool(written) and read == written, before, usage.output_tokens > 0, 1)


@dataclass(frozen=True)
class Priced:
    """Dollars of input for the second of two equal requests, beside one without a cache."""

    plain: float
    read: float
    written: float


def prices(kind: str = "cache_read_input_tokens") -> Priced:
    """Price input tokens plain, written to a cache and read from it, by the price list of November 2026."""
    plain, read, written = (
        round(10 * spending.cost(ASK["model"], {name: 10**5}), 6)
        for name in ("input_tokens", kind, "cache_creation_input_tokens")
    )
    return Priced(plain, read, written)


@dataclass(frozen=True)
class Batched:
    """A thousand documents as one batch, and what the limit says to a thousand streams."""

    requests: int
    results: int
    streams_served: int


def batch(documents: int = 1000) -> Batched:
    """Put 1,000 documents in one batch, then ask one by one within a minute, against a limit of 50 a minute."""
    items: list[Any] = [
        {"custom_id": f"document-{number}", "params": {**ASK, "max_tokens": 16}} for number in range(documents)
    ]
    with FakeClaude(Scenario(answer=TEXT, pace="instant")) as fake:
        with anthropic.Anthropic(base_url=fake.url, api_key="lab", max_retries=0) as sdk:
            made = sdk.messages.batches.create(requests=items)
            posted = len(fake.requests)
            counts = sdk.messages.batches.retrieve(made.id).request_counts
    asked = Traffic(shape="herd", requests=documents, window=60)
    limited = Scenario(limits=Limits(50, None, None), traffic=asked)
    served = sum(row.outcome == "ok" for row in model.day(limited, RetryPolicy(max_retries=0)).rows())
    total = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
    return Batched(posted, total, served)


@dataclass(frozen=True)
class Cancelled:
    """What cancelling a reader does whose generator returns quietly."""

    task_cancelled: bool
    timeout_raised: bool
    text_whole: bool


def return_on_cancel(quiet: bool = True) -> Cancelled:
    """Add the FAQ's clause to the listing's generator, cancel a task that reads it, and let a timeout end another."""
    clause = "    except asyncio.CancelledError:\n        return\n" if quiet else ""
    place = "    except anthropic.RateLimitError:\n"
    with bench.article("async", Scenario(answer=TEXT, pace=BRISK), changes=((place, clause + place),)) as served:
        source, request = served.names["stream_claude"], served.names["ChatRequest"](message="?")

        async def read(into: list[str]) -> None:
            async for frame in source(request):
                into.append(frame)

        async def cancelled() -> bool:
            frames: list[str] = []
            task = asyncio.ensure_future(read(frames))
            await bench.until(lambda: bool(frames))
            task.cancel()
            await asyncio.wait({task})
            return task.cancelled()

        async def timed() -> tuple[bool, bool]:
            frames: list[str] = []
            try:
                async with asyncio.timeout(0.3):
                    await read(frames)
            except TimeoutError:
                return True, False
            return False, any('"done"' in frame for frame in frames)

        return Cancelled(in_own_loop(served, cancelled), *in_own_loop(served, timed))


def in_own_loop(served: bench.Bench, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine in a loop of its own, with a client of its own."""

    async def main() -> Any:
        async with anthropic.AsyncAnthropic(base_url=served.fake.url, api_key="lab", max_retries=0) as client:
            served.names["client"] = client
            return await work()

    return asyncio.run(main())


@dataclass(frozen=True)
class Loops:
    """How many of some calls failed because a loop was closed."""

    calls: int
    sync_failed: int
    async_failed: int
    async_cause: str


def one_client_in_many_loops(own_client: bool = False, calls: int = 4, first: str = "sync") -> Loops:
    """Use one client in successive `asyncio.run` calls: the sync client first, then the async one."""
    with FakeClaude(Scenario(answer=TEXT, pace="instant")) as fake, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a connection whose loop is closed cannot be closed
        failed, broken = (errors_of(kind, fake.url, calls, own=own_client) for kind in (first, "async"))
        gc.collect()  # now, where nobody minds the warning
    return Loops(calls, sum(map(bool, failed)), sum(map(bool, broken)), next(filter(None, broken), "none"))


def errors_of(kind: str, url: str, calls: int, *, own: bool) -> list[str]:
    """Call with a client from so many loops, one after the other, or with a client for each; return the errors."""
    options: dict[str, Any] = {"base_url": url, "api_key": "lab", "max_retries": 0}
    shared = bench.KINDS[kind](**options)

    async def ask() -> None:
        if kind == "sync":
            shared.messages.create(**ASK)
        elif own:
            async with anthropic.AsyncAnthropic(**options) as client:
                await client.messages.create(**ASK)
        else:
            await shared.messages.create(**ASK)

    said = [closed(ask) for _ in range(calls)]
    if kind == "sync":
        shared.close()
    return said


def closed(work: Callable[[], Coroutine[Any, Any, None]]) -> str:
    """Run once in a new loop; return the innermost error's words, or nothing."""
    try:
        asyncio.run(work())
    except (anthropic.APIConnectionError, RuntimeError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        return str(cause)
    return ""


@dataclass(frozen=True)
class Base:
    """Days of calls in groups at 84 % of a limit: success in percent, and how many times as long the waits are."""

    one_second: float
    five_seconds: float
    wait_grows: float
    ours: float
    ours_wait_grows: float


def base_delay(load: float = 0.84, low: float = 1.0, high: float = 5.0) -> Base:
    """Play ten days on the model with the article's loop and a base delay of 1 s, then of 5 s, and with full jitter."""
    policies = [RetryPolicy.article(3, low), RetryPolicy.article(3, high), RetryPolicy(max_retries=6, base_delay=low)]
    served = [days(Scenario.bursty(rpm=50, load=load), policy) for policy in policies]
    waits = [max(wait, 1e-9) / served[0][1] for _, wait in served]
    return Base(served[0][0], served[1][0], round(waits[1], 1), served[2][0], round(waits[2], 1))


def days(scenario: Scenario, policy: RetryPolicy, count: int = 10) -> tuple[float, float]:
    """Return the percentage of calls that were served in so many days, and their mean wait beyond the answer's own."""
    rows = [row for seed in range(count) for row in model.day(scenario, policy, seed=seed).rows()]
    ok = [row for row in rows if row.outcome == "ok"]
    waited = sum(row.times[-1] - row.arrival for row in ok) / len(ok)
    return round(100 * len(ok) / len(rows), 1), waited


@dataclass(frozen=True)
class Causes:
    """Calls served, in percent, where neither cause of the FAQ is at work."""

    spend_limit_requests: int
    spend_limit_ended: str
    over_capacity: float
    paced: float


def neither_cause(load: float = 1.4) -> Causes:
    """Retry with a base delay of 60 s: against a spend limit, and on days with steady calls at 1.4 times the limit."""
    script = [faults.SpendLimited() if load > 1 else faults.ok] * 9
    spent = bench.call(Scenario(script, pace="instant"), bench.articles_loop(60.0))
    steady = Scenario.steady(rpm=50, load=load, requests=2000)
    slow = days(steady, RetryPolicy.article(3, 60.0))[0]
    return Causes(spent.requests, spent.ended, slow, days(steady, RetryPolicy(pacer=Pacer(rate=0.95 * 50 / 60)))[0])
