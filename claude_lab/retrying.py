"""Retries around the anthropic SDK: a call, a stream until its first piece, and a middleware; all by the one driver.

`failure_of` says what each error of the SDK, and of the transport below it, means. After the first piece of a stream
nothing is retried: a second try would repeat text that somebody has read.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar
from uuid import uuid4

import anthropic
import httpx2

from claude_lab.attempts import Attempts, Watch, drive, drive_blocking, log_attempt, pieces
from claude_lab.events import TooLong, Unreadable
from claude_lab.failure import Failure, failure_of_response
from claude_lab.retry import RetryPolicy, Share
from claude_lab.sse import EventTooLarge

T = TypeVar("T")


BROKEN = (
    json.JSONDecodeError,
    Unreadable,
    EventTooLarge,
    httpx2.RequestError,  # what is no TransportError: a body that cannot be decoded, redirects in a circle
    anthropic.APIResponseValidationError,
)
"""What an upstream raises that says what nobody can read."""


class Truncated(Exception):
    """A stream that ended without its last event, which the SDK lets pass in silence."""


class StreamInterrupted(Exception):
    """A stream that broke after its first piece: `partial` is what came, `failure` what happened."""

    def __init__(self, partial: str, failure: Failure) -> None:
        super().__init__(f"The stream broke ({failure.kind}) after {len(partial)} characters; they are in `partial`.")
        self.partial = partial
        self.failure = failure


class Refused(Exception):
    """An error response on its way through the middleware."""

    def __init__(self, response: Any, failure: Failure) -> None:
        super().__init__(failure.kind)
        self.response = response
        self.failure = failure


def failure_of(error: BaseException) -> Failure:
    """Return an error of the SDK, or of the transport below it, in the lab's words.

    Bare `httpx2` errors and `APIStatusError` with status 200 come from a stream that had begun.
    """
    said = str(error)
    if isinstance(error, (Refused, StreamInterrupted)):
        return error.failure
    if isinstance(error, anthropic.APIStatusError):
        return failure_of_response(error.status_code, error.response.headers, error.body)
    if isinstance(error, Truncated):
        return Failure("truncated", said, mid_stream=True)
    if isinstance(error, (anthropic.APITimeoutError, httpx2.TimeoutException, TimeoutError)):
        return Failure("timeout", said, mid_stream=isinstance(error, httpx2.TimeoutException))
    if isinstance(error, (anthropic.APIConnectionError, httpx2.TransportError)):
        return Failure("network_error", said, mid_stream=isinstance(error, httpx2.TransportError))
    if isinstance(error, BROKEN):
        return Failure("server_error", said, mid_stream=True)
    if isinstance(error, TooLong):
        return Failure("token_limit", said, mid_stream=True)
    return Failure("unknown", said, should_retry=True if isinstance(error, anthropic.RetryableError) else None)


async def call_with_retry(
    call: Callable[[], Awaitable[T]],
    policy: RetryPolicy | None = None,
    *,
    share: Share | None = None,
    watch: Watch = log_attempt,
    rand: Callable[[], float] = random.random,
) -> T:
    """Await `call()` until it succeeds or the policy gives up, then raise its own error.

    Pass the client `max_retries=0`: its hidden retries multiply with these.
    """
    return await drive(lambda number: call(), Attempts(RetryPolicy.of(policy), share, watch, rand), failure_of)


async def stream_with_retry(
    client: anthropic.AsyncAnthropic,
    policy: RetryPolicy | None = None,
    *,
    share: Share | None = None,
    watch: Watch = log_attempt,
    rand: Callable[[], float] = random.random,
    **request: Any,
) -> AsyncIterator[str]:
    """Yield the text of a streamed message, piece by piece, retried only before the first, and by this policy alone.

    Raises StreamInterrupted, with what came, when it breaks later; the SDK's own error when the policy gives up.
    """
    call, partial = f"call-{uuid4().hex}", ""

    async def opened(number: int) -> AsyncGenerator[str, None]:
        headers = {"x-claude-lab-call": call, "x-claude-lab-attempt": str(number)}
        ended, reason = False, None
        own = client.with_options(max_retries=0)
        asked = {**request, "extra_headers": {**request.get("extra_headers", {}), **headers}, "stream": True}
        async with await own.messages.create(**asked) as events:
            async for event in events:
                if event.type == "content_block_delta" and event.delta.type == "text_delta":
                    yield event.delta.text
                reason = event.delta.stop_reason if event.type == "message_delta" else reason
                ended = event.type == "message_stop"
        if not ended or reason is None:
            raise Truncated(f"The stream ended without {'a stop reason' if ended else 'message_stop'}.")

    came = pieces(opened, Attempts(RetryPolicy.of(policy), share, watch, rand), failure_of)
    async with aclosing(came):
        try:
            async for piece in came:
                partial += piece
                yield piece
        except Exception as error:
            if not partial:
                raise
            raise StreamInterrupted(partial, failure_of(error)) from error


def warn_of_hidden(max_retries: int) -> None:
    """Warn when the SDK retries on its own, beside a policy."""
    if max_retries:
        told = f"The client retries {max_retries} times on its own and multiplies the policy's attempts"
        warnings.warn(f"{told}; create it with max_retries=0.", stacklevel=3)


class RetryMiddleware(anthropic.Middleware):
    """Retries every request of a client by one policy, streams until their response has begun.

    `AsyncAnthropic(max_retries=0, middleware=[RetryMiddleware(policy)])`, or `RetryMiddleware(policy).on(client)`.
    The calls of one middleware share a budget and a pacer. Warns when the client's own retries were left on.
    """

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        *,
        watch: Watch = log_attempt,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self.policy = RetryPolicy.of(policy)
        self.share = self.policy.share()
        self.watch = watch
        self.rand = rand

    def on(self, client: Any) -> Any:
        """Return the client with this middleware outermost, and its own retries off."""
        return client.with_options(max_retries=0, middleware=[self, *client.middleware])

    def _attempts(self, request: anthropic.APIRequest) -> Attempts:
        if request.retries_taken:
            warn_of_hidden(request.retries_taken)
        return Attempts(self.policy, self.share, self.watch, self.rand)

    async def handle_async(self, request: anthropic.APIRequest, call_next: Any) -> Any:
        """Ask until the response is no error or the policy gives up; the last one's response goes on."""
        call = call_of(request)

        async def attempt(number: int) -> Any:
            response = await call_next(numbered(request, call, number))
            if response.status_code >= 400:
                raise refused(response, await response.http_response.aread())
            return response

        try:
            return await drive(attempt, self._attempts(request), failure_of)
        except Refused as last:
            return last.response

    def handle(self, request: anthropic.APIRequest, call_next: Any) -> Any:
        """Do the same for a blocking client."""
        call = call_of(request)

        def attempt(number: int) -> Any:
            response = call_next(numbered(request, call, number))
            if response.status_code >= 400:
                raise refused(response, response.http_response.read())
            return response

        try:
            return drive_blocking(attempt, self._attempts(request), failure_of)
        except Refused as last:
            return last.response


def refused(response: Any, body: bytes) -> Refused:
    """Return an error response as an exception: its body is read, so its connection is free."""
    return Refused(response, failure_of_response(response.status_code, response.http_response.headers, parsed(body)))


def call_of(request: anthropic.APIRequest) -> str:
    """Return the call's name: the one its headers give, else a new one."""
    return str(request.headers.get("x-claude-lab-call") or f"call-{uuid4().hex}")


def numbered(request: anthropic.APIRequest, call: str, number: int) -> anthropic.APIRequest:
    """Return the request with the call's name and the attempt's number, which a fake's chance goes by."""
    headers = {**request.headers, "x-claude-lab-call": call, "x-claude-lab-attempt": str(number)}
    return request.copy(headers=headers)


def parsed(body: bytes) -> Any:
    """Return a body's JSON, or None for a page."""
    try:
        return json.loads(body)
    except ValueError:
        return None
