"""The client: asks a lab's server with httpx and writes what arrives, when, into a trace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from claude_lab import sse
from claude_lab.trace import Trace

ACCEPT = "text/event-stream"
FRAMES = frozenset({"start", "retry", "thinking", "delta", "tool", "reset", "moved", "done", "error"})


@dataclass(slots=True)
class Reading:
    """Writes one stream's bytes into a trace, each frame once, however often it comes."""

    trace: Trace
    decoder: sse.Decoder = field(default_factory=sse.Decoder)
    seen: tuple[int, int] = (0, 0)

    def feed(self, chunk: bytes) -> None:
        """Take one read's bytes."""
        self.trace.add("chunk", len(chunk))
        for event in self.decoder.feed(chunk):
            frame = json.loads(event.data)
            kind = frame.get("type")
            if kind in FRAMES and self._is_new(frame.get("id")):
                self.trace.add(kind, frame["text"] if kind in ("delta", "thinking") else frame)

    def _is_new(self, event_id: str | None) -> bool:
        """Whether the frame's id is beyond the last one; a frame without one is."""
        if event_id is None:
            return True
        epoch, _, seq = event_id.partition("-")
        place = int(epoch), int(seq)
        if place <= self.seen:
            return False
        self.seen = place
        return True


async def stream(
    url: str,
    body: Mapping[str, Any],
    trace: Trace,
    *,
    run: str | None = None,
    token: str | None = None,
    read_timeout: float = 60.0,
) -> Trace:
    """Ask `{url}/chat/stream` and return the trace when the stream has ended, one way or another.

    A stream that ends without a final frame gets an `error` mark, `truncated`; a server that cannot be reached, or
    that falls silent for `read_timeout` seconds, `network_error` or `timeout`; a refusal without a frame,
    `invalid_request`. Nothing is raised for them.
    """
    headers = {"accept": ACCEPT}
    if run is not None:
        headers["x-claude-lab-run"] = run
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    trace.add("request", dict(body))
    timeout = httpx.Timeout(read_timeout, connect=10.0)
    try:
        async with httpx.AsyncClient(timeout=timeout, trust_env=False) as http:
            async with http.stream("POST", f"{url}/chat/stream", json=dict(body), headers=headers) as response:
                await read(response, trace)
    except httpx.TimeoutException:
        fail(trace, "timeout", f"Nothing came for {read_timeout} seconds.")
    except httpx.HTTPError as error:
        begun = trace.last("head") is not None
        told = f"The connection broke ({type(error).__name__}) before the answer ended." if begun else str(error)
        fail(trace, "truncated" if begun else "network_error", told)
    return trace


async def read(response: httpx.Response, trace: Trace) -> None:
    """Write a response into the trace."""
    trace.add("head", response.status_code)
    if not response.headers.get("content-type", "").startswith(ACCEPT):
        fail(trace, "invalid_request", sentence(response.status_code, await response.aread()))
        return
    reading = Reading(trace)
    async for chunk in response.aiter_raw():
        reading.feed(chunk)
    if not trace.ended:
        fail(trace, "truncated", "The stream ended without its final frame; what came is not the whole answer.")


def fail(trace: Trace, kind: str, message: str) -> None:
    """Add an `error` mark, unless the stream had ended already."""
    if not trace.ended:
        trace.add("error", {"error": kind, "message": message, "retryable": kind != "invalid_request"})


def sentence(status: int, body: bytes) -> str:
    """Return what a refusal says: FastAPI's detail, or the beginning of a page."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return f"The server answered {status}: {body[:200].decode('utf-8', 'replace')!r}."
    if isinstance(detail, list):
        detail = "; ".join(f"{'.'.join(map(str, item.get('loc', ())))}: {item.get('msg')}" for item in detail)
    return f"The server answered {status}: {detail}"
