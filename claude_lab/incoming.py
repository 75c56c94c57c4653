"""An upstream's body: its bytes as the transport has them, and the events that they hold."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import aiohttp
import httpx2
import orjson

from claude_lab.events import Unreadable

NEAR = 1.0
"""Seconds in which the end of a body follows the end of its answer, so that the connection can serve again."""
PIECE = 16_384
"""Bytes of one read at most: what follows from them still lies in the processor's cache when it is written."""


async def drain(next_bytes: Callable[[], Awaitable[bytes]]) -> None:
    """Read a body to its end, if that is near; what follows a whole answer can take nothing from it."""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, httpx2.HTTPError):
        async with asyncio.timeout(NEAR):
            while await next_bytes():
                pass


def body_of(response: Any) -> Callable[[], Awaitable[bytes]]:
    """Return what awaits the next bytes of a body, b"" at its end.

    The SDK's transport hands them on through four generators; behind it is aiohttp's own reader, which is used when it
    is found.
    """
    if not plain(response):
        return partial(anext, response.iter_bytes(), b"")
    behind = getattr(getattr(response.http_response.stream, "_stream", None), "_aiohttp_response", None)
    if behind is None:
        return partial(anext, response.http_response.aiter_raw(), b"")
    read_any: Callable[[], Awaitable[bytes]] = partial(behind.content.read, PIECE)
    return read_any


def parsed(payloads: list[bytes]) -> Iterable[dict[str, Any]]:
    """Return the events: by one call of the parser for all, else one after the other, up to one that it does not take.

    Raises ValueError while they are read.
    """
    try:
        events: list[dict[str, Any]] = orjson.loads(b"[%b]" % b",".join(payloads))
    except orjson.JSONDecodeError:
        return map(parse, payloads)
    return events if len(events) == len(payloads) else map(parse, payloads)


def parse(data: bytes) -> dict[str, Any]:
    """Return one event. Raises ValueError for what is no JSON."""
    try:
        event: dict[str, Any] = orjson.loads(data)
    except orjson.JSONDecodeError:  # half a surrogate pair, say, which the standard parser takes
        try:
            event = json.loads(data.decode("utf-8", "replace"))
        except RecursionError:
            raise Unreadable("The upstream sent an event that is nested too deep to be read.") from None
    return event


def plain(response: Any) -> bool:
    """Whether the body's bytes are not compressed and need no decoding."""
    return bool(response.headers.get("content-encoding", "identity") == "identity")
