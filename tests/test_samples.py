"""Samples: what is put into tools and structured output fits the schema, as pydantic and jsonschema judge."""

from __future__ import annotations

import datetime
import enum
import json
import uuid
from collections.abc import Iterator
from typing import Any, Literal

import anthropic
import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from claude_lab.fake import FakeClaude
from claude_lab.samples import ROOM, sample
from claude_lab.scenario import Scenario


class Unit(enum.Enum):
    """A choice."""

    C = "celsius"
    F = "fahrenheit"


class Place(BaseModel):
    """A nested model."""

    street: str = Field(min_length=30, max_length=40)
    zip: str = Field(pattern=r"^\d{5}(-\d{4})?$")


class Tree(BaseModel):
    """A model that holds itself."""

    name: str
    children: list[Tree]
    parent: Tree | None


class Order(BaseModel):
    """Everything at once."""

    place: Place
    spare: Place | None
    kind: Literal["order"]
    unit: Unit
    age: int = Field(ge=18, lt=19)
    share: float = Field(gt=0, lt=1)
    dozens: int = Field(multiple_of=12, ge=50)
    debt: int = Field(lt=0)
    at: datetime.datetime
    day: datetime.date
    waited: datetime.timedelta
    id: uuid.UUID
    tags: list[str] = Field(min_length=2, max_length=3)
    places: list[Place] = Field(min_length=2)
    tree: Tree
    either: int | str
    sure: bool


@pytest.fixture(scope="module")
def sdk() -> Iterator[anthropic.Anthropic]:
    """The SDK, at a fake."""
    with FakeClaude(Scenario(pace="instant")) as fake:
        with anthropic.Anthropic(base_url=fake.url, api_key="lab") as client:
            yield client


ASK: Any = {"model": "claude-haiku-5-5", "max_tokens": 4_000, "messages": [{"role": "user", "content": "Order tea"}]}


def test_parse_gives_the_model_that_was_asked_for(sdk: anthropic.Anthropic) -> None:
    """`messages.parse` with a pydantic model of nested, bounded and recursive fields validates what comes back."""
    order = sdk.messages.parse(**ASK, output_format=Order).parsed_output

    assert isinstance(order, Order)
    assert order.place.street.startswith("Order tea")


def test_structured_output_is_streamed_as_json(sdk: anthropic.Anthropic) -> None:
    """The text deltas of structured output join to JSON that the model validates."""
    with sdk.messages.stream(**ASK, output_format=Order) as stream:
        text = "".join(stream.text_stream)

    assert Order.model_validate_json(text).age == 18


@pytest.mark.parametrize("strict", [True, False])
def test_tool_input_fits_a_pydantic_model(sdk: anthropic.Anthropic, strict: bool) -> None:
    """The input of a tool whose schema a pydantic model made validates with that model."""
    schema = anthropic.transform_schema(Order) if strict else Order.model_json_schema()
    tool: Any = {"name": "order", "input_schema": schema, "strict": strict}

    called = sdk.messages.create(**ASK, tools=[tool], tool_choice={"type": "tool", "name": "order"})

    assert called.stop_reason == "tool_use"
    assert isinstance(called.content[-1], anthropic.types.ToolUseBlock)
    assert Order.model_validate(called.content[-1].input).kind == "order"


def bounds(low: str, high: str, values: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, Any]]:
    """A lower and an upper bound, either or both, with some room between."""
    pair = st.tuples(values, st.integers(2, 9)).map(lambda two: {low: two[0], high: two[0] + two[1]})
    return pair | values.map(lambda value: {low: value}) | values.map(lambda value: {high: value}) | st.just({})


NUMBERS = st.one_of(
    bounds("minimum", "maximum", st.integers(-50, 50)),
    bounds("exclusiveMinimum", "exclusiveMaximum", st.integers(-50, 50)),
)
LEAVES = st.one_of(
    NUMBERS.map(lambda more: {"type": "integer", **more}),
    NUMBERS.map(lambda more: {"type": "number", **more}),
    st.integers(1, 7).map(lambda step: {"type": "integer", "multipleOf": step, "minimum": -3}),
    bounds("minLength", "maxLength", st.integers(0, 30)).map(lambda more: {"type": "string", **more}),
    st.sampled_from(["date-time", "date", "time", "email", "ipv4", "ipv6", "uri", "uuid", "duration"]).map(
        lambda name: {"type": "string", "format": name}
    ),
    st.sampled_from([{"const": None}, {"enum": ["a", 1]}, {"type": ["null", "boolean"]}, {"type": "null"}, {}]),
    st.just({"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"}),
    st.just({"$ref": "#/$defs/again"}),
)


def inside(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas made of schemas."""
    held = st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3)
    return st.one_of(
        st.tuples(held, st.sets(st.sampled_from("abcd"))).map(
            lambda two: {"type": "object", "properties": two[0], "required": sorted(two[1])}
        ),
        st.tuples(inner, st.integers(0, 3)).map(lambda two: {"type": "array", "items": two[0], "minItems": two[1]}),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"anyOf": some}),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"type": "array", "prefixItems": some}),
        inner.map(lambda one: {"allOf": [one]}),
        inner.map(lambda one: {"type": "object", "additionalProperties": one, "minProperties": 2}),
    )


@settings(max_examples=300, deadline=None)
@given(st.recursive(LEAVES, inside, max_leaves=12))
def test_a_sample_validates(schema: dict[str, Any]) -> None:
    """What is sampled from any schema of the common keywords validates with jsonschema, formats included."""
    again = {"type": "object", "properties": {"more": {"anyOf": [{"$ref": "#/$defs/again"}, {"type": "null"}]}}}
    whole = {**schema, "$defs": {"again": again}}

    value = json.loads(json.dumps(sample(whole)))

    judge = jsonschema.Draft202012Validator
    judge(whole, format_checker=judge.FORMAT_CHECKER).validate(value)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}},
        {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}], "$defs": {"a": {"allOf": [{"$ref": "#"}] * 9}}},
        {"type": "array", "minItems": 10**12, "items": {"type": "array", "minItems": 10**12, "items": {}}},
        {"type": "string", "minLength": 10**12},
        {"type": "object", "minProperties": 10**12},
        {"type": "array", "minItems": 10**4, "items": {"type": "string", "minLength": 10**4}},
        {"type": "number", "minimum": 10**400},
        {"type": "integer", "exclusiveMinimum": 1e308, "multipleOf": 1e-300},
        {"$ref": "https://example.com/schema"},
        {"type": "array", "minItems": 1_000, "items": {"const": "x" * 50_000}},
        {"allOf": [{"enum": list(range(30_000))}, {"enum": list(range(30_000, 60_000))}]},
        {"anyOf": [{"type": kind, "x": each} for kind in ("null", "string") for each in range(30_000)]},
        {"type": "integer", "minimum": 9, "maximum": 1},
    ],
    ids=lambda schema: str(schema)[:50],
)
def test_schemas_that_cannot_be_met_still_end(schema: dict[str, Any]) -> None:
    """What holds itself, or asks for more than there is room for, gives some value, soon, that JSON can write."""
    assert len(json.dumps(sample(schema), allow_nan=False)) < 50 * ROOM
