"""One answer through many routes at once."""

from __future__ import annotations

import json
from itertools import accumulate

import pytest
from conftest import need, soon
from origin import CHUNKED, LAST, Origin, chunk, origin

from claude_lab.buffering import predict, schedule
from claude_lab.course import ask_through, passed, send_through
from claude_lab.rule import Rule

EVENTS = schedule(120, every=0.004, size_bytes=94)
OLD, DIRECT, NEW = Rule(), Rule(buffering=False), Rule.preset("nginx-1.30")


def chunks(traces: object) -> list[int]:
    """Return the bytes of each read."""
    return [mark.value for mark in traces.of("chunk")]  # type: ignore[attr-defined]


def test_all_routes_get_the_same_answer_on_one_clock() -> None:
    """Everything arrives everywhere; what differs is when."""
    traces = send_through({"direct": None, "stairs": OLD, "unbuffered": DIRECT, "https": NEW.but(tls=True)}, EVENTS)

    assert list(traces) == ["sent", "direct", "stairs", "unbuffered", "https"]
    assert {trace.text for trace in traces.values()} == {traces["sent"].text}
    assert all(passed(traces["sent"], trace).lost_bytes == 0 for trace in traces.values())


def test_a_live_view_is_given_every_trace_before_it_begins() -> None:
    """With its label; the marks come later, to the listeners."""
    seen = []
    send_through({"direct": None}, EVENTS[:3], watching=lambda label, trace: seen.append((label, len(trace.marks))))

    assert seen == [("sent", 0), ("direct", 0)]


def test_the_stairs_are_those_that_were_predicted() -> None:
    """The same steps of bytes, whether a rule is played or only read."""
    head = len(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
    seen = send_through({"stairs": OLD}, EVENTS)["stairs"]

    steps = chunks(seen)
    assert steps[:2] == [4096 - head, 4096]
    assert len(steps) == len(list(predict(OLD, EVENTS).of("chunk")))


def test_a_held_stream_shows_in_the_measures() -> None:
    """The stairs' first event takes a large share of the stream; unbuffered it takes almost none."""
    traces = send_through({"stairs": OLD, "unbuffered": DIRECT}, EVENTS)
    stairs, direct = (passed(traces["sent"], traces[label]) for label in ("stairs", "unbuffered"))

    assert stairs.first_share > 0.25 > 5 * direct.first_share
    assert stairs.longest_hold > 5 * direct.hold


@pytest.mark.parametrize(("ending", "lost"), [("close", 0), ("reset", 1904)])
def test_a_reset_loses_what_stairs_hold(ending: str, lost: int) -> None:
    """6,000 bytes written; a reset takes along what was in the buffer, a close does not."""
    head = len(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
    events = schedule(60, every=0.001, size_bytes=100)
    traces = send_through({"stairs": OLD}, events, ending=ending)  # type: ignore[arg-type]

    assert passed(traces["sent"], traces["stairs"]).lost_bytes == (lost + head if lost else 0)
    assert (traces["stairs"].error is not None) == (ending == "reset")


def test_the_real_nginx_gives_the_same_steps() -> None:
    """Embedded and real: the same bytes in each stair, and as many TLS records; after a pause a read takes several."""
    need("nginx", "/usr/sbin/nginx")
    pytest.importorskip("trustme")
    routes = {"stairs": OLD, "https": Rule(http_version="1.1", tls=True, record_size=4096)}
    ours = {label: chunks(trace) for label, trace in send_through(routes, EVENTS).items()}

    def same() -> bool:
        real = {label: chunks(trace) for label, trace in send_through(routes, EVENTS, real=True).items()}
        assert set(accumulate(real["stairs"])) <= set(accumulate(ours["stairs"]))
        records = len(real["https"]), len(ours["https"])  # chunk framing shares the records: no exact bytes
        return real["stairs"] == ours["stairs"] and records[0] == records[1]

    assert soon(same)


def test_one_question_goes_to_several_addresses() -> None:
    """Frames of the server's contract become deltas and their own marks."""

    async def server(served: Origin, writer: object) -> None:
        frames = [{"type": "start"}, {"type": "delta", "text": "Hi"}, {"type": "done", "stop_reason": "end_turn"}]
        events = b"".join(chunk(b"data: " + json.dumps(frame).encode() + b"\n\n") for frame in frames)
        writer.write(CHUNKED + events + LAST)  # type: ignore[attr-defined]

    watched = []
    with origin(server) as served:  # type: ignore[arg-type]
        urls = {"a": served.url, "b": served.url}
        traces = ask_through(urls, {"message": "hello"}, watching=lambda label, trace: watched.append(label))

    assert [trace.text for trace in traces.values()] == ["Hi", "Hi"]
    assert [trace.stop_reason for trace in traces.values()] == ["end_turn", "end_turn"]
    assert watched == ["a", "b"]
    assert served.requests[0].endswith(b'{"message": "hello"}')


def test_an_address_that_does_not_answer_is_an_error_in_its_trace() -> None:
    """The others go on."""
    trace = ask_through({"nobody": "http://127.0.0.1:9"}, {"message": "hello"})["nobody"]

    assert trace.error is not None
    assert trace.error["error"] == "network_error"


def test_jupyters_proxy_streams_for_one_header_only() -> None:
    """One route holds everything for a client that accepts anything, and nothing for one that asks for a stream."""
    route, events = {"jupyter": Rule.preset("jupyter-server-proxy")}, schedule(20, every=0.005)

    anything = send_through(route, events, accept="*/*")["jupyter"]
    stream = send_through(route, events)["jupyter"]

    assert len(chunks(anything)) == 1 < len(chunks(stream))
