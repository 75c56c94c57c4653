"""Contents: what is legal is let through; the conformance checks try what is not."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from claude_lab import clauses, contents
from claude_lab.bodies import NEW, OLD

CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}
TEXT = {"type": "text", "text": "Hi"}
TOOL = {"name": "look", "input_schema": {"type": "object"}}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A."}}
THOUGHT = {"type": "thinking", "thinking": "t", "signature": "s"}
LINES = base64.encodebytes(b"x" * 100).decode()


def user(*blocks: Any) -> dict[str, Any]:
    """A turn of the user's."""
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    """A turn of the assistant's."""
    return {"role": "assistant", "content": list(blocks)}


def marked(ttl: str) -> dict[str, Any]:
    """A text with a breakpoint."""
    return {**TEXT, "cache_control": {"type": "ephemeral", "ttl": ttl}}


LEGAL: dict[str, dict[str, Any]] = {
    "text after results": {"tools": [TOOL], "messages": [user(TEXT), assistant(TEXT, CALL), user(RESULT, TEXT)]},
    "thinking before a call": {
        "thinking": {"type": "adaptive"},
        "tools": [TOOL],
        "messages": [user(TEXT), assistant(THOUGHT, CALL), user(RESULT)],
    },
    "an hour before five minutes": {"messages": [user(marked("1h"), marked("5m"), marked("5m"))]},
    "tools cached for an hour": {
        "tools": [{**TOOL, "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "messages": [user(marked("5m"))],
    },
    "no citations at all": {"messages": [user(DOCUMENT, {**DOCUMENT, "citations": {"enabled": False}}, TEXT)]},
    "one document of base64 in lines": {
        "messages": [
            user({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": LINES}})
        ]
    },
    "a strict closed tool": {
        "tools": [{**TOOL, "strict": True, "input_schema": {"type": "object", "additionalProperties": False}}]
    },
    "a tool with options inside": {
        "tools": [{**TOOL, "input_schema": {"type": "object", "properties": {"a": {"anyOf": [{"type": "null"}]}}}}]
    },
    "a budget of a later model": {"thinking": {"type": "enabled", "budget_tokens": 1_024}},
    "a chosen tool of an older model": {
        "model": "claude-haiku-4-5",
        "tools": [TOOL],
        "tool_choice": {"type": "tool", "name": "look"},
    },
}


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize("name", LEGAL)
def test_what_is_legal_is_let_through(name: str, version: str) -> None:
    """A legal conversation is refused under neither version."""
    body = {"model": "claude-opus-5-5", "max_tokens": 2_000, "messages": [user(TEXT)], **LEGAL[name]}

    assert clauses.check(body, version) is None


def test_sampling_is_free_without_thinking() -> None:
    """Under the old version `temperature`, `top_p` and `top_k` are legal where nothing is thought."""
    body = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [user(TEXT)]}

    assert clauses.check({**body, "temperature": 0.2, "top_p": 0.5, "top_k": 3}, OLD) is None


def test_breakpoints_are_found_in_the_order_of_the_prompt() -> None:
    """Tools come before the system prompt, and that before the messages, each with its place."""
    body = {"messages": [user(TEXT, TEXT)], "system": [TEXT], "tools": [TOOL]}

    places = [place for place, _ in contents.markable(body)]
    assert places == ["tools.0", "system.0", "messages.0.content.0", "messages.0.content.1"]
