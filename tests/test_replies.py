"""Replies: what is said to a body, cut by the API's rules."""

from __future__ import annotations

from typing import Any

import pytest

from claude_lab import replies, tokens
from claude_lab.messages import Reply, Text, Thinking, ToolUse, Usage
from claude_lab.replies import Voice

TOOL = {
    "name": "get_weather",
    "input_schema": {
        "type": "object",
        "properties": {"place": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
        "required": ["place", "days", "unit"],
    },
}


def said(
    prompt: str = "Why is the sky blue?", *, voice: Voice | None = None, think: bool = False, **more: Any
) -> Reply:
    """The reply to a prompt."""
    body = {"model": "m", "max_tokens": 500, "messages": [{"role": "user", "content": prompt}], **more}
    return replies.compose(body, Usage(9), voice=voice or Voice(), think=think, seed=1, key=2, attempt=1)


def test_output_is_counted_as_it_is_cut() -> None:
    """The output tokens are those of the text, and the pieces join to it."""
    reply = said()

    assert reply.usage.output == tokens.count(reply.text)
    assert isinstance(reply.blocks[0], Text)


@pytest.mark.parametrize("room", [1, 7, 50])
def test_max_tokens_is_kept_to_the_token(room: int) -> None:
    """A text cut short has exactly as many tokens as it may."""
    reply = said(max_tokens=room)

    assert (reply.stop_reason, reply.usage.output) == ("max_tokens", room)
    assert tokens.count(reply.text) == room


def test_thinking_takes_of_the_same_room() -> None:
    """Thinking and text together keep to `max_tokens`; with little room there is thinking alone."""
    reply = said(think=True, max_tokens=300, thinking={"type": "adaptive"})
    short = said(think=True, max_tokens=5, thinking={"type": "adaptive"})

    assert reply.usage.thinking + tokens.count(reply.text) == reply.usage.output <= 300
    assert [type(block) for block in short.blocks] == [Thinking]
    assert (short.stop_reason, short.usage.output) == ("max_tokens", 5)


def test_the_first_stop_sequence_wins() -> None:
    """Of several stop sequences the one that comes first in the text ends it."""
    reply = said(voice=Voice("one, two; three"), stop_sequences=[";", ","])

    assert (reply.text, reply.stop_reason, reply.stop_sequence) == ("one", "stop_sequence", ",")


def test_tools_are_called_with_what_their_schema_wants() -> None:
    """Each required property has a value of its type; strings come from the prompt."""
    reply = said("Weather in Zürich Oerlikon?", tools=[TOOL])

    assert isinstance(reply.blocks[-1], ToolUse)
    assert reply.blocks[-1].input == {"place": "Zürich Oerlikon", "days": 1, "unit": "C"}


def test_a_length_can_be_asked_for() -> None:
    """ "in 900 words" makes an answer of 900 words."""
    assert len(said("Tell me about nginx in 900 words", max_tokens=9_000).text.split()) == pytest.approx(900, abs=60)


@pytest.mark.parametrize(
    ("voice", "continued"),
    [
        (Voice("zero one two three"), " two three"),
        (Voice("zero one two three", overlap=4), " one two three"),
        (Voice("zero one two three", preamble=True), f"{replies.PREAMBLE} two three"),
    ],
)
def test_continuations_are_as_imperfect_as_asked(voice: Voice, continued: str) -> None:
    """After the interrupted part comes the rest, with an overlap or a preamble on request."""
    told = "Your previous response was interrupted and ended with [zero one]. Continue from where you left off."
    messages = [{"role": "user", "content": "Count."}, {"role": "user", "content": told}]

    assert said(voice=voice, messages=messages).text == continued


def test_a_continuation_follows_the_whole_turn_and_not_its_last_words_alone() -> None:
    """An answer that says the same twice goes on behind what the model's own turn has of it."""
    told = "Your previous response was interrupted and ended with [one two]. Continue from where you left off."
    turns = [("user", "Count."), ("assistant", "one two one two"), ("user", told)]
    messages = [{"role": role, "content": content} for role, content in turns]

    assert said(voice=Voice("one two one two one two three"), messages=messages).text == " one two three"


def test_an_unknown_end_is_continued_from_the_start() -> None:
    """What the fake never said it cannot continue: it begins again, as a model might."""
    messages = [{"role": "user", "content": "Count."}, {"role": "user", "content": "Continue from where you left off."}]

    assert said(voice=Voice("zero one"), messages=messages).text == "zero one"


def test_ids_are_the_same_for_the_same_numbers() -> None:
    """Equal calls have equal ids; another attempt has another."""
    assert replies.ident("msg", 1, 2, 3) == replies.ident("msg", 1, 2, 3) != replies.ident("msg", 1, 2, 4)
    assert replies.ident("req", 1).startswith("req_01")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"answer": "\ud800"}, "half a surrogate pair"),
        ({"overlap": "x"}, "overlap='x'"),
        ({"thinking": "yes"}, "thinking='yes' is neither true nor false"),
        ({"refuse": None}, "refuse=None is neither true nor false"),
        ({"stop_reason": "bored"}, "stop_reason='bored'"),
    ],
)
def test_a_voice_that_cannot_speak_is_refused(fields: dict[str, Any], why: str) -> None:
    """What no answer could carry out raises one sentence that names the value."""
    with pytest.raises(ValueError) as raised:
        Voice(**fields)

    assert why in str(raised.value)


@pytest.mark.parametrize(("room", "kept"), [(3, 0), (9, 1), (12, 4)])
def test_a_call_is_cut_to_the_token(room: int, kept: int) -> None:
    """A call without room for its input stops with `max_tokens`, with as many tokens as there were."""
    reply = said("Weather?", tools=[TOOL], max_tokens=room)
    call = reply.blocks[-1]

    assert isinstance(call, ToolUse)
    assert (reply.stop_reason, reply.usage.output, len(call.pieces)) == ("max_tokens", room, kept)


def test_a_forced_tool_is_called_without_a_thought() -> None:
    """A model that thinks of its own accord does not when a tool is demanded."""
    reply = said("Weather?", tools=[TOOL], tool_choice={"type": "any"}, think=True)

    assert [type(block) for block in reply.blocks] == [ToolUse]


def test_structured_output_obeys_an_answer_of_ones_own() -> None:
    """With a schema the text is JSON that fits it, unless the voice says what to answer."""
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 7}}}
    wanted = {"format": {"type": "json_schema", "schema": schema}}

    assert said(output_config=wanted).text == '{"n": 7}'
    assert said(output_config=wanted, voice=Voice("no")).text == "no"
