"""The contract's frames, from events and failures."""

from __future__ import annotations

import random
from typing import Any

import pytest

from claude_lab.contract import AGAIN, RESET, STATUS_OF, Translator, error_frame
from claude_lab.failure import KINDS, Failure
from claude_lab.messages import cut


def frames(*events: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Translate events that come one second apart."""
    translator = Translator("run", 0.0)
    stamped = [(float(at), event) for at, event in enumerate(events, 1)]
    return [frame for at, event in stamped for frame in translator.frames([event], lambda at=at: at)]


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
        ("tool", {"tool_id": "t1", "name": "weather", "input": {"city": "Oslo"}}),
        ("tool", {"tool_id": "t2", "name": "now", "input": {}}),
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


def start(**usage: int) -> dict[str, Any]:
    """Return the first event of a message of a model with a price."""
    return {"type": "message_start", "message": {"model": "claude-haiku-4-5", "usage": {"output_tokens": 1, **usage}}}


def test_the_start_tells_what_the_cache_gave() -> None:
    """Before the first token: `cached`, and the counts."""
    assert frames(start(input_tokens=3, cache_read_input_tokens=9))[0][1]["cached"] is True
    assert frames(start(input_tokens=3, cache_read_input_tokens=0))[0][1]["cached"] is False
    assert frames(start(input_tokens=3))[0][1]["cached"] is False


def test_a_whole_answer_has_its_cost_and_a_stopped_one_none() -> None:
    """The output of a stopped answer was never counted; its price would be made up."""
    translator = Translator("run", 0.0)
    translator.frames([start(input_tokens=1_000_000), delta(0, "text_delta", text="Hi")], lambda: 1.0)

    assert translator.done("stopped")[1]["cost"] is None
    (done,) = translator.frames(END, lambda: 2.0)
    assert done[1]["cost"] == pytest.approx(1.0 + 5 * 5 / 1e6)


def test_a_further_request_is_no_second_start_and_adds_up() -> None:
    """Inputs as told, the broken output as counted here, nested counts too; what a whole answer would not have cost."""
    told = {"cache_creation": {"ephemeral_5m_input_tokens": 4}}
    got = frames(
        {**START, "message": {**START["message"], "usage": {"input_tokens": 3, "output_tokens": 1, **told}}},
        delta(0, "text_delta", text="Hello wor"),
        {"type": AGAIN, "output_tokens": 2},
        {"type": RESET, "keep_chars": 5, "reason": "continued after a cut", "dropped": 1},
        {**START, "message": {**START["message"], "usage": {"input_tokens": 7, "output_tokens": 1, **told}}},
        delta(0, "text_delta", text=" world"),
        *END,
    )

    assert [kind for kind, _ in got] == ["start", "delta", "reset", "delta", "done"]
    assert got[2][1] == {"keep_chars": 5, "reason": "continued after a cut"}
    done = got[-1][1]
    assert done["usage"] == {
        "input_tokens": 10,
        "output_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 8},
    }
    assert (done["recoveries"], done["events"]) == (1, 6)
    assert done["billed_twice"] == {"input_tokens": 7, "output_tokens": 1}


def test_a_half_tool_call_is_forgotten_by_a_further_request() -> None:
    """Its pieces do not run into those of the next one, whatever its index."""
    piece = delta(1, "input_json_delta", partial_json='{"a": 1}')
    call = [block(1, "tool_use", id="t1", name="now"), piece]
    got = frames(START, *call, START, *call, {"type": "content_block_stop", "index": 1})

    assert [frame for kind, frame in got if kind == "tool"] == [{"tool_id": "t1", "name": "now", "input": {"a": 1}}]


def test_a_worker_that_takes_over_goes_on_with_the_accounts() -> None:
    """The `start` that was written stands; its usage is the first part of the sum, and its ttft is nobody's to tell."""
    written = [("start", {"run": "run", "model": "m", "usage": {"input_tokens": 3}}), ("delta", {"text": "Hi"})]
    translator = Translator.after("run", 0.0, written)
    got = translator.frames([START, delta(0, "text_delta", text="Hi"), *END], lambda: 1.0)

    assert [kind for kind, _ in got] == ["delta", "done"]
    assert (got[-1][1]["usage"]["input_tokens"], got[-1][1]["ttft"]) == (6, None)


def test_an_answer_that_was_left_says_why() -> None:
    """`recovery` is there when a broken answer was not mended, and nowhere else."""
    assert (
        error_frame(Failure("truncated"), recovery="It was not asked again.")[1]["recovery"]
        == "It was not asked again."
    )
    assert "recovery" not in error_frame(Failure("truncated"))[1]
