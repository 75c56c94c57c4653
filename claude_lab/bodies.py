"""What a request's body may look like: the Messages API's fields and ranges, and the JSON that carries them.

Source: the SDK's parameter types; a test walks them, so that a field which a new SDK brings is missed by name.
Divergence 1: `compaction`, `context_management`, `mcp_servers`, `container`, `fallbacks` and `speed` are looked at, and
change nothing in the answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from claude_lab import schemas
from claude_lab.blocks import BLOCK, TEXT
from claude_lab.faults import Refusal
from claude_lab.shapes import (
    anything,
    array,
    boolean,
    integer,
    mapping,
    nullable,
    number,
    one_of,
    record,
    string,
    tagged,
    text_or,
)
from claude_lab.tools import CACHE as CACHE
from claude_lab.tools import tool

OLD, NEW = "2023-06-01", "2026-10-21"
VERSIONS = (OLD, NEW)
LIMIT_BYTES = 32 * 1024 * 1024
"""A larger body is a 413."""
STOPS = 8_191
"""No more stop sequences, as Amazon Bedrock documents it for the same models."""
DEPTH = 200
"""Deeper JSON is a 400."""
MOST = 100_000
"""More messages are a 400."""

REASONS: dict[type[Exception], str] = {
    RecursionError: "too deeply nested",
    UnicodeDecodeError: "it is not UTF-8",
    UnicodeEncodeError: "a text has half a character (a lone surrogate)",
}
"""Why a body could not be read."""

MESSAGE = record({"role": one_of("user", "assistant", "system"), "content": text_or(array(BLOCK))})
PARALLEL = {"disable_parallel_tool_use": boolean}
DISPLAY = {"display": nullable(one_of("summarized", "omitted"))}
FIELDS = {
    "model": string(at_least=1, at_most=256),
    "messages": array(MESSAGE, at_most=MOST),
}
COUNTED = {
    "system": text_or(array(tagged({"text": TEXT}))),
    "tools": array(tool),
    "tool_choice": tagged(
        {
            "auto": record({"type": anything}, PARALLEL),
            "any": record({"type": anything}, PARALLEL),
            "none": record({"type": anything}),
            "tool": record({"type": anything, "name": string()}, PARALLEL),
        }
    ),
    "thinking": tagged(
        {
            "enabled": record({"type": anything, "budget_tokens": integer(1024)}, DISPLAY),
            "adaptive": record({"type": anything}, DISPLAY),
            "between_tools": record({"type": anything}, DISPLAY),
            "disabled": record({"type": anything}),
        }
    ),
    "output_config": record(
        {},
        {
            "effort": nullable(one_of("low", "medium", "high", "xhigh", "max")),
            "format": nullable(record({"type": one_of("json_schema"), "schema": schemas.output})),
            "task_budget": nullable(mapping),
        },
    ),
    "cache_control": CACHE,
    "speed": nullable(one_of("standard", "fast")),
    "mcp_servers": array(mapping),
    "context_management": nullable(mapping),
    "compaction": nullable(record({"type": one_of("summarize")}, {"instructions": nullable(string())})),
    "billing_policy": nullable(record({"type": one_of("billing_policy")}, {"bill_to": one_of("self", "user_profile")})),
}
OPTIONAL = {
    **COUNTED,
    "stream": boolean,
    "stop_sequences": array(string(), at_most=STOPS),
    "metadata": record({}, {"user_id": nullable(string(at_most=256))}),
    "service_tier": one_of("auto", "standard_only"),
    "container": nullable(text_or(mapping)),
    "diagnostics": nullable(mapping),
    "inference_geo": nullable(string()),
    "fallbacks": anything,
    "fallback_credit_token": nullable(string()),
    "thread": nullable(
        tagged(
            {
                "create": record({"type": anything}),
                "continue": record({"type": anything, "previous_message_id": string()}),
            }
        )
    ),
}
SAMPLING = {"temperature": number(0, 1), "top_p": number(0, 1), "top_k": integer(0)}
CREATE = record({**FIELDS, "max_tokens": integer(0)}, {**OPTIONAL, **SAMPLING})
COUNT = record(FIELDS, {**COUNTED, **SAMPLING})
BATCH = record(
    {
        "requests": array(
            record({"custom_id": string(pattern="^[a-zA-Z0-9_-]{1,64}$"), "params": mapping}),
            at_least=1,
            at_most=100_000,
        )
    }
)


def invalid(message: object) -> Refusal:
    """Return a 400."""
    return Refusal(status=400, message=str(message))


def parse(raw: bytes) -> Any:
    """Return the JSON value of a body. Raises ValueError, in the API's words, for what is none.

    NaN, infinite numbers, lone surrogates and nesting deeper than `DEPTH` are refused: nothing further in could write
    them back.
    """
    try:
        value = json.loads(raw, parse_constant=refuse_constant, parse_float=finite)
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The request body is not valid JSON: {reason_of(error)}") from None
    if raw.count(b"[") + raw.count(b"{") > DEPTH and deeper(value, DEPTH):
        raise ValueError("The request body is not valid JSON: too deeply nested")
    return value


def reason_of(error: Exception) -> str:
    """Return why a body could not be read, in words that are not the parser's where those are about Python."""
    if "digits" in str(error) and not isinstance(error, json.JSONDecodeError):
        return "a number has too many digits"
    return REASONS.get(type(error), str(error))


def refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(f"{name} is not JSON")


def finite(text: str) -> float:
    """Return a number; refuse what is too large to be written back, such as 1e400."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is out of range")
    return value


def deeper(value: Any, depth: int) -> bool:
    """Tell whether a value is nested deeper than so many levels."""
    level = [value]
    for _ in range(depth):
        level = [inner for outer in level for inner in children(outer)]
        if not level:
            return False
    return True


def children(value: Any) -> Iterator[Any]:
    """Yield the containers right inside a value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (each for each in inner if isinstance(each, (dict, list)))
