"""Checks of tool calls: how they start and stream, when they stop, and what follows their results."""

from __future__ import annotations

import json
from typing import Any

from claude_lab.exchange import Api, Broken, equal, expect, rule

STOPPING = "API docs: stop reasons"

TOOLS = "API docs: tool use"


WEATHER = {
    "name": "get_weather",
    "description": "The weather of a place.",
    "input_schema": {
        "type": "object",
        "properties": {"place": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
        "required": ["place", "unit"],
    },
}


ASK_WEATHER: dict[str, Any] = {
    "tools": [WEATHER],
    "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
}


CALL = {"type": "tool_use", "id": "toolu_01", "name": "get_weather", "input": {"place": "Paris", "unit": "celsius"}}


RESULT = {"type": "tool_result", "tool_use_id": "toolu_01", "content": "21 degrees and sunny"}


TURNS = [
    {"role": "user", "content": "What is the weather in Paris?"},
    {"role": "assistant", "content": [CALL]},
    {"role": "user", "content": [RESULT]},
]


@rule(TOOLS)
def tool_calls_start_without_input(api: Api) -> None:
    """A tool call starts with an id, a name, an empty input and its caller."""
    block = api.stream(**ASK_WEATHER).of("content_block_start")[-1]["content_block"]
    equal({**block, "id": "?"}, {**CALL, "id": "?", "input": {}, "caller": {"type": "direct"}}, "the block")


@rule(TOOLS)
def tool_ids_look_like_ids(api: Api) -> None:
    """A tool call's id begins with `toolu_`."""
    block = api.stream(**ASK_WEATHER).of("content_block_start")[-1]["content_block"]
    expect(block["id"].startswith("toolu_"), f"it is {block['id']!r}")


@rule(TOOLS)
def tool_input_begins_empty(api: Api) -> None:
    """The first `input_json_delta` is empty."""
    equal(api.stream(**ASK_WEATHER).deltas("input_json_delta")[0]["partial_json"], "", "the first piece")


@rule(TOOLS)
def tool_input_is_json_in_pieces(api: Api) -> None:
    """The pieces of an input, joined, are one JSON object."""
    pieces = [delta["partial_json"] for delta in api.stream(**ASK_WEATHER).deltas("input_json_delta")]
    expect(len(pieces) > 2 and isinstance(json.loads("".join(pieces)), dict), f"the pieces are {pieces[:5]}")


@rule(TOOLS)
def tool_input_fits_its_schema(api: Api) -> None:
    """The input has what the schema requires, and keeps to its enum."""
    pieces = [delta["partial_json"] for delta in api.stream(**ASK_WEATHER).deltas("input_json_delta")]
    given = json.loads("".join(pieces))
    expect(isinstance(given.get("place"), str) and given.get("unit") in ("celsius", "fahrenheit"), f"it is {given}")


@rule(STOPPING)
def tool_calls_stop_with_tool_use(api: Api) -> None:
    """A reply that calls a tool stops with `tool_use`."""
    equal(api.stream(**ASK_WEATHER).one("message_delta")["delta"]["stop_reason"], "tool_use", "stop_reason")


@rule(TOOLS)
def tool_results_end_the_loop(api: Api) -> None:
    """After a tool result the reply is text, and the turn ends."""
    answer = api.stream(tools=[WEATHER], messages=TURNS)
    equal(answer.one("message_delta")["delta"]["stop_reason"], "end_turn", "stop_reason")
    expect(answer.text, "no text came")


@rule(TOOLS)
def tools_can_be_forbidden(api: Api) -> None:
    """With tool choice `none` no tool is called."""
    equal(api.ask(**ASK_WEATHER, tool_choice={"type": "none"}).json["stop_reason"], "end_turn", "stop_reason")


@rule(TOOLS)
def tools_can_be_demanded(api: Api) -> None:
    """With tool choice `tool` that tool is called."""
    other = {**WEATHER, "name": "get_time"}
    body = {**ASK_WEATHER, "tools": [WEATHER, other], "tool_choice": {"type": "tool", "name": "get_time"}}
    equal(api.ask(**body).json["content"][-1].get("name"), "get_time", "the tool")


@rule(STOPPING)
def max_tokens_cuts_tool_calls(api: Api) -> None:
    """A tool call that is longer than `max_tokens` stops with `max_tokens`, in the middle of its JSON."""
    answer = api.stream(**ASK_WEATHER, tool_choice={"type": "tool", "name": "get_weather"}, max_tokens=12)
    last = answer.one("message_delta")
    equal(last["delta"]["stop_reason"], "max_tokens", "stop_reason")
    expect(last["usage"]["output_tokens"] <= 12, f"{last['usage']['output_tokens']} tokens")
    cut = "".join(delta["partial_json"] for delta in answer.deltas("input_json_delta"))
    expect(not cut.endswith("}"), f"the input is whole: {cut!r}")


NESTED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "stay": {"$ref": "#/$defs/Stay"},
        "nights": {"type": "integer"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["stay", "nights", "note"],
    "additionalProperties": False,
    "$defs": {
        "Stay": {
            "type": "object",
            "properties": {"kind": {"const": "hotel"}, "rooms": {"type": "array", "items": {"type": "integer"}}},
            "required": ["kind", "rooms"],
            "additionalProperties": False,
        }
    },
}
"""References, options and constants, as the schemas of pydantic models have them."""


def fits_nested(value: Any) -> None:
    """Expect a value that fits the nested schema."""
    expect(isinstance(value, dict) and sorted(value) == ["nights", "note", "stay"], f"it is {value!r:.100}")
    stay, note = value["stay"], value["note"]
    expect(isinstance(stay, dict) and stay.get("kind") == "hotel", f"stay is {stay!r:.80}")
    expect(all(isinstance(room, int) for room in stay.get("rooms", [None])), f"rooms are {stay.get('rooms')!r:.80}")
    expect(isinstance(value["nights"], int), f"nights is {value['nights']!r}")
    expect(isinstance(note, str | None), f"note is {note!r:.80}")


@rule("API docs: strict tool use")
def strict_tool_input_fits_nested_schemas(api: Api) -> None:
    """The input of a strict tool fits its schema, through references and options."""
    tool = {"name": "book", "input_schema": NESTED, "strict": True}
    answer = api.ask(tools=[tool], tool_choice={"type": "tool", "name": "book"})
    fits_nested(answer.json["content"][-1].get("input"))


@rule("API docs: structured outputs")
def structured_output_is_json_that_fits(api: Api) -> None:
    """With `output_config.format` the text of the answer is JSON, and fits the schema."""
    answer = api.ask(output_config={"format": {"type": "json_schema", "schema": NESTED}})
    try:
        value = json.loads(answer.json["content"][-1]["text"])
    except ValueError:
        raise Broken(f"the text is {answer.json['content'][-1]['text']!r:.80}") from None
    fits_nested(value)
