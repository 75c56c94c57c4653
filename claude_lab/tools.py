"""What a tool of a request may look like: one with a schema of its own, or one of the vendor's.

Source: the SDK's parameter types; a test walks them, so that a tool which a new SDK brings is missed by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from claude_lab import schemas
from claude_lab.shapes import (
    Problem,
    anything,
    array,
    boolean,
    join,
    mapping,
    nullable,
    one_of,
    record,
    string,
    tagged,
)

CACHE = nullable(record({"type": one_of("ephemeral")}, {"ttl": one_of("5m", "1h")}))
MARKED = {"cache_control": CACHE}
"""What every block and tool may carry: a cache breakpoint."""
TOOL = record(
    {"name": string(at_least=1, at_most=128, pattern="^[a-zA-Z0-9_-]{1,128}$"), "input_schema": schemas.tool_input},
    {
        **MARKED,
        "type": nullable(one_of("custom")),
        "description": string(),
        "strict": boolean,
        "defer_loading": boolean,
        "eager_input_streaming": nullable(boolean),
        "input_examples": array(mapping),
        "allowed_callers": array(string()),
    },
)
NAMED = {
    "bash": ("bash_20241022", "bash_20250124"),
    "code_execution": tuple(f"code_execution_{date}" for date in ("20250522", "20250825", "20260120", "20260521")),
    "memory": ("memory_20250818",),
    "computer": ("computer_20241022", "computer_20250124", "computer_20251124"),
    "str_replace_editor": ("text_editor_20241022", "text_editor_20250124"),
    "str_replace_based_edit_tool": ("text_editor_20250429", "text_editor_20250728"),
    "web_search": ("web_search_20250305", "web_search_20260209", "web_search_20260318"),
    "web_fetch": tuple(f"web_fetch_{date}" for date in ("20250910", "20260209", "20260309", "20260318")),
    "advisor": ("advisor_20260301",),
    "tool_search_tool_bm25": ("tool_search_tool_bm25", "tool_search_tool_bm25_20251119"),
    "tool_search_tool_regex": ("tool_search_tool_regex", "tool_search_tool_regex_20251119"),
}
"""The vendor's tools: the name each must have, and its types."""
TOOLSETS = ("browser_toolset_20260801", "computer_toolset_20260801")
SERVED = tagged(
    {
        "custom": TOOL,
        **{
            kind: record({"type": anything, "name": one_of(name)}, MARKED, others=anything)
            for name, kinds in NAMED.items()
            for kind in kinds
        },
        **dict.fromkeys(TOOLSETS, record({"type": anything}, {**MARKED, "configs": nullable(mapping)})),
        "mcp_toolset": record({"type": anything, "mcp_server_name": string()}, MARKED, others=anything),
    }
)
"""The vendor's tools, whose further options are taken as they are; a toolset has no name."""


def tool(value: Any, path: str) -> Problem | None:
    """Fit a tool: one with a schema of its own, or one of the vendor's."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind is None or kind == "custom":
        inside = join(path, "custom") if isinstance(value, Mapping) else path
        strict = isinstance(value, Mapping) and value.get("strict") is True
        return TOOL(value, inside) or (schemas.closed(value["input_schema"], inside) if strict else None)
    return SERVED(value, path)
