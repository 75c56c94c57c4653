"""The values in events: what is none is refused in words, and an account never costs the answer."""

from __future__ import annotations

from typing import Any

import pytest

from claude_lab.contract import Translator
from claude_lab.events import TooLong, Unreadable, input_of, readable, says

USAGE = {"input_tokens": 3, "output_tokens": 1, "cache_creation": {"ephemeral_5m_input_tokens": 2}, "service_tier": "x"}
START = {"type": "message_start", "message": {"model": "claude-haiku-5-5", "usage": USAGE}}
CALL = {"type": "tool_use", "id": "t", "name": "f"}
OPEN = {"type": "content_block_start", "index": 0, "content_block": CALL}
CLOSE = {"type": "content_block_stop", "index": 0}
STOP = {"type": "message_stop"}


def piece(text: str) -> dict[str, Any]:
    """Return a piece of the input of a tool."""
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": text}}


def end(reason: str, **usage: Any) -> dict[str, Any]:
    """Return the event that tells why an answer ended."""
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def told(*events: dict[str, Any], **options: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the frames of events."""
    return Translator("run", 0.0, **options).frames(events, lambda: 0.0)


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": -Infinity}', '{"a": 1e400}', '{"a"', "[" * 100_000])
def test_an_input_that_is_no_json_is_refused(text: str) -> None:
    """What Python would read beyond the standard could not be written again as JSON."""
    with pytest.raises(Unreadable, match="no JSON"):
        input_of([text])
    with pytest.raises(Unreadable, match="no JSON"):
        told(START, OPEN, piece(text), CLOSE, end("tool_use"), STOP)


def test_an_input_is_read_from_its_pieces() -> None:
    """Cut anywhere; none at all is an empty one."""
    assert input_of(['{"a"', ": [1.5, ", "2]}"]) == {"a": [1.5, 2]}
    assert input_of([""]) == {}


def test_a_call_that_ran_out_of_tokens_is_left_out() -> None:
    """The answer ends as the upstream says, and nobody is asked to run half a call."""
    frames = told(START, OPEN, piece('{"city": "Os'), CLOSE, end("max_tokens", output_tokens=5), STOP)

    assert [kind for kind, _ in frames] == ["start", "done"]
    assert frames[-1][1]["stop_reason"] == "max_tokens"


def test_the_input_of_tools_is_bounded() -> None:
    """It is held until it is whole, so it counts from its first piece on, that of all tools together."""
    another = {**OPEN, "index": 1}

    assert told(START, OPEN, piece("x" * 60), another, piece("x" * 40), most_bytes=100)
    with pytest.raises(TooLong, match="MAX_RUN_BYTES=100"):
        told(START, OPEN, piece("x" * 60), CLOSE, another, OPEN, piece("x" * 41), most_bytes=100)


@pytest.mark.parametrize("count", ["3", -1, 2.5, [], {"a": 1}])
def test_a_count_that_is_none_costs_the_account_and_not_the_answer(count: Any) -> None:
    """The answer ends whole; what it cost is not known."""
    wrong = told(START, end("end_turn", output_tokens=count), STOP)[-1][1]
    right = told(START, end("end_turn", output_tokens=3), STOP)[-1][1]

    assert (wrong["stop_reason"], wrong["cost"]) == ("end_turn", None)
    assert right["cost"] > 0


def test_a_usage_keeps_what_can_be_counted() -> None:
    """Words and nested counts stay, also what is not given; wrong numbers of tokens go, however deep."""
    wrong = {"cache_creation": {"ephemeral_5m_input_tokens": "2"}, "output_tokens": "x"}

    assert readable({**USAGE, "cache_read_input_tokens": None}) == {**USAGE, "cache_read_input_tokens": None}
    assert readable(wrong) == {"cache_creation": {}}


@pytest.mark.parametrize(
    ("delta", "grows"),
    [
        ({"type": "text_delta", "text": "a"}, True),
        ({"type": "thinking_delta", "thinking": "a"}, True),
        ({"type": "input_json_delta", "partial_json": "{"}, True),
        ({"type": "text_delta", "text": ""}, False),
        ({"type": "input_json_delta", "partial_json": ""}, False),
        ({"type": "signature_delta", "signature": "a"}, False),
        ({"type": "brand_new_delta", "text": "a"}, False),
    ],
)
def test_content_is_what_an_answer_grows_by(delta: dict[str, Any], grows: bool) -> None:
    """Everything else may come for ever."""
    assert says({"type": "content_block_delta", "delta": delta}) is grows
