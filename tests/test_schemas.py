"""Schemas: what the door takes, the metaschema takes, too; and what two schemas come down to."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_lab import schemas

WORDS = ("type", "properties", "required", "enum", "items", "anyOf", "minimum", "minLength", "uniqueItems", "$ref", "x")
HELD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["string", "object", "text", "#/$defs/a", None, True, -1, 0, 1.5, 2.0]),
    st.lists(st.sampled_from(["string", "a", "a", 1, None]), max_size=3),
)
SCHEMAS = st.recursive(
    st.dictionaries(st.sampled_from(WORDS), HELD, max_size=3),
    lambda inner: st.dictionaries(
        st.sampled_from(WORDS), HELD | inner | st.lists(inner, max_size=2) | st.booleans(), max_size=3
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(SCHEMAS)
def test_the_door_takes_what_the_metaschema_takes(value: dict[str, Any]) -> None:
    """A value fits if and only if `jsonschema` finds it valid under draft 2020-12."""
    try:
        jsonschema.Draft202012Validator.check_schema(value)
        good = True
    except jsonschema.SchemaError:
        good = False

    assert (schemas.valid(value, "") is None) is good


def test_a_bad_schema_is_told_as_the_api_tells_it() -> None:
    """One sentence names the tool's schema, whatever is wrong inside."""
    problem = schemas.tool_input({"type": "object", "properties": {"a": {"type": 5}}}, "tools.0.custom.input_schema")

    assert str(problem).startswith("tools.0.custom.input_schema: JSON schema is invalid. It must match JSON Schema")


@pytest.mark.parametrize("value", [{"type": "object", "properties": None, "required": None}, {"type": "object"}])
def test_an_empty_schema_of_an_object_will_do(value: dict[str, Any]) -> None:
    """A tool without input is legal, with nulls as the SDK's types allow them."""
    assert schemas.tool_input(value, "") is None


def test_two_schemas_together_are_as_narrow_as_both() -> None:
    """Bounds tighten, required names add up, types and values are what both allow."""
    one = {"minimum": 1, "maximum": 9, "required": ["a"], "type": ["string", "integer"], "enum": [1, 2]}
    other = {"minimum": 3, "maximum": 20, "required": ["b", "a"], "type": "integer", "enum": [2, 3]}

    wanted = {"minimum": 3, "maximum": 9, "required": ["a", "b"], "type": ["integer"], "enum": [2]}
    assert schemas.together(one, other) == wanted


def test_what_the_sdk_says_in_a_description_is_read() -> None:
    """Keywords at a description's end count, also with commas and braces in a pattern; other prose does not."""
    said = {"description": "The age.\n\n{minimum: 18, pattern: ^a{2}, b$, uniqueItems: True}"}

    assert schemas.told(said) == {"minimum": 18, "pattern": "^a{2}, b$", "uniqueItems": True}
    assert schemas.told({"description": "An {example: 1}"}) == schemas.told({"description": "{minimum: low}"}) == {}
