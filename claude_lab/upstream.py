"""The upstream, asked by the anthropic SDK: Messages API events in batches, as they arrive, retried by one policy.

The SDK builds the request, signs it and classifies its answer; the events are read from its raw response, since its
typed helper costs more per event than all the rest together. What arrived in one read is one batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import anthropic
import httpx2

from claude_lab import sse
from claude_lab.attempts import Attempts, pieces
from claude_lab.events import MISSHAPEN, Unreadable, readable, says
from claude_lab.failure import failure_of_response
from claude_lab.incoming import body_of, drain, parsed
from claude_lab.patience import Patience
from claude_lab.retrying import (
    Refused,
    RetryMiddleware,
    StreamInterrupted,
    Truncated,
    call_with_retry,
    failure_of,
    stream_with_retry,
)
from claude_lab.settings import Settings
from claude_lab.spending import Ledger

__all__ = [
    "RetryMiddleware",
    "StreamInterrupted",
    "Truncated",
    "call_with_retry",
    "events",
    "failure_of",
    "make_client",
    "stream_with_retry",
]

CONNECT = 10.0
MOST_BYTES = 16 * 2**20
MOST_HELD_BYTES = 2**20
"""Bytes of events at most before the first content: they are held until it comes."""
Batch = list[dict[str, Any]]


def make_client(settings: Settings) -> anthropic.AsyncAnthropic:
    """Return a client without retries of its own and without a limit of connections: streams hold theirs for long.

    The API is asked through the proxies that the environment names, an upstream on this machine never.
    """
    # Reading is timed here, by `answered` and `Patience`: aiohttp would set a timer anew for every read.
    timeout = httpx2.Timeout(settings.idle_timeout, connect=CONNECT, read=None)
    # 0 is aiohttp's word for no limit; None would leave it at its default of 100, and the 101st stream would wait.
    limits = httpx2.Limits(max_connections=0, max_keepalive_connections=100)
    here = settings.upstream_is_here
    return anthropic.AsyncAnthropic(
        api_key=settings.api_key.get_secret_value() if settings.api_key else None,
        base_url=settings.base_url,
        max_retries=0,
        http_client=anthropic.DefaultAioHttpClient(
            timeout=timeout, limits=limits, follow_redirects=False, trust_env=not here
        ),
    )


def events(
    client: anthropic.AsyncAnthropic,
    request: Mapping[str, Any],
    attempts: Attempts,
    *,
    ledger: Ledger | None = None,
    idle_timeout: float = 120.0,
    most_bytes: int = MOST_BYTES,
    call: str | None = None,
) -> AsyncGenerator[Batch, None]:
    """Yield the events of one streamed message in batches; the first holds all up to the first piece of content.

    What fails before the first batch is retried by `attempts`; later failures are raised. Raises Truncated for a
    stream that ends without `message_stop`; TimeoutError when no content came for `idle_timeout` seconds and Unreadable
    when none came in `most_bytes`, whatever else came; `CeilingReached` before an attempt that could pass the ledger's
    ceiling; and the SDK's own errors.
    `call` names the call whose attempts these are, when it has made some already.
    """
    name = call or f"call-{uuid4().hex}"
    accounts = ledger or Ledger()

    def opened(number: int) -> AsyncGenerator[Batch, None]:
        headers = {"x-claude-lab-call": name, "x-claude-lab-attempt": str(number)}
        usage: dict[str, Any] = {}
        ask = partial(client.messages.with_streaming_response.create, stream=True, extra_headers=headers)
        return read(answered(ask, request, accounts, usage, idle_timeout), usage, idle_timeout, most_bytes)

    return pieces(opened, attempts, failure_of)


def asker(
    client: anthropic.AsyncAnthropic,
    attempts: Attempts,
    *,
    ledger: Ledger,
    idle_timeout: float,
    most_bytes: int = MOST_BYTES,
) -> Callable[[Mapping[str, Any]], AsyncGenerator[Batch, None]]:
    """Return what asks for the batches of a request; all it asks are attempts of one call."""
    call = f"call-{uuid4().hex}"
    bounds: dict[str, Any] = {"idle_timeout": idle_timeout, "most_bytes": most_bytes}
    return lambda request: events(client, request, attempts, ledger=ledger, call=call, **bounds)


@asynccontextmanager
async def answered(
    ask: Callable[..., AbstractAsyncContextManager[Any]],
    request: Mapping[str, Any],
    accounts: Ledger,
    usage: dict[str, Any],
    idle_timeout: float,
) -> AsyncIterator[Any]:
    """Ask and enter the response, its cost reserved until `usage` is known.

    Raises TimeoutError when its head does not come within `idle_timeout` seconds.
    """
    reserved = accounts.reserve(request)
    try:
        asking = ask(**request)
        try:
            async with asyncio.timeout(idle_timeout):
                response = await asking.__aenter__()
        except TimeoutError:
            raise TimeoutError(f"No answer came for {idle_timeout} seconds.") from None
        try:
            yield response
        finally:
            await asking.__aexit__(None, None, None)
    except anthropic.APIStatusError:
        usage.setdefault("output_tokens", 0)  # a refused request costs nothing
        raise
    finally:
        accounts.settle(reserved, request["model"], usage)


async def read(
    asked: AbstractAsyncContextManager[Any], usage: dict[str, Any], idle_timeout: float, most_bytes: int
) -> AsyncGenerator[Batch, None]:
    """Yield batches of parsed events, holding the first back until it has content; `usage` is filled once it is final.

    `message_start` counts hardly any output: whoever leaves before `message_delta` pays for more than it says.
    A failure that comes in one read with events is raised behind them; before the first batch, in their place.
    """
    decoder, held, speaking, whole = sse.Decoder(), Batch(), False, False
    heard: dict[str, Any] = {}
    silent_bytes, counted = 0, True
    reason: str | None = None
    async with asked as response:
        next_bytes = body_of(response)
        with Patience(idle_timeout) as patience:
            while not whole and (chunk := await next_bytes()):
                content, begins, broken = False, False, None
                try:
                    for event in parsed(decoder.payloads(chunk)):
                        if (kind := event["type"]) == "content_block_delta":
                            begins, content = True, content or says(event)
                        elif kind != "ping":
                            whole = settle_event(event, heard) or whole
                            counted = counted and has_counts(event)
                            if kind == "message_delta":
                                usage.update(heard if counted else {})
                                reason = event["delta"].get("stop_reason") or reason
                            if whole and reason is None:
                                raise Truncated("The answer ended without a stop reason; it may not be whole.")
                        held.append(event)
                except (Refused, Truncated, ValueError, *MISSHAPEN) as error:
                    broken = Unreadable.told(error) if isinstance(error, MISSHAPEN) else error
                    if not speaking:
                        raise broken from None
                if content:
                    patience.renew()
                speaking = speaking or whole or begins
                silent_bytes = 0 if content else silent_bytes + len(chunk)
                if silent_bytes > (most_bytes if speaking else min(most_bytes, MOST_HELD_BYTES)):
                    raise Unreadable(f"The upstream sent {silent_bytes} bytes without a word of an answer.")
                if speaking and held:
                    patience.rest()
                    yield held
                    patience.wait()
                    held = []
                if broken is not None:
                    raise broken
        if whole:
            await drain(next_bytes)
    if not whole:
        raise Truncated("The stream ended without message_stop; what came is not the whole answer.")


def settle_event(event: dict[str, Any], usage: dict[str, Any]) -> bool:
    """Note an event's usage and return whether it is the last. Raises Refused for an in-stream `error`."""
    kind = event["type"]
    if kind == "message_start":
        usage.update(readable(event["message"]["usage"]))
    elif kind == "message_delta":
        told = readable(event.get("usage") or {})
        usage.update({name: count for name, count in told.items() if count is not None})
    elif kind == "error":
        raise Refused(None, failure_of_response(200, {}, event))
    return bool(kind == "message_stop")


def has_counts(event: dict[str, Any]) -> bool:
    """Whether what an event counts, if anything, are counts: by any other its cost is not known."""
    told = event.get("message", event).get("usage") or {}
    return bool(readable(told) == told)
