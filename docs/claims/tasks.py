"""Tasks and loops: cancelling the listing's generator, and one client of the SDK in several event loops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx

from claims import bench
from claims.bench import ASK, BRISK, HELD, TEXT
from claude_lab.fake import FakeClaude
from claude_lab.scenario import Scenario


@dataclass(frozen=True)
class Cancelled:
    """What the clause makes of a reader who leaves, and of a task and a timeout that cancel the generator."""

    entered: bool
    upstream: str
    errors: int
    clean_without: bool
    task_cancelled: bool
    timeout_raised: bool
    text_whole: bool


PLACE = "    except anthropic.RateLimitError:\n"


def return_on_cancel(then: str = "return") -> Cancelled:
    """Add the FAQ's clause to the listing, leave in mid-stream, then cancel its generator by a task and a timeout."""
    clause = f"    except asyncio.CancelledError:\n        entered.append(True)\n        {then}\n"
    with listing(PLACE) as bare, listing(clause + PLACE) as served:
        without = leave(bare)
        entered, upstream, errors = leave(served)
        source, request = served.names["stream_claude"], served.names["ChatRequest"](message="?")
        task = in_own_loop(served, lambda: cancelled(source(request)))
        clean = without == (False, "client left", 0)
        return Cancelled(entered, upstream, errors, clean, task, *in_own_loop(served, lambda: timed(source(request))))


def listing(clauses: str) -> contextlib.AbstractContextManager[bench.Bench]:
    """Serve the listing with these words where its first clause begins; its answers are held."""
    return bench.article("async", Scenario([HELD] * 3, answer=TEXT, pace=BRISK), changes=((PLACE, clauses),))


def leave(served: bench.Bench) -> tuple[bool, str, int]:
    """Leave in mid-stream; return whether the clause ran, how the upstream ended, and how many errors there were."""
    entered = served.names["entered"] = []
    with bench.heard() as told:
        with httpx.stream("POST", **served.ask(), trust_env=False) as answer:
            next(answer.iter_bytes())
        asyncio.run(bench.until(lambda: served.fake.requests[0].ended != "open"))
        httpx.get(f"{served.url}/health", trust_env=False)  # by its answer the loop has been around
    return bool(entered), served.fake.requests[0].ended, len(told) + len(served.failures)


async def read(source: AsyncIterator[str], into: list[str]) -> None:
    """Read a generator to its end."""
    async for frame in source:
        into.append(frame)


async def cancelled(source: AsyncIterator[str]) -> bool:
    """Cancel a task that reads; return whether it says so afterwards."""
    frames: list[str] = []
    task = asyncio.ensure_future(read(source, frames))
    await bench.until(lambda: bool(frames))
    task.cancel()
    await asyncio.wait({task})
    return task.cancelled()


async def timed(source: AsyncIterator[str]) -> tuple[bool, bool]:
    """Let a timeout cut an answer; return whether it was raised, and whether the text was whole."""
    frames: list[str] = []
    try:
        async with asyncio.timeout(0.3):
            await read(source, frames)
    except TimeoutError:
        return True, False
    return False, any('"done"' in frame for frame in frames)


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
