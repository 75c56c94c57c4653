from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from claude_lab.trace import Mark, Trace
from claude_lab.utf16 import units
from claude_lab.wire import Wire


class Reader:
    """What the browser does with the messages, in Python: appends where the offsets agree."""

    def __init__(self) -> None:
        self.raw = b""
        self.thinking = ""
        self.deltas = 0
        self.end: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """The text so far."""
        return self.raw.decode("utf-16-le")

    def take(self, message: dict[str, Any]) -> None:
        """Append, cut back or replace, as the message says."""
        message = json.loads(json.dumps(message))
        if message["kind"] == "all":
            self.raw, self.thinking, self.deltas = b"", "", 0
        elif "keep" in message:
            self.raw = self.raw[: 2 * message["keep"]]
        assert message.get("from", len(self.raw) // 2) == len(self.raw) // 2
        self.thinking += message.get("thinking", "")
        self.raw += message.get("text", "").encode("utf-16-le")
        self.deltas += sum(message.get("ticks", [])[1::2])


steps = st.lists(
    st.one_of(
        st.tuples(st.just("delta"), st.text(max_size=12)),
        st.tuples(st.just("thinking"), st.text(max_size=4)),
        st.tuples(st.just("reset"), st.integers(0, 30)),
    ),
    max_size=40,
)


@given(steps, st.integers(1, 7))
def test_what_is_read_is_what_was_written(plan: list[tuple[str, Any]], batch: int) -> None:
    """Whatever the batches and the seams between them, the reader ends with the trace's text and its deltas."""
    trace, wire, reader = Trace(), Wire(), Reader()
    for i, (kind, value) in enumerate(plan):
        trace.add(kind, {"keep_chars": value} if kind == "reset" else value, at=i / 100)

    for start in range(0, len(trace.marks), batch):
        for message in wire.feed(trace.marks[start : start + batch]):
            reader.take(message)

    assert reader.text == trace.text
    assert reader.thinking == trace.thinking
    assert reader.deltas == len(trace.arrivals)
    assert wire.end(trace)["units"] == units(trace.text)


def test_a_lost_frame_is_healed_by_a_keyframe() -> None:
    """A reader that missed frames has all the text again once it has doubled."""
    wire, reader = Wire(), Reader()
    marks = [Mark(i / 100, "delta", "word ") for i in range(4000)]
    messages = [message for i in range(0, 4000, 10) for message in wire.feed(marks[i : i + 10])]
    keyframes = [i for i, message in enumerate(messages) if message["kind"] == "all"]

    for message in messages[keyframes[-1] :]:
        reader.take(message)

    assert len(keyframes) == 3
    assert reader.text == "word " * 4000


def test_bytes_grow_with_the_text_and_not_with_its_square() -> None:
    """Four times the tokens cost about four times the bytes."""
    sizes = {}
    for tokens in (2_000, 8_000):
        wire = Wire()
        marks = [Mark(i / 500, "delta", "word ") for i in range(tokens)]
        messages = [message for i in range(0, tokens, 16) for message in wire.feed(marks[i : i + 16])]
        sizes[tokens] = len(json.dumps(messages))

    assert sizes[8_000] < 5 * sizes[2_000]


def test_a_burst_is_one_small_message() -> None:
    """Ten thousand deltas that arrive at once travel in one message, with one tick."""
    (message,) = Wire().feed([Mark(1.0, "delta", "word ") for _ in range(10_000)])

    assert message["ticks"] == [1000, 10_000]
    assert len(json.dumps(message)) < 51_000
