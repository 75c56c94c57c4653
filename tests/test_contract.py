"""The contract's frames, from events and failures."""

from __future__ import annotations

import random
from typing import Any

import pytest

from claude_lab.contract import STATUS_OF, Translator, error_frame
from claude_lab.failure import KINDS, Failure
from claude_lab.messages import cut


def frames(*events: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Translate events that come one second apart."""
    translator = Translator("run", 0.0)
    return [frame for at, event in enumerate(events, 1) for frame in translator.frames([event], float(at))]


def block(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    """Return the start of a content block."""
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    """Return a delta of a content block."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


START = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 3, "cache_read_input_tokens": 9}}}
END = [
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 5, "input_tokens": None},
    },
    {"type": "message_stop"},
]


def test_an_answer_becomes_start_deltas_and_done() -> None:
    """`start` names run, model and usage; `done` has the whole usage, the time to the first text and the events."""
    got = frames(START, block(0, "text"), {"type": "ping"}, delta(0, "text_delta", text="Hi"), *END)

    usage = {"input_tokens": 3, "cache_read_input_tokens": 9, "output_tokens": 5}
    assert [kind for kind, _ in got] == ["start", "delta", "done"]
    assert (got[0][1]["run"], got[0][1]["model"]) == ("run", "m")
    assert got[1][1] == {"text": "Hi"}
    assert got[2][1] == {"stop_reason": "end_turn", "usage": usage, "cost": None, "ttft": 4.0, "events": 6}


def test_a_tool_call_becomes_one_frame_with_its_whole_input() -> None:
    """Pieces of JSON are collected; a call without arguments has an empty input."""
    pieces = [delta(1, "input_json_delta", partial_json=piece) for piece in ("", '{"ci', 'ty": "Oslo"}')]
    got = frames(
        START,
        block(1, "tool_use", id="t1", name="weather"),
        *pieces,
        {"type": "content_block_stop", "index": 1},
        block(2, "tool_use", id="t2", name="now"),
        {"type": "content_block_stop", "index": 2},
    )

    assert got[1:] == [
        ("tool", {"id": "t1", "name": "weather", "input": {"city": "Oslo"}}),
        ("tool", {"id": "t2", "name": "now", "input": {}}),
    ]


def test_thinking_is_kept_apart_and_unknown_things_are_let_pass() -> None:
    """Thinking has frames of its own; events and deltas of unknown types make none."""
    got = frames(
        delta(0, "thinking_delta", thinking="hm"),
        delta(0, "thinking_delta", thinking=""),
        delta(0, "signature_delta", signature="x"),
        delta(0, "mood_delta", mood="calm"),
        {"type": "content_block_hint", "index": 0},
        {"type": "content_block_stop", "index": 0},
    )

    assert got == [("thinking", {"text": "hm"})]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_failure_has_a_status_and_a_sentence(kind: str) -> None:
    """An error frame always has kind, message and whether asking again can help; its status is an error's."""
    name, frame = error_frame(Failure(kind))

    assert (name, frame["error"], bool(frame["message"])) == ("error", kind, True)
    assert isinstance(frame["retryable"], bool)
    assert {"retry_after", "request_id"}.isdisjoint(frame)
    assert 400 <= STATUS_OF[kind] < 600


def test_an_error_frame_passes_on_what_the_upstream_told() -> None:
    """Seconds to wait and the request's id go along."""
    _, frame = error_frame(Failure("rate_limit", "Too fast.", status=429, retry_after=2.5, request_id="req_1"))

    assert (frame["retry_after"], frame["request_id"], frame["message"]) == (2.5, "req_1", "Too fast.")


def test_whatever_the_cut_the_text_is_the_same() -> None:
    """The deltas of the frames join to the answer, however it was cut into pieces."""
    text = "Streams of 🌊 text, naïve and 漢字, one by one."
    for seed in range(50):
        pieces = cut(text, random.Random(seed).random)
        got = frames(START, *(delta(0, "text_delta", text=piece) for piece in pieces), *END)
        assert "".join(frame["text"] for kind, frame in got if kind == "delta") == text
