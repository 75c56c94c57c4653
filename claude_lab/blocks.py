"""The content blocks of a request: what each type must and may have.

Source: the SDK's parameter types; a test walks them, so that a block which a new SDK brings is missed by name.
Divergence 1: inside the results of the vendor's own tools anything goes.
"""

from __future__ import annotations

import binascii
from typing import Any

from claude_lab.shapes import (
    Problem,
    Shape,
    anything,
    array,
    boolean,
    mapping,
    nullable,
    one_of,
    record,
    string,
    tagged,
    text_or,
)
from claude_lab.tools import MARKED


def base64(value: Any, path: str) -> Problem | None:
    """Fit a string of base64; line ends in it do no harm."""
    if problem := string()(value, path):
        return problem
    try:
        binascii.a2b_base64(value.replace("\n", "").replace("\r", ""), strict_mode=True)
    except ValueError:
        return Problem(path, "invalid base64 data")
    return None


def block(required: dict[str, Shape], optional: dict[str, Shape] | None = None) -> Shape:
    """Return the shape of a block: its type, what it must have, what it may have, and a cache breakpoint."""
    return record({"type": anything, **required}, {**MARKED, **(optional or {})})


def encoded(*media: str) -> Shape:
    """Return the shape of a base64 source of one of these media types."""
    return record({"type": anything, "media_type": one_of(*media), "data": base64})


ELSEWHERE = {
    "url": record({"type": anything, "url": string()}),
    "file": record({"type": anything, "file_id": string()}),
}
CITING = record({}, {"enabled": boolean})
TEXT = block({"text": string()}, {"citations": nullable(array(mapping))})
IMAGE = block(
    {"source": tagged({"base64": encoded("image/jpeg", "image/png", "image/gif", "image/webp"), **ELSEWHERE})},
    {"transformations": nullable(record({}, {"oversized_image": one_of("downsize", "error")}))},
)
DOCUMENT = block(
    {
        "source": tagged(
            {
                "base64": encoded("application/pdf"),
                "text": record({"type": anything, "media_type": one_of("text/plain"), "data": string()}),
                "content": record(
                    {"type": anything, "content": text_or(array(tagged({"text": TEXT, "image": IMAGE})))}
                ),
                **ELSEWHERE,
            }
        )
    },
    {"citations": nullable(CITING), "context": nullable(string()), "title": nullable(string())},
)
SEARCH_RESULT = block(
    {"content": array(tagged({"text": TEXT})), "source": string(), "title": string()}, {"citations": CITING}
)
INNER = tagged(
    {
        "text": TEXT,
        "image": IMAGE,
        "document": DOCUMENT,
        "search_result": SEARCH_RESULT,
        "tool_reference": block({"tool_name": string()}),
        "browser_state": record({"type": anything}, others=anything),
    }
)
TOOL_ID = string(pattern="^[a-zA-Z0-9_-]+$")
CALL: dict[str, Shape] = {"id": TOOL_ID, "name": string(at_least=1, at_most=200), "input": mapping}
RESULT: dict[str, Shape] = {"tool_use_id": TOOL_ID, "content": anything}
TOOL_RESULT = block(
    {"tool_use_id": TOOL_ID},
    {"content": text_or(array(INNER)), "is_error": boolean, "toolset_name": nullable(string())},
)
OF_THE_VENDOR = (
    *("web_search", "web_fetch", "code_execution", "bash_code_execution", "text_editor_code_execution"),
    *("tool_search", "advisor"),
)
"""The tools that the vendor runs; their results have a type of their own."""
BLOCK = tagged(
    {
        "text": TEXT,
        "image": IMAGE,
        "document": DOCUMENT,
        "search_result": SEARCH_RESULT,
        "thinking": record({"type": anything, "thinking": string(), "signature": string()}),
        "redacted_thinking": record({"type": anything, "data": string()}),
        "tool_use": block(CALL, {"caller": mapping, "toolset_name": nullable(string())}),
        "tool_result": TOOL_RESULT,
        "server_tool_use": block(CALL, {"caller": mapping}),
        **{f"{name}_tool_result": block(RESULT, {"caller": mapping}) for name in OF_THE_VENDOR},
        "mcp_tool_use": block({**CALL, "server_name": string()}),
        "mcp_tool_result": block({"tool_use_id": TOOL_ID}, {"content": anything, "is_error": boolean}),
        "mcp_tool_listing": block({"mcp_server_name": string(), "tools": anything}),
        "container_upload": block({"file_id": string()}),
        "compaction": record({"type": anything}, others=anything),
        "fallback": record({"type": anything}, others=anything),
        "tool_addition": block({"tool": mapping}),
        "tool_removal": block({"tool": mapping}),
    }
)
"""A block of a message, by its type."""
