"""Bad bodies: whatever comes, the answer is an answer or the API's own 4xx; never a 500, never a hang."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_lab import background, bodies
from claude_lab.clauses import check
from claude_lab.fake import FakeClaude
from claude_lab.scenario import Scenario

HEADERS = {"authorization": "Bearer lab", "anthropic-version": "2026-10-21", "content-type": "application/json"}
FULL: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 2048,
    "stream": False,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "stop_sequences": ["###"],
    "metadata": {"user_id": "u"},
    "service_tier": "auto",
    "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"},
    "tools": [{"name": "look", "description": "d", "input_schema": {"type": "object", "properties": {}}}],
    "tool_choice": {"type": "auto"},
    "output_config": {"effort": "low"},
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "t", "signature": "s"},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "r"}]},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "A. B."},
                    "citations": {"enabled": True},
                },
            ],
        },
    ],
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 9, "multipleOf": 2},
        "s": {"type": "string", "minLength": 2, "pattern": "^a+$", "enum": ["aa"], "description": "{minLength: 2}"},
        "l": {"type": "array", "items": {"$ref": "#/$defs/x"}, "minItems": 2, "prefixItems": [{"const": None}]},
        "o": {"anyOf": [{"type": "null"}, {"allOf": [{"$ref": "#/$defs/x"}]}], "additionalProperties": False},
    },
    "required": ["n", "s", "l"],
    "$defs": {"x": {"type": "number", "exclusiveMinimum": 0.5, "format": "double"}},
}
ASKING: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 200,
    "tools": [{"name": "look", "input_schema": SCHEMA}],
    "tool_choice": {"type": "tool", "name": "look"},
    "messages": [{"role": "user", "content": "Look at it."}],
}
CLOSED: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "n": {"$ref": "#/$defs/x"},
        "e": {"enum": ["a", None]},
        "l": {"type": "array", "items": {"type": "string", "format": "date"}, "minItems": 1},
        "d": {"type": "integer", "description": "Two or more. {minimum: 2}"},
    },
    "required": ["n", "e", "l", "d"],
    "$defs": {"x": {"anyOf": [{"type": "null"}, {"type": "number"}]}},
}
SHAPED = {
    **{name: held for name, held in ASKING.items() if "tool" not in name},
    "output_config": {"format": {"type": "json_schema", "schema": CLOSED}},
}
WRONG: tuple[Any, ...] = (None, True, 0, -1, 1.5, 10**40, "", "x", [], [[]], [None], {}, {"type": "x"}, {"type": []})
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def api() -> Iterator[httpx.Client]:
    """A client of a fake; afterwards nothing has died on the portal."""
    before = len(background.portal().failures)
    with FakeClaude(Scenario(pace="instant")) as fake, httpx.Client(base_url=fake.url, headers=HEADERS) as client:
        yield client
    assert background.portal().failures[before:] == []


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in items:
        yield (*path, step)
        yield from paths(inner, (*path, step))


def with_value(path: tuple[Any, ...], value: Any, full: dict[str, Any] = FULL) -> dict[str, Any]:
    """A full body with something else at a place."""
    body = copy.deepcopy(full)
    inside: Any = body
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    return body


def answered(response: httpx.Response) -> None:
    """Expect an answer, or a refusal in the API's envelope."""
    assert response.status_code == 200 or 400 <= response.status_code < 500, response.text
    if response.status_code != 200:
        assert response.json()["type"] == "error"
        assert response.json()["error"]["message"]


def test_the_full_bodies_are_good(api: httpx.Client) -> None:
    """The bodies that the next tests spoil are answered."""
    for body in (FULL, ASKING, SHAPED):
        assert api.post("/v1/messages", json=body).status_code == 200


def test_a_wrong_type_at_every_place_is_answered_or_refused(api: httpx.Client) -> None:
    """Fourteen wrong values at each of the body's places: an answer or a 4xx, each time."""
    for path in paths(FULL):
        for value in WRONG:
            answered(api.post("/v1/messages", json=with_value(path, value)))


def test_a_wrong_type_anywhere_in_a_schema_is_answered_or_refused(api: httpx.Client) -> None:
    """The same inside the schema of a tool that is called."""
    for path in paths(ASKING):
        for value in WRONG if path[:1] == ("tools",) else ():
            answered(api.post("/v1/messages", json=with_value(path, value, ASKING)))


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": 5},
        {"required": True},
        {"required": ["a", "a"]},
        {"properties": {"a": None}},
        {"properties": {"a": {"enum": True}}},
        {"properties": {"a": {"type": []}}},
        {"properties": {"a": {"type": "text"}}},
        {"properties": {"a": {"items": [{"type": "string"}]}}},
        {"properties": {"a": {"anyOf": []}}},
        {"type": "string"},
    ],
    ids=str,
)
def test_a_bad_schema_is_refused_in_one_sentence(api: httpx.Client, schema: dict[str, Any]) -> None:
    """What is no JSON schema, or not that of an object, is a 400 at the door that names the tool."""
    tool = {"name": "look", "input_schema": {"type": "object"} | schema}

    answer = api.post("/v1/messages", json=ASKING | {"tools": [tool]})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("tools.0.custom.input_schema")


def test_bad_schemas_in_a_batch_are_errors_of_their_own(api: httpx.Client) -> None:
    """A batch with such params ends, is shown, and counts them as errored; the good ones are answered."""
    broken = ASKING | {"tools": [{"name": "look", "input_schema": {"type": "object", "properties": 5}}]}
    requests = [{"custom_id": f"r{index}", "params": params} for index, params in enumerate((ASKING, broken, 7, {}))]
    requests[2]["params"] = {"tools": [{"name": "x", "input_schema": {"type": "object", "required": 3}}]}

    id = api.post("/v1/messages/batches", json={"requests": requests}).json()["id"]
    while (shown := api.get(f"/v1/messages/batches/{id}")).json()["processing_status"] != "ended":
        assert shown.status_code == 200

    assert shown.json()["request_counts"] == {
        "processing": 0,
        "succeeded": 1,
        "errored": 3,
        "canceled": 0,
        "expired": 0,
    }


def test_numbers_too_large_to_write_back_are_refused() -> None:
    """1e400 is no JSON number that anybody could give back."""
    with pytest.raises(ValueError, match="1e400 is out of range"):
        bodies.parse(b'{"a": 1e400}')


def test_streams_and_counts_bear_the_same(api: httpx.Client) -> None:
    """The same for streams and for counting, at the top of the body."""
    for name in FULL:
        for value in WRONG:
            body = with_value((name,), value)
            answered(api.post("/v1/messages", json={"stream": True} | body))
            answered(api.post("/v1/messages/count_tokens", json=body))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_json_anywhere_is_answered_or_refused(api: httpx.Client, data: st.DataObject) -> None:
    """Any JSON value at any place, or as the whole body: an answer or a 4xx."""
    full = data.draw(st.sampled_from([FULL, ASKING, SHAPED]))
    path = data.draw(st.sampled_from([(), *paths(full)]))
    value = data.draw(JSON_VALUES)
    body = with_value(path, value, full) if path else value
    answered(api.post("/v1/messages", content=json.dumps(body).encode()))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=60))
def test_any_bytes_are_refused(api: httpx.Client, raw: bytes) -> None:
    """Bytes that are no message are a 4xx."""
    answered(api.post("/v1/messages", content=raw))
    answered(api.post("/v1/messages/batches", content=raw))


CALLS = [f"toolu_{index}" for index in range(20_000)]
HOSTILE: dict[str, dict[str, Any]] = {
    "digits": {"messages": [{"role": "user", "content": "1" * 200_000}]},
    "pleas": {
        "messages": [{"role": "user", "content": "continue from where " + "interrupted and ended with " * 20_000}]
    },
    "spaces": {"messages": [{"role": "user", "content": " " * 2_000_000 + "x"}]},
    "stops": {"stop_sequences": [f"#{index}" for index in range(9_000)]},
    "calls": {
        "messages": [
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": each, "name": "look", "input": {}} for each in CALLS],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": each} for each in CALLS]},
        ]
    },
    "a pattern": {
        "tool_choice": {"type": "any"},
        "tools": [
            {
                "name": "look",
                "input_schema": {"type": "object", "properties": {"a": {"pattern": "((a+)+){30}(?<=z)"}}},
            }
        ],
    },
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_answered_and_hold_nobody_up(api: httpx.Client, name: str) -> None:
    """Texts, lists and patterns that a careless reader compares with each other forever: an answer or a 4xx."""
    plain = {name: held for name, held in ASKING.items() if name not in ("tools", "tool_choice")}

    answered(api.post("/v1/messages", json={**plain, **HOSTILE[name]}))


def test_fifty_megabytes_are_413(api: httpx.Client) -> None:
    """A body of 50 MB is refused, and the connection lives on."""
    assert api.post("/v1/messages", content=b" " * 50_000_000).status_code == 413
    assert api.post("/v1/messages", json=FULL).status_code == 200


@pytest.mark.parametrize("raw", [b"[" * 1_000_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b"[" * 300 + b"]" * 300])
def test_deep_json_is_refused(raw: bytes) -> None:
    """JSON nested deeper than 200 levels is not read, whatever it holds."""
    with pytest.raises(ValueError, match="not valid JSON"):
        bodies.parse(raw)


def test_the_first_problem_is_named_with_its_place() -> None:
    """A refusal names the path of what is wrong, and what it should be."""
    refusal = check(with_value(("messages", 0, "content", 0, "text"), 7), "2026-10-21")

    assert refusal is not None
    assert refusal.message == "messages.0.content.0.text.text: Input should be a valid string"
