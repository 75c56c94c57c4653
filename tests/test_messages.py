"""Messages: events in order, bodies of errors, and the bytes made of both."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_lab import answers, frames, messages, tokens
from claude_lab.messages import STATUS_OF, TYPE_OF, Reply, Text, Thinking, ToolUse, Usage, cut, error_body
from claude_lab.sse import Decoder

BLOCKS: dict[str, tuple[messages.Block, ...]] = {
    "text": (Text(("Hello ", "wörld 🌤️ ", "\u2028 end")),),
    "thinking": (Thinking(("hm",), "sig"), Text(("So.",))),
    "omitted": (Thinking((), "sig"), Text(("So.",))),
    "tool": (ToolUse("toolu_1", "look", {"place": "Zürich", "n": [1, 2]}),),
    "cited": (Text(("So.",), ({"type": "char_location", "cited_text": "a"},)),),
    "nothing": (),
}


def reply_of(kind: str) -> Reply:
    """A reply with these blocks."""
    return Reply("msg_1", "m", BLOCKS[kind], Usage(10, 20, 3, 2, 1, 5))


@pytest.mark.parametrize("kind", BLOCKS)
def test_bytes_are_the_events(kind: str) -> None:
    """The prebuilt frames, read by the standard, are the events of the reply, named by their types."""
    reply = reply_of(kind)
    read = Decoder().feed(b"".join(each.data for each in frames.frames(reply)))

    assert [json.loads(each.data) for each in read] == list(reply.events())
    assert [each.event for each in read] == [event["type"] for event in reply.events()]


@pytest.mark.parametrize("kind", BLOCKS)
def test_the_deltas_add_up_to_the_message(kind: str) -> None:
    """Joined, the deltas of each block are the block of the whole message."""
    reply = reply_of(kind)
    events = list(reply.events())
    texts = [event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta"]
    pieces = [event["delta"].get("partial_json", "") for event in events if event["type"] == "content_block_delta"]

    assert "".join(texts) == "".join(block.get("text", "") for block in reply.message()["content"])
    for block in reply.message()["content"]:
        if block["type"] == "tool_use":
            assert json.loads("".join(pieces)) == block["input"]


def test_padding_stays_inside_the_json() -> None:
    """A padded event is the same JSON with spaces before its last brace; `ping` is left alone."""
    for each in frames.frames(reply_of("text")):
        padded = frames.pad(each, 5)
        if each.data is frames.PING:
            assert padded == each
        else:
            assert padded.data.endswith(b"     }\n\n")
            assert Decoder().feed(padded.data)[0].event == Decoder().feed(each.data)[0].event
            assert json.loads(padded.data.split(b"data: ")[1]) == json.loads(each.data.split(b"data: ")[1])


def test_usage_adds_up() -> None:
    """The cache's two lifetimes sum to what was written, in both places where usage is told."""
    usage = Usage(10, 20, 3, 2, 1, 5)

    assert usage.start()["cache_creation_input_tokens"] == 3
    assert usage.delta()["output_tokens_details"] == {"thinking_tokens": 5}
    assert "output_tokens_details" not in Usage(1).delta()


def test_the_tables_agree() -> None:
    """Each error type has a status that leads back to it, and every status has a type."""
    assert all(TYPE_OF[status] == kind for kind, status in STATUS_OF.items())
    assert set(TYPE_OF.values()) <= set(STATUS_OF)


def test_an_error_body_has_what_it_was_given() -> None:
    """Request id and error code appear where they are known, and nowhere else."""
    told = error_body("rate_limit_error", "Slow down", "req_1", error_code="ramp_limit_exceeded", limit=5)

    assert told["error"]["details"] == {"error_code": "ramp_limit_exceeded", "limit": 5}
    assert error_body("api_error", "Oops") == {"type": "error", "error": {"type": "api_error", "message": "Oops"}}


@given(st.text(max_size=200), st.integers(1, 5), st.integers())
def test_cuts_join_to_the_text(text: str, most: int, seed: int) -> None:
    """However it is cut, joined it is the text, no piece is empty, and none is larger than asked."""
    pieces = cut(text, random.Random(seed).random, most=most)

    assert "".join(pieces) == text
    assert all(tokens.count(piece) > 0 for piece in pieces)
    assert cut(text) == list(tokens.split(text))


@given(st.text(max_size=300))
def test_tokens_join_to_the_text(text: str) -> None:
    """Tokens are whole code points, none is empty, and joined they are the text."""
    assert "".join(tokens.split(text)) == text
    assert tokens.count(text) <= max(1, len(text)) or not text


def test_long_texts_are_counted_by_their_beginning() -> None:
    """Beyond the sample a text counts in proportion, and counting twice as much counts twice."""
    text = "word " * 100_000

    assert tokens.count(text) == pytest.approx(100_000, rel=0.01)


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("How does streaming work?", answers.STREAMING),
        ("What should I retry after a 429?", answers.RETRYING),
        ("Why does nginx hold my tokens?", answers.BUFFERING),
        ("Why is the sky blue?", answers.SKY),
        ("Hello!", answers.HELLO),
        ("Tell me something", answers.DEFAULT),
    ],
)
def test_prompts_choose_their_answer(prompt: str, answer: str) -> None:
    """The built-in answers go by the words of the prompt."""
    assert answers.pick(prompt) == answer


def test_every_answer_is_worth_streaming() -> None:
    """Each built-in answer has a few dozen words, an emoji or another wide character, and no broken line."""
    for text in (answer for _, answer in answers.KEYWORDS):
        assert len(text.split()) > 50
        assert not text.isascii()
        assert "  " not in text


def test_a_message_can_be_of_any_length() -> None:
    """`fill` repeats a text until it has the words that were asked for."""
    told: Any = answers.fill("one two three", 10)

    assert 10 <= len(told.split()) < 14
