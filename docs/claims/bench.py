"""The article's own server, on a loop of its own, with a fake Claude upstream; and the SDK on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import logging
import os
import runpy
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2

from claude_lab import clock, faults
from claude_lab.background import Portal, serve
from claude_lab.fake import FakeClaude
from claude_lab.journal import Entry
from claude_lab.pacing import Pace
from claude_lab.scenario import Scenario
from claude_lab.transport import StreamingASGI

TESTS = Path(__file__).parents[2] / "tests"
LISTINGS = TESTS / "article"
sys.path.append(str(TESTS))

import article_server  # noqa: E402  # the listings live with the tests

NAMED = "claude-opus-4-7-20251101"
MODEL = "claude-haiku-5-5"
WITHOUT_THOUGHTS = "claude-haiku-4-5"
ASK: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}
TEXT = "Short waves scatter more than long ones, so the sky is blue at noon and red at night."
KINDS: dict[str, type[Any]] = {"sync": anthropic.Anthropic, "async": anthropic.AsyncAnthropic}
BRISK = Pace(0.06, 0.04, 0.0, 0.0)
HELD = faults.Stall(after=6, seconds=60)
"""An answer with it is still being written when anybody looks, however long the machine pauses."""
PATIENCE = 5.0
"""What has not come after so many seconds waits for the end of a held answer."""


@dataclass(frozen=True)
class Bench:
    """The article's server at `url`, the fake behind it, the listing's own names, and what died unseen on its loop."""

    url: str
    fake: FakeClaude
    names: dict[str, Any]
    failures: list[BaseException]

    def ask(self, message: str = "Hello!") -> dict[str, Any]:
        """Return the arguments of a POST to the article's endpoint."""
        return {"url": f"{self.url}/chat/stream", "json": {"message": message}, "timeout": 20}


@contextlib.contextmanager
def article(
    client: str = "async", scenario: Scenario | None = None, *, changes: tuple[tuple[str, str], ...] = ()
) -> Iterator[Bench]:
    """Serve the article's listing, with its "sync" or its "async" client; `changes` are more words to replace.

    The model that the listing names does not exist, so it gives way to one that does, unless a change keeps it.
    """
    model = [] if changes and changes[0][0] == NAMED else [(NAMED, WITHOUT_THOUGHTS)]
    source = replaced(article_server.source(client), (*changes, *model))
    names: dict[str, Any] = {"__name__": "article_listing"}
    exec(compile(source, "main.py", "exec"), names)
    with FakeClaude(scenario or Scenario(answer=TEXT, pace="instant")) as fake:
        # A loop of its own: the sync client blocks whichever loop it is on, and the fake must go on answering.
        loop = Portal()
        names["client"] = KINDS[client](base_url=fake.url, api_key="lab", max_retries=0)
        served = serve(names["app"], on=loop)
        try:
            yield Bench(served.url, fake, names, loop.failures)
        finally:
            with quiet():
                fake.stop()  # the sync client holds its loop as long as an answer lasts
                served.stop()
            if client == "async":
                loop.run(names["client"].close(), timeout=5)
            else:
                names["client"].close()
            loop.close()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the server's farewell to streams that are still open out of the terminal."""
    logger = logging.getLogger("uvicorn.error")

    def silent(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(silent)  # not the level: two servers may end at the same time
    try:
        yield
    finally:
        logger.removeFilter(silent)


@contextlib.contextmanager
def heard(name: str = "uvicorn.error", level: int = logging.WARNING) -> Iterator[list[str]]:
    """Collect what a logger is told of this level or above, before any other filter sees it."""
    told: list[str] = []

    def listen(record: logging.LogRecord) -> bool:
        if record.levelno >= level:
            told.append(record.getMessage())
        return True

    logger = logging.getLogger(name)
    logger.filters.insert(0, listen)
    try:
        yield told
    finally:
        logger.removeFilter(listen)


def at_once(entries: list[Entry]) -> int:
    """Return how many of these requests were open at the same time, at most."""
    moments = sorted([(entry.at, 1) for entry in entries] + [(entry.ended_at or entry.at, -1) for entry in entries])
    depth = most = 0
    for _, step in moments:
        depth += step
        most = max(most, depth)
    return most


async def stream_all(bench: Bench, count: int) -> list[str]:
    """Ask so many times at once and return the bodies."""
    async with httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=None)) as http:
        answers = await asyncio.gather(*(http.post(**bench.ask(f"Question {number}")) for number in range(count)))
    return [answer.text for answer in answers]


@contextlib.asynccontextmanager
async def sdk_of(fake: FakeClaude, **options: Any) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Yield an AsyncAnthropic that asks the fake in memory, on whatever clock the loop has."""
    http = httpx2.AsyncClient(transport=StreamingASGI(fake.app))
    options = {"max_retries": 0, **options}
    async with anthropic.AsyncAnthropic(
        base_url="http://127.0.0.1", api_key="lab", http_client=http, **options
    ) as client:
        yield client


def articles_loop(base_delay: float = 1.0, attempts: int = 3) -> Callable[..., Awaitable[Any]]:
    """Return the article's `call_with_retry`, word for word, with its two constants."""
    loop: Callable[..., Awaitable[Any]] = runpy.run_path(str(LISTINGS / "retry.py"))["call_with_retry"]
    loop.__globals__.update(BASE_DELAY=base_delay, MAX_RETRIES=attempts)
    return loop


def loop_as_printed(changes: Mapping[str, str] | None = None) -> Callable[..., Awaitable[Any]]:
    """Return the article's `call_with_retry` with the constants it sets itself; `changes` are words to replace."""
    source, names = replaced((LISTINGS / "retry.py").read_text("utf-8"), (changes or {}).items()), {}
    exec(compile(source, "retry.py", "exec"), names)
    loop: Callable[..., Awaitable[Any]] = names["call_with_retry"]
    return loop


def replaced(source: str, changes: Iterable[tuple[str, str]]) -> str:
    """Return a listing with some words replaced. Raises ValueError where they are not there exactly once."""
    for old, new in changes:
        if source.count(old) != 1:
            raise ValueError(f"{old!r} is {source.count(old)} times in the listing; it must be there once.")
        source = source.replace(old, new)
    return source


@contextlib.contextmanager
def environment(*without: str, **named: str) -> Iterator[None]:
    """Set some environment variables, and take others away, for a while."""
    before = dict(os.environ)
    for name in without:
        os.environ.pop(name, None)
    os.environ.update(named)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


async def until(done: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is so. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110  # it is said by another thread
            await asyncio.sleep(0.01)


def discard(manager: Any) -> Any:
    """Close the request that a manager of the SDK would have made, and return the manager."""
    for value in vars(manager).values():
        if inspect.iscoroutine(value):
            value.close()
    return manager


@dataclass(frozen=True)
class Called:
    """How one call ended: "answered" or the error's class, how many requests it made, and when each came."""

    ended: str
    requests: int
    waits: tuple[float, ...]
    virtual_seconds: float


def call(scenario: Scenario, loop: Callable[..., Awaitable[Any]] | None = None, **client: Any) -> Called:
    """Make one call on virtual time, through the article's loop or another, and tell what happened."""
    fake, chosen = FakeClaude(scenario), loop or articles_loop()

    async def main() -> str:
        async with sdk_of(fake, **client) as sdk:
            try:
                with contextlib.redirect_stdout(None):
                    await chosen(sdk.messages.create, **ASK)
            except anthropic.APIError as error:
                return type(error).__name__
        return "answered"

    async def timed() -> tuple[str, float]:
        return await main(), clock.now()

    ended, took = clock.run_virtual(timed())
    times = [entry.at for entry in fake.requests]
    waits = tuple(round(later - earlier, 3) for earlier, later in itertools.pairwise(times))
    return Called(ended, len(times), waits, round(took, 3))
