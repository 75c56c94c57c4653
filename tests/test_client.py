"""The client: whatever a server sends, the trace says how it ended."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from claude_lab import client
from claude_lab.background import TransportProtocol, serve
from claude_lab.kinds import Error
from claude_lab.log import encode
from claude_lab.reading import Reading, sentence
from claude_lab.retry import RetryPolicy
from claude_lab.trace import Trace

WHOLE = [
    encode("start", {"run": "r", "model": "m", "usage": {}}, 1),
    encode("delta", {"text": "naïve "}, 2),
    encode("delta", {"text": "🌊"}, 3),
    encode("done", {"stop_reason": "end_turn", "usage": {"output_tokens": 2}, "ttft": 0.0, "events": 4}, 4),
]
QUICK = RetryPolicy(max_retries=2, base_delay=0.001, jitter="none")


def kinds(trace: Trace) -> list[str]:
    """Return the marks' kinds, without the reads."""
    return [mark.kind for mark in trace.marks if mark.kind != "chunk"]


def server(
    status: int, chunks: list[bytes], *, kind: str = "text/event-stream", cut: bool = False, hang: bool = False
) -> Any:
    """Return an app that sends just this."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind.encode())]})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if hang:
            await receive()
            await receive()
        if cut:
            scope["extensions"]["claude_lab.transport"].abort()
        await send({"type": "http.response.body", "body": b""})

    return app


def trace_of(app: Any, **options: Any) -> Trace:
    """Ask an app and return the trace."""
    with serve(app, protocol=TransportProtocol) as served:
        return asyncio.run(client.stream(served.url, {"message": "Hi"}, Trace(), **{"resume": QUICK, **options}))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_frames_are_read_whole_however_the_bytes_fall(size: int) -> None:
    """Cut anywhere, even inside a character, the trace is the same."""
    data, trace = b": ok\n\n" + b"".join(WHOLE), Trace()
    reading = Reading(trace)

    for at in range(0, len(data), size):
        reading.feed(data[at : at + size])

    assert kinds(trace) == ["start", "delta", "delta", "done"]
    assert (trace.text, trace.stop_reason, trace.usage) == ("naïve 🌊", "end_turn", {"output_tokens": 2})


def test_a_frame_that_comes_again_is_dropped() -> None:
    """After a resume the overlap is read once; a frame without an id always counts; unknown types are let pass."""
    trace = Trace()
    reading = Reading(trace)
    for data in (*WHOLE[:3], *WHOLE[1:3], b'data: {"type": "delta", "text": "!"}\n\n', b'data: {"type": "hint"}\n\n'):
        reading.feed(data)

    assert trace.text == "naïve 🌊!"


def test_a_whole_answer_ends_with_done() -> None:
    """Request, head, frames, in order, each stamped not before the last."""
    trace = trace_of(server(200, [b": ok\n\n", *WHOLE]))

    assert kinds(trace) == ["request", "head", "start", "delta", "delta", "done"]
    assert trace.error is None
    assert [mark.at for mark in trace.marks] == sorted(mark.at for mark in trace.marks)


@pytest.mark.parametrize("cut", [False, True])
def test_a_stream_without_its_final_frame_is_truncated(cut: bool) -> None:
    """Ended politely or broken off, what has no `done` was cut: the text stays, the error says so."""
    trace = trace_of(server(200, WHOLE[:3], cut=cut))

    assert trace.text == "naïve 🌊"
    assert trace.error is not None
    assert (trace.error["error"], trace.error["retryable"]) == ("truncated", True)


def test_a_break_after_the_final_frame_is_none() -> None:
    """What came was whole."""
    trace = trace_of(server(200, WHOLE, cut=True))

    assert (trace.error, trace.stop_reason) == (None, "end_turn")


def test_an_error_frame_is_kept_as_it_came() -> None:
    """An HTTP error with a frame as its body is that frame."""
    frame = {"error": "rate_limit", "message": "Too fast.", "retryable": True, "retry_after": 7.0}
    trace = trace_of(server(429, [encode("error", frame, 1)]))

    assert kinds(trace) == ["request", "head", "error"]
    assert trace.error is not None
    assert trace.error.items() >= frame.items()


@pytest.mark.parametrize(
    ("status", "body", "kind", "error", "said"),
    [
        (
            422,
            b'{"detail": [{"loc": ["body", "message"], "msg": "is empty"}]}',
            "application/json",
            "invalid_request",
            "body.message: is empty",
        ),
        (403, b'{"detail": "The origin may not ask."}', "application/json", "auth_error", "403: The origin may not"),
        (502, b"<html>Bad Gateway</html>", "text/html", "server_error", "<html>Bad Gateway"),
        (200, b"<html>Sign in</html>", "text/html", "unknown", "<html>Sign in"),
        (500, b"\xff\xfe", "application/octet-stream", "server_error", "500"),
    ],
)
def test_a_refusal_without_a_frame_is_told_in_a_sentence(
    status: int, body: bytes, kind: str, error: str, said: str
) -> None:
    """JSON details are read, pages are quoted; the status says whether asking again can help."""
    trace = trace_of(server(status, [body], kind=kind))

    assert trace.error is not None
    assert (trace.error["error"], trace.error["retryable"]) == (error, error == "server_error")
    assert said in trace.error["message"]


@pytest.mark.parametrize("blocking", [True, False])
def test_of_an_endless_refusal_the_beginning_is_read(blocking: bool) -> None:
    """A server that answers an error with bytes without end costs a megabyte, and the sentence stays short."""
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 400, "headers": []})
        while sent < 200 * client.MOST_BYTES and not scope["extensions"]["claude_lab.transport"].is_closing():
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            sent += 65536

    with serve(app, protocol=TransportProtocol) as served:
        answer = client.ask(served.url, "Hi", resume=QUICK)
        frames = list(answer) if blocking else asyncio.run(gathered(answer))

    assert isinstance(frames[-1], Error)
    assert (frames[-1].error, len(frames[-1].message) < 300) == ("invalid_request", True)
    assert sent < 100 * client.MOST_BYTES


async def gathered(answer: client.Answer) -> list[Any]:
    """Read an answer on a loop."""
    return [frame async for frame in answer]


def test_a_silent_server_is_a_timeout() -> None:
    """Nothing for `read_timeout` seconds ends the wait."""
    trace = trace_of(server(200, WHOLE[:2], hang=True), read_timeout=0.1)

    assert trace.error is not None
    assert (trace.error["error"], trace.text) == ("timeout", "naïve ")


def test_no_server_is_a_network_error() -> None:
    """A closed port raises nothing; the trace says it."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]

    trace = asyncio.run(client.stream(f"http://127.0.0.1:{port}", {"message": "Hi"}, Trace()))

    assert kinds(trace) == ["request", "error"]
    assert trace.error is not None
    assert trace.error["error"] == "network_error"
    assert trace.error["message"]


def test_hostile_details_are_quoted_not_trusted() -> None:
    """Whatever stands in a refusal's body, a sentence comes out."""
    for body in (b"", b"[]", b"null", b'{"detail": null}', b'{"detail": {"a": 1}}', b'{"detail": []}', b"\x00" * 9999):
        assert sentence(500, body).startswith("The server answered 500: ")
        assert len(sentence(500, body)) < 1500
    assert json.dumps(sentence(500, b"\xed\xa0\x80"))
