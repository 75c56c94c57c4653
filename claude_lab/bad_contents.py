"""Bad content: blocks, sources, caching and thinking that the documentation or the SDK's types forbid.

All are read from those, and none was compared with the real API.
"""

from __future__ import annotations

from typing import Any

from claude_lab.bad_bodies import TEXT, USER
from claude_lab.reply_checks import DOCUMENT
from claude_lab.tool_checks import CALL, RESULT, TURNS, WEATHER

TOOL_USE, CACHING = "API docs: handling tool calls", "API docs: prompt caching"
THINKING, CITING = "API docs: thinking", "API docs: citations"
REPORTED = "messages of the API, as its users report them"
TYPES = "SDK types: ContentBlockParam"
ADAPTIVE, OLDER = {"type": "adaptive"}, "claude-haiku-4-5"
BUDGET = {"type": "enabled", "budget_tokens": 1_024}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
PNG = {"type": "base64", "media_type": "image/png", "data": "AA=="}
FORMAT = {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}}


def asked(*blocks: Any) -> dict[str, Any]:
    """Return the change that makes blocks the user's only turn."""
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def marked(text: str, **more: str) -> dict[str, Any]:
    """Return a text block with a cache breakpoint."""
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral", **more}}


def sourced(block: dict[str, Any], **source: Any) -> dict[str, Any]:
    """Return a block whose source has other fields."""
    return {**block, "source": {**block["source"], **source}}


CONTENTS: tuple[tuple[str, str, dict[str, Any], str, str], ...] = (
    (
        "image_types_are_known",
        "An image in TIFF",
        asked(sourced(IMAGE, media_type="image/tiff")),
        "image.source.base64.media_type: Input should be 'image/jpeg'",
        "SDK types: Base64ImageSourceParam",
    ),
    (
        "image_data_is_base64",
        "An image whose data is no base64",
        asked(sourced(IMAGE, data="not base64!")),
        "base64",
        "SDK types: Base64ImageSourceParam",
    ),
    (
        "documents_are_no_images",
        "A PDF document that is a PNG",
        asked({"type": "document", "source": PNG}),
        "application/pdf",
        "SDK types: Base64PDFSourceParam",
    ),
    (
        "document_content_is_text_or_blocks",
        "A number as a document's content",
        asked({"type": "document", "source": {"type": "content", "content": 5}}),
        "content",
        "SDK types: ContentBlockSourceParam",
    ),
    (
        "search_results_have_their_fields",
        "A search result without source and title",
        asked({"type": "search_result", "content": [TEXT]}),
        "Field required",
        TYPES,
    ),
    (
        "uploads_name_their_file",
        "A container upload without its file",
        asked({"type": "container_upload"}),
        "file_id: Field required",
        TYPES,
    ),
    (
        "texts_are_not_blank",
        "A text of white space",
        asked({"type": "text", "text": " \n"}),
        "non-whitespace",
        REPORTED,
    ),
    (
        "empty_texts_are_not_cached",
        "A cache breakpoint on an empty text",
        asked(TEXT, marked("")),
        "cache_control cannot be set for empty text blocks",
        REPORTED,
    ),
    (
        "lifetimes_shrink",
        "A breakpoint of an hour after one of five minutes",
        asked(marked("a"), marked("b", ttl="1h")),
        "a ttl='1h' cache_control block must not come after a ttl='5m'",
        CACHING,
    ),
    (
        "users_call_no_tools",
        "A tool call in a user turn",
        {"messages": [{"role": "user", "content": [CALL]}, USER]},
        "can only be in `assistant` messages",
        TOOL_USE,
    ),
    (
        "users_do_not_think",
        "A thinking block in a user turn",
        asked({"type": "thinking", "thinking": "t", "signature": "s"}),
        "can only be in `assistant` messages",
        THINKING,
    ),
    (
        "results_come_first",
        "A tool result after text in the user's turn",
        {"tools": [WEATHER], "messages": [*TURNS[:2], {"role": "user", "content": [TEXT, RESULT]}]},
        "without `tool_result` blocks immediately after",
        TOOL_USE,
    ),
    (
        "calls_have_distinct_ids",
        "Two tool calls with one id",
        {"tools": [WEATHER], "messages": [USER, {"role": "assistant", "content": [CALL, CALL]}, TURNS[2]]},
        "`tool_use` ids must be unique",
        REPORTED,
    ),
    (
        "citations_agree",
        "Citations of one document out of two",
        asked(DOCUMENT, {**DOCUMENT, "citations": {"enabled": False}}, TEXT),
        "citations",
        CITING,
    ),
    (
        "citations_take_no_output_format",
        "Citations together with structured output",
        {**asked(DOCUMENT, TEXT), "output_config": {"format": FORMAT}},
        "citations",
        "API docs: structured outputs",
    ),
    (
        "strict_schemas_are_closed",
        "A strict tool whose objects take more properties",
        {"tools": [{**WEATHER, "strict": True}]},
        "'additionalProperties' must be explicitly set to false",
        "API docs: strict tool use",
    ),
    (
        "strict_schemas_have_no_bounds",
        "Structured output with bounds",
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "integer", "minimum": 1}}}},
        "For 'integer' type, property 'minimum' is not supported",
        REPORTED,
    ),
    (
        "output_formats_are_closed",
        "Structured output whose objects take more properties",
        {"output_config": {"format": {"type": "json_schema", "schema": WEATHER["input_schema"]}}},
        "'additionalProperties' must be explicitly set to false",
        "API docs: structured outputs",
    ),
    (
        "tool_schemas_have_no_options_at_the_top",
        "A tool whose schema has `anyOf` at its top",
        {"tools": [{"name": "look", "input_schema": {"type": "object", "anyOf": [{"required": ["a"]}]}}]},
        "does not support oneOf, allOf, or anyOf at the top level",
        REPORTED,
    ),
    (
        "adaptive_thinking_takes_no_forced_tool",
        "Adaptive thinking with a forced tool",
        {"thinking": ADAPTIVE, "tools": [WEATHER], "tool_choice": {"type": "any"}},
        "Thinking may not be enabled when tool_choice forces tool use",
        THINKING,
    ),
    (
        "adaptive_thinking_needs_a_later_model",
        "Adaptive thinking of a 4.5 model",
        {"thinking": ADAPTIVE, "model": OLDER},
        "adaptive thinking is not supported on this model",
        THINKING,
    ),
    (
        "thinking_takes_no_prefill",
        "A prefill while thinking",
        {
            "model": OLDER,
            "max_tokens": 2_000,
            "thinking": BUDGET,
            "messages": [USER, {"role": "assistant", "content": "Well"}],
        },
        "Expected `thinking` or `redacted_thinking`, but found `text`",
        THINKING,
    ),
)
"""Name, what is wrong, the change to a good body, a part of the message, the source: each is a 400."""
