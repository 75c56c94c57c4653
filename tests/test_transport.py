"""The in-memory transports, with the real SDK on virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from claude_lab import clock
from claude_lab.background import TRANSPORT
from claude_lab.clock import run_virtual
from claude_lab.transport import Answer, PlayedTransport, StreamingASGI

START = {
    "type": "message_start",
    "message": {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    },
}


def event(**fields: Any) -> bytes:
    """One Messages API event as bytes."""
    return f"event: {fields['type']}\ndata: {json.dumps(fields)}\n\n".encode()


OPENING = event(**START) + event(type="content_block_start", index=0, content_block={"type": "text", "text": ""})
CLOSING = (
    event(type="content_block_stop", index=0)
    + event(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3})
    + event(type="message_stop")
)


def delta(text: str) -> bytes:
    """One piece of text as bytes."""
    return event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": text})


STEPS = [(1.0, OPENING), (0.5, delta("a")), (2.0, delta("b")), (0.25, CLOSING)]


async def read(transport: httpx2.AsyncBaseTransport, **options: Any) -> list[tuple[float, str]]:
    """Stream one answer through the real SDK: (time, text) per piece."""
    from anthropic import AsyncAnthropic

    seen = []
    http = httpx2.AsyncClient(transport=transport)
    async with AsyncAnthropic(api_key="sk-lab", base_url="http://fake", http_client=http, **options) as claude:
        ask = {"max_tokens": 9, "model": "claude-haiku-5-5", "messages": [{"role": "user", "content": "Hello?"}]}
        try:
            async with claude.messages.stream(**ask) as stream:
                async for text in stream.text_stream:
                    seen.append((clock.now(), text))
        except Exception as error:
            seen.append((clock.now(), type(error).__name__))
    return seen


def played(*answers: Answer) -> PlayedTransport:
    """Play these answers, one a request."""
    queue = iter(answers)
    return PlayedTransport(lambda request: next(queue))


def app_of(steps: list[tuple[float, bytes]], end: str = "complete") -> Any:
    """An ASGI app that sends the steps, then ends as told."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for delay, data in steps:
            await asyncio.sleep(delay)
            await send({"type": "http.response.body", "body": data, "more_body": True})
        if end == "hang":
            assert (await receive())["type"] == "http.disconnect"
        elif end == "complete":
            await send({"type": "http.response.body", "body": b""})
        else:
            line = scope["extensions"][TRANSPORT]
            line.abort() if end == "rst" else line.close()

    return app


BOTH = pytest.mark.parametrize(
    "make", [lambda steps, end: played(Answer(steps=steps, end=end)), lambda *how: StreamingASGI(app_of(*how))]
)


@BOTH
def test_each_piece_arrives_at_its_own_time(make: Any):
    """The SDK sees the deltas when they are sent, not when the body is complete."""
    assert run_virtual(read(make(STEPS, "complete"))) == [(1.5, "a"), (3.5, "b")]


@BOTH
@pytest.mark.parametrize(("end", "name"), [("fin", "RemoteProtocolError"), ("rst", "ReadError")])
def test_a_cut_in_the_middle_is_a_bare_transport_error(make: Any, end: str, name: str):
    """After the first byte the SDK neither retries nor wraps: the transport's own error arrives."""
    assert run_virtual(read(make(STEPS[:2], end))) == [(1.5, "a"), (1.5, name)]


@BOTH
def test_silence_ends_at_the_read_timeout(make: Any):
    """A stream that hangs raises ReadTimeout at exactly the client's limit."""
    seen = run_virtual(read(make(STEPS[:2], "hang"), timeout=httpx2.Timeout(600.0)))

    assert seen == [(1.5, "a"), (601.5, "ReadTimeout")]


@BOTH
def test_a_clean_end_without_message_stop_raises_nothing(make: Any):
    """The SDK takes a truncated answer for a whole one; whoever reads must look at the stop reason."""
    assert run_virtual(read(make(STEPS[:3], "complete"))) == [(1.5, "a"), (3.5, "b")]


def test_the_sdk_sleeps_its_own_retries_in_virtual_time():
    """Two refusals with `retry-after: 3600` cost two virtual hours and no real time."""
    refusal = Answer(429, {"retry-after": "3600"}, [(0.0, b"{}")])

    seen = run_virtual(read(played(refusal, refusal, Answer(steps=STEPS))))

    assert seen == [(7201.5, "a"), (7203.5, "b")]


def test_a_slow_head_times_out_and_is_retried():
    """Before the head the SDK treats a timeout as a connection error and asks again."""
    seen = run_virtual(read(played(Answer(head_after=700), Answer(steps=STEPS)), timeout=httpx2.Timeout(10.0)))

    assert [text for _, text in seen] == ["a", "b"]
    assert 10 < seen[0][0] < 13


def test_an_app_that_fails_before_its_start_is_seen():
    """The app's own error reaches the caller of the transport."""

    async def broken_app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("lost")

    async def ask() -> None:
        async with httpx2.AsyncClient(transport=StreamingASGI(broken_app)) as http:
            await http.get("http://fake/")

    with pytest.raises(LookupError, match="lost"):
        run_virtual(ask())


def test_fastapi_streams_through_it():
    """A FastAPI app's streaming response arrives piece by piece."""
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    @app.get("/")
    async def root() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            for number in range(3):
                await asyncio.sleep(10)
                yield b"%d" % number

        return StreamingResponse(pieces())

    async def ask() -> list[tuple[float, bytes]]:
        async with httpx2.AsyncClient(transport=StreamingASGI(app)) as http:
            async with http.stream("GET", "http://fake/", timeout=60) as response:
                return [(clock.now(), piece) async for piece in response.aiter_raw()]

    assert run_virtual(ask()) == [(10, b"0"), (20, b"1"), (30, b"2")]
