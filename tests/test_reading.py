"""One answer over as many connections as it takes: the shared vectors, cut at every byte."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from claude_lab import sse
from claude_lab.failure import Failure
from claude_lab.kinds import RUN, Error, Resume
from claude_lab.reading import Reading
from claude_lab.retry import RetryPolicy

VECTORS = json.loads((Path(__file__).parent / "vectors" / "reader.json").read_text("utf-8"))
for each in VECTORS["events"]:
    if "fill" in each:  # a long line, not spelled out in the file
        long = "é" * each["fill"]
        each["text"] = each["text"].replace("<fill>", long)
        each["events"] = [[data.replace("<fill>", long) for data in event] for event in each["events"]]
POLICY = RetryPolicy(max_retries=3, base_delay=1.0, max_delay=8.0, jitter="equal")
CUT = Failure("truncated", "The connection broke.")
SILENT = Failure("timeout", "Nothing came.")


def vectors(kind: str) -> Any:
    """Run a test with each vector of a kind."""
    return pytest.mark.parametrize("vector", VECTORS[kind], ids=lambda vector: vector["name"].replace(" ", "_"))


def data_of(vector: dict[str, Any]) -> bytes:
    """Return a vector's bytes."""
    data = base64.b64decode(vector["base64"]) if "base64" in vector else vector["text"].encode()
    return data * vector.get("times", 1)


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Yield the bytes in two pieces, cut at every place, and one by one; an empty read stands at each cut."""
    for at in range(len(data) + 1):
        yield [data[:at], b"", data[at:]]
    yield [bytes([byte]) for byte in data]


def test_the_vectors_are_many_and_their_names_differ() -> None:
    """At least sixty of events and thirty of frames, each told apart."""
    names = [vector["name"] for kind in ("events", "frames", "sessions") for vector in VECTORS[kind]]

    assert len(names) == len(set(names))
    assert (len(VECTORS["events"]) >= 60, len(VECTORS["frames"]) >= 30) == (True, True)


@vectors("events")
def test_events_are_the_standards_wherever_the_bytes_are_cut(vector: dict[str, Any]) -> None:
    """Data, type and id of every event, the id to come back with, and the retry time."""
    expected = [sse.Event(*event) for event in vector["events"]], vector.get("last_id", ""), vector.get("retry")

    for pieces in cuts(data_of(vector)):
        decoder = sse.Decoder()
        events = [event for piece in pieces for event in decoder.feed(piece)]

        assert (events, decoder.last_event_id, decoder.retry_ms) == expected, pieces


@vectors("frames")
def test_frames_are_the_contracts_wherever_the_bytes_are_cut(vector: dict[str, Any]) -> None:
    """Types, text, thinking, end, last id, and whether the stream was damaged."""
    for pieces in cuts(data_of(vector)):
        reading = Reading()
        frames = [frame for piece in pieces for frame in reading.feed(piece)]
        last = reading.trace.last("done", "error")

        assert [type(frame).__name__.lower() for frame in frames] == vector["frames"], pieces
        assert reading.trace.text == vector["said"]
        assert reading.trace.thinking == vector.get("thought", "")
        assert (last.kind if last else None) == vector["ended"]
        assert (reading.last_id, reading.moved, bool(reading.damage)) == (
            vector.get("last_id"),
            vector.get("moved"),
            vector.get("damaged", False),
        )


@vectors("sessions")
def test_an_answer_is_read_over_several_connections(vector: dict[str, Any]) -> None:
    """What is asked each time, how long is waited, what was said, and how it ended."""
    reading = Reading(run="r", policy=POLICY, stopping=lambda: vector.get("stopping", False))
    asked, waits, then = [], [], None
    for connection in vector["connections"]:
        method, path, headers = reading.request()
        asked.append([method, headers.get("last-event-id")])
        assert path == ("/chat/stream" if method == "POST" else "/chat/stream/r")
        then = reading.lost(listen(reading, connection), now=0.0, rand=lambda: 0.5)
        if isinstance(then, Resume):
            waits.append(then.wait)

    last = reading.trace.last("done", "error")
    assert asked == [connection["asks"] for connection in vector["connections"]]
    assert waits == vector["waits"]
    assert reading.trace.text == vector["said"]
    assert last is not None
    assert (last.value["error"] if last.kind == "error" else "done") == vector["ended"]
    assert reading.ended
    assert not isinstance(then, Resume)


def listen(reading: Reading, connection: dict[str, Any]) -> Failure | None:
    """Play one connection to a reading and return how it ended, None for politely."""
    status, body = connection.get("status", 200), data_of(connection)
    usual = "text/event-stream" if status == 200 else "application/json"
    headers = {"content-type": connection.get("type", usual), RUN: connection.get("run", "r")}
    if after := connection.get("retry_after"):
        headers["retry-after"] = after
    if status is None:
        return Failure("network_error", "The connection broke.")
    if not reading.head(status, headers):
        return reading.refuse(status, headers, body)
    reading.feed(body)
    return {"clean": None, "broken": CUT, "silent": SILENT}[connection["ends"]]


def test_every_cut_answer_ends_with_one_error_that_says_so() -> None:
    """The error is the last frame, says what happened and why nobody came back, and is told once."""
    reading = Reading(run=None, policy=POLICY)
    reading.head(200, {"content-type": "text/event-stream"})

    end = reading.lost(CUT, now=0.0, rand=lambda: 0.0)

    assert isinstance(end, Error)
    assert end.message.startswith("The connection broke. What came is not the whole answer: the server named no run")
    assert reading.lost(CUT, now=0.0, rand=lambda: 0.0) is None
