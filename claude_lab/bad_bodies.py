"""Bad bodies, and what the API says of each: the rows of the checks of refusals."""

from __future__ import annotations

from typing import Any

from claude_lab.reply_checks import DOCUMENT
from claude_lab.tool_checks import CALL, RESULT, WEATHER

ERRORS = "API docs: errors"


VERSIONS = "API docs: migration to 2026-10-21"


REFERENCE = "API reference: messages"


USER = {"role": "user", "content": "Hi"}


TEXT = {"type": "text", "text": "Hi"}


MARKED = {**TEXT, "cache_control": {"type": "ephemeral"}}


CITATION = {
    "type": "char_location",
    "cited_text": "a",
    "document_index": 0,
    "document_title": None,
    "start_char_index": 0,
    "end_char_index": 1,
}


QUOTED = [{"role": "user", "content": [{**TEXT, "citations": [CITATION]}]}]


PREFILLED = [USER, {"role": "assistant", "content": "Well"}]


BODIES: tuple[tuple[str, str, dict[str, Any], str, str], ...] = (
    (
        "max_tokens_is_required",
        "A body without `max_tokens`",
        {"max_tokens": None},
        "max_tokens: Field required",
        REFERENCE,
    ),
    ("messages_are_required", "A body without `messages`", {"messages": None}, "messages: Field required", REFERENCE),
    ("model_is_required", "A body without `model`", {"model": None}, "model: Field required", REFERENCE),
    ("messages_must_not_be_empty", "An empty list of messages", {"messages": []}, "at least one message", REFERENCE),
    ("max_tokens_is_not_negative", "A negative `max_tokens`", {"max_tokens": -1}, "max_tokens", REFERENCE),
    ("max_tokens_is_a_number", "A string as `max_tokens`", {"max_tokens": "10"}, "max_tokens", REFERENCE),
    ("max_tokens_is_whole", "A fraction as `max_tokens`", {"max_tokens": 1.5}, "max_tokens", REFERENCE),
    ("max_tokens_has_a_maximum", "A `max_tokens` beyond the model's", {"max_tokens": 10**9}, "maximum", ERRORS),
    ("extra_fields_are_refused", "An unknown field", {"colour": "blue"}, "Extra inputs are not permitted", REFERENCE),
    ("roles_are_known", "An unknown role", {"messages": [{"role": "robot", "content": "Hi"}]}, "role", REFERENCE),
    ("content_is_required", "A message without content", {"messages": [{"role": "user"}]}, "content", REFERENCE),
    ("content_is_not_empty", "An empty message", {"messages": [{"role": "user", "content": ""}]}, "non-empty", ERRORS),
    (
        "text_blocks_are_not_empty",
        "An empty text block",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
        "non-empty",
        ERRORS,
    ),
    (
        "blocks_are_known",
        "A block of an unknown type",
        {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
        "smell",
        REFERENCE,
    ),
    (
        "the_user_begins",
        "A conversation that the assistant begins",
        {"messages": [{"role": "assistant", "content": "Hi"}, USER]},
        "first message",
        ERRORS,
    ),
    ("stream_is_a_boolean", "A string as `stream`", {"stream": "yes"}, "stream", REFERENCE),
    ("system_is_text", "A number as `system`", {"system": 7}, "system", REFERENCE),
    ("user_ids_are_strings", "A number as user id", {"metadata": {"user_id": 7}}, "metadata.user_id", REFERENCE),
    ("stop_sequences_are_not_blank", "A blank stop sequence", {"stop_sequences": ["  "]}, "non-whitespace", ERRORS),
    ("service_tiers_are_known", "An unknown service tier", {"service_tier": "gold"}, "service_tier", REFERENCE),
    (
        "tools_have_distinct_names",
        "Two tools of one name",
        {"tools": [WEATHER, WEATHER]},
        "unique",
        "API docs: tool use",
    ),
    (
        "tool_names_are_plain",
        "A tool's name with a space",
        {"tools": [{**WEATHER, "name": "get weather"}]},
        "pattern",
        "API docs: tool use",
    ),
    (
        "tool_schemas_are_schemas",
        "A tool whose schema is none",
        {"tools": [{"name": "look", "input_schema": {"type": "object", "properties": {"a": {"type": "text"}}}}]},
        "input_schema: JSON schema is invalid",
        "API docs: tool use",
    ),
    (
        "tool_schemas_are_of_objects",
        "A tool whose schema is that of a string",
        {"tools": [{"name": "look", "input_schema": {"type": "string"}}]},
        "input_schema.type: Input should be 'object'",
        "API docs: tool use",
    ),
    (
        "tool_types_are_known",
        "A tool of an unknown type",
        {"tools": [{"type": "teleport_20260101", "name": "teleport"}]},
        "teleport_20260101",
        "SDK types: ToolUnionParam",
    ),
    (
        "output_formats_are_json_schemas",
        "An output format without type and schema",
        {"output_config": {"format": {"nope": 1}}},
        "output_config.format",
        "SDK types: JSONOutputFormatParam",
    ),
    (
        "tool_choice_names_a_tool",
        "A tool choice that names no tool",
        {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "fly"}},
        "fly",
        "API docs: tool use",
    ),
    (
        "tool_results_need_a_call",
        "A tool result without its call",
        {"messages": [{"role": "user", "content": [RESULT]}]},
        "tool_use_id",
        "API docs: tool use",
    ),
    (
        "tool_calls_need_a_result",
        "A tool call without its result",
        {"messages": [USER, {"role": "assistant", "content": [CALL]}, USER]},
        "tool_result",
        "API docs: tool use",
    ),
    (
        "thinking_budgets_have_a_minimum",
        "A thinking budget below 1,024",
        {"thinking": {"type": "enabled", "budget_tokens": 100}, "max_tokens": 2000},
        "1024",
        "API docs: thinking",
    ),
    (
        "thinking_budgets_leave_room",
        "A thinking budget as large as `max_tokens`",
        {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 2000},
        "max_tokens",
        "API docs: thinking",
    ),
    (
        "breakpoints_are_four_at_most",
        "Five cache breakpoints",
        {"messages": [{"role": "user", "content": [MARKED] * 5}]},
        "maximum of 4",
        "API docs: prompt caching",
    ),
    (
        "prefill_is_refused_from_4_6_on",
        "A prefill for a 4.6 model",
        {"messages": PREFILLED},
        "This model does not support assistant message prefill. The conversation must end with a user message.",
        ERRORS,
    ),
    (
        "prefill_does_not_end_in_space",
        "A prefill that ends in a space",
        {"model": "claude-haiku-4-5", "messages": [USER, {"role": "assistant", "content": "Well "}]},
        "trailing whitespace",
        ERRORS,
    ),
    ("temperature_is_gone", "`temperature` under 2026-10-21", {"temperature": 1.0}, "temperature", VERSIONS),
    ("top_p_is_gone", "`top_p` under 2026-10-21", {"top_p": 0.9}, "top_p", VERSIONS),
    ("top_k_is_gone", "`top_k` under 2026-10-21", {"top_k": 5}, "top_k", VERSIONS),
    (
        "assistants_bring_no_documents",
        "A document in an assistant turn under 2026-10-21",
        {"messages": [USER, {"role": "assistant", "content": [DOCUMENT]}, USER]},
        "document",
        VERSIONS,
    ),
    (
        "users_bring_no_citations",
        "Citations on user text under 2026-10-21",
        {"messages": QUOTED},
        "citations",
        VERSIONS,
    ),
)


"""Name, what is wrong, the change to a good body, a part of the message, the source: each is a 400."""

RAW: tuple[tuple[str, str, bytes], ...] = (
    ("json_is_required", "A body that is no JSON", b"{nope"),
    ("json_objects_are_required", "A JSON list as body", b"[]"),
    ("a_body_is_required", "No body at all", b""),
    ("nan_is_not_json", "NaN in the body", b'{"model":"claude-opus-4-6","max_tokens":NaN,"messages":[]}'),
    (
        "surrogates_are_refused",
        "Half a surrogate pair",
        b'{"model":"claude-opus-4-6","max_tokens":9,"messages":[{"role":"user","content":"\\ud83d"}]}',
    ),
    ("depth_is_limited", "JSON nested a hundred thousand deep", b'{"a":' * 100_000),
    ("utf8_is_required", "Bytes that are not UTF-8", b'{"model":"\xff"}'),
)
