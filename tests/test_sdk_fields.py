"""The installed SDK's request types against ours: a field, tool or block that a new SDK brings is missed by name."""

from __future__ import annotations

import typing
from typing import Any, Literal

import pytest
import typing_extensions
from anthropic import types
from anthropic.types import beta, message_count_tokens_params, message_create_params, tool_result_block_param
from anthropic.types.beta import beta_tool_result_block_param
from anthropic.types.beta import message_count_tokens_params as beta_count_params
from anthropic.types.beta import message_create_params as beta_create_params

from claude_lab import bodies, catalogue, clauses
from claude_lab.blocks import BLOCK, INNER

IN_HEADERS = {"betas", "user_profile_id", "workspace_id"}
"""What the SDK sends as headers."""


def members(union: Any) -> list[Any]:
    """The typed dicts of a union, several of them."""
    found = [kind for kind in typing.get_args(union) if typing_extensions.is_typeddict(kind)]
    assert len(found) > 3
    return found


def fields(params: Any) -> set[str]:
    """The names of the fields of a request's type."""
    return set(typing.get_type_hints(params))


def tag(kind: Any) -> str | None:
    """The value that a typed dict's `type` must have."""
    return literal(typing.get_type_hints(kind).get("type"))


def literal(hint: Any) -> str | None:
    """The first value of a literal, or None for other types."""
    found = [each for each in (hint, *typing.get_args(hint)) if typing.get_origin(each) is Literal]
    return str(typing.get_args(found[0])[0]) if found else None


@pytest.mark.parametrize(
    ("params", "known"),
    [
        (message_create_params.MessageCreateParamsBase, {"max_tokens", *bodies.FIELDS, *bodies.OPTIONAL}),
        (beta_create_params.MessageCreateParamsBase, {"max_tokens", *bodies.FIELDS, *bodies.OPTIONAL}),
        (message_count_tokens_params.MessageCountTokensParams, {*bodies.FIELDS, *bodies.COUNTED}),
        (beta_count_params.MessageCountTokensParams, {*bodies.FIELDS, *bodies.COUNTED}),
    ],
    ids=["create", "beta create", "count", "beta count"],
)
def test_every_field_of_the_sdk_is_known(params: Any, known: set[str]) -> None:
    """No field that the SDK sends in a body is an extra input to the fake."""
    assert sorted(fields(params) - known - IN_HEADERS) == []


@pytest.mark.parametrize("union", [types.ToolUnionParam, beta.BetaToolUnionParam], ids=["plain", "beta"])
def test_every_tool_of_the_sdk_is_taken(union: Any) -> None:
    """A minimal tool of each of the SDK's types is answered, and one without its name is not."""
    refused = {}
    for kind in members(union):
        hints = typing.get_type_hints(kind)
        tool = {"type": tag(kind) or "custom", "name": literal(hints.get("name")) or "look"}
        if "name" not in hints:
            del tool["name"]
        tool |= {name: held for name, held in MINIMAL.items() if name in typing.get_type_hints(kind)}
        body = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        if refusal := clauses.check(body | {"tools": [tool]}, "2026-10-21"):
            refused[kind.__name__] = refusal.message

    assert refused == {}


MINIMAL: dict[str, Any] = {
    "input_schema": {"type": "object"},
    "mcp_server_name": "x",
    "display_width_px": 9,
    "display_height_px": 9,
    "model": "claude-opus-5-5",
}
"""What some tools must have besides type and name."""


@pytest.mark.parametrize("union", [types.ContentBlockParam, beta.BetaContentBlockParam], ids=["plain", "beta"])
def test_every_block_of_the_sdk_is_known_with_its_fields(union: Any) -> None:
    """The type of each block that the SDK may send is known, and so is each of its fields."""
    unknown = {}
    for kind in members(union):
        for name in typing.get_type_hints(kind):
            problem = BLOCK({"type": tag(kind), name: name if name != "type" else tag(kind)}, "")
            if problem and ("Extra inputs" in problem.message or "does not match" in problem.message):
                unknown[f"{kind.__name__}.{name}"] = str(problem)

    assert unknown == {}


@pytest.mark.parametrize("union", [tool_result_block_param.Content, beta_tool_result_block_param.Content])
def test_every_block_inside_a_result_is_known(union: Any) -> None:
    """The types that the SDK lets into a `tool_result` are known there."""
    kinds = [tag(kind) for kind in members(union)]

    for kind in kinds:
        problem = INNER({"type": kind}, "")
        assert problem is None or "does not match" not in problem.message


def test_every_model_of_the_sdk_is_in_the_catalogue() -> None:
    """No model that the SDK names is unknown to the fake."""
    named = {name for each in typing.get_args(types.ModelParam) for name in typing.get_args(each)}

    assert len(named) > 10
    assert sorted(named - set(catalogue.MODELS)) == []
