"""What must hold between the fields of a request, in the API's words: each clause returns a sentence, or None.

Sources: the vendor's pages on errors, tool use, thinking and prompt caching, and the migration page for 2026-10-21.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from claude_lab import catalogue
from claude_lab.bodies import COUNT, CREATE, NEW, SAMPLING, invalid
from claude_lab.contents import CLAUSES, Clause, blocks, markable
from claude_lab.faults import Refusal

BREAKPOINTS = 4
THINKING = ("enabled", "adaptive")
"""The kinds of thinking that come before an answer."""


def sampling_gone(body: Mapping[str, Any], version: str) -> str | None:
    """Version 2026-10-21 knows no sampling parameters, not even at their defaults."""
    gone = next((name for name in SAMPLING if name in body), None) if version == NEW else None
    return f"{gone}: Extra inputs are not permitted" if gone else None


def documents_by_user(body: Mapping[str, Any], version: str) -> str | None:
    """Version 2026-10-21 refuses documents in assistant turns, and citations on the user's text."""
    if version != NEW:
        return None
    for index, message in enumerate(body["messages"]):
        for at, block in enumerate(blocks(message)):
            if message["role"] == "assistant" and block["type"] == "document":
                return f"messages.{index}.content.{at}: document blocks are not permitted in assistant messages"
            if message["role"] == "user" and block["type"] == "text" and block.get("citations"):
                return f"messages.{index}.content.{at}.citations: citations are not permitted in user messages"
    return None


def not_empty(body: Mapping[str, Any], version: str) -> str | None:
    """There is at least one message, and only a final assistant turn may be empty."""
    if not body["messages"]:
        return "messages: at least one message is required"
    for index, message in enumerate(body["messages"]):
        final = index == len(body["messages"]) - 1 and message["role"] == "assistant"
        if not message["content"] and not final:
            rest = "all messages must have non-empty content except for the optional final assistant message"
            return f"messages.{index}: {rest}"
        if any(block["type"] == "text" and not block["text"] for block in blocks(message)):
            return "messages: text content blocks must be non-empty"
    return None


def user_first(body: Mapping[str, Any], version: str) -> str | None:
    """A conversation begins with the user."""
    first = next((message for message in body["messages"] if message["role"] != "system"), None)
    if first is None or first["role"] != "user":
        return 'messages: first message must use the "user" role'
    return None


def prefill(body: Mapping[str, Any], version: str) -> str | None:
    """Models from 4.6 on take no prefill; elsewhere it must not end in white space."""
    last = body["messages"][-1]
    if last["role"] != "assistant":
        return None
    if not catalogue.MODELS[body["model"]].prefill:
        rest = "The conversation must end with a user message."
        return f"This model does not support assistant message prefill. {rest}"
    texts = [last["content"]] if isinstance(last["content"], str) else [b.get("text", "") for b in blocks(last)[-1:]]
    if texts and texts[-1] != texts[-1].rstrip():
        return "messages: final assistant content cannot end with trailing whitespace"
    return None


def tools_answered(body: Mapping[str, Any], version: str) -> str | None:
    """Each `tool_use` has its `tool_result` in the next message, and no result comes without its call."""
    called: dict[str, None] = {}
    for index, message in enumerate(body["messages"]):
        results = dict.fromkeys(block["tool_use_id"] for block in blocks(message) if block["type"] == "tool_result")
        if stray := next((each for each in results if each not in called), None):
            return (
                f"messages.{index}.content: unexpected `tool_use_id` found in `tool_result` blocks: {stray}. "
                "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        if left := [each for each in called if each not in results]:
            return (
                f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(left)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
                "message."
            )
        called = dict.fromkeys(block["id"] for block in blocks(message) if block["type"] == "tool_use")
    return None


def tools_named(body: Mapping[str, Any], version: str) -> str | None:
    """Tools have distinct names, and a choice names one of them."""
    tools = body.get("tools") or ()
    names = [each["name"] for each in tools if "name" in each]
    if len(set(names)) < len(names):
        return "tools: Tool names must be unique."
    choice = body.get("tool_choice") or {}
    if choice and choice["type"] != "none" and not tools:
        return "tool_choice: tool_choice may only be specified while providing tools."
    if choice.get("type") == "tool" and choice["name"] not in names:
        return f"tool_choice: Tool '{choice['name']}' not found in provided tools"
    return None


def stops(body: Mapping[str, Any], version: str) -> str | None:
    """A stop sequence has something to stop at."""
    blank = any(not stop.strip() for stop in body.get("stop_sequences") or ())
    return "stop_sequences: each stop sequence must contain non-whitespace" if blank else None


def thinking_fits(body: Mapping[str, Any], version: str) -> str | None:
    """A thinking budget leaves room for an answer, and a forced tool leaves none for thinking."""
    thinking = body.get("thinking") or {}
    if thinking.get("type") not in THINKING:
        return None
    if "max_tokens" in body and thinking.get("budget_tokens", 0) >= max(1, body["max_tokens"]):
        return "`max_tokens` must be greater than `thinking.budget_tokens`."
    if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        return "Thinking may not be enabled when tool_choice forces tool use."
    return None


def thinking_samples_freely(body: Mapping[str, Any], version: str) -> str | None:
    """While thinking `temperature` is 1, `top_p` 0.95 or more, and `top_k` is left out."""
    if (body.get("thinking") or {}).get("type") not in THINKING:
        return None
    if body.get("temperature", 1) != 1:
        return "`temperature` may only be set to 1 when thinking is enabled."
    if body.get("top_p", 1) < 0.95:
        return "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled."
    return "`top_k` must be unset when thinking is enabled." if "top_k" in body else None


def thinking_is_known(body: Mapping[str, Any], version: str) -> str | None:
    """Models of the 4.5 generation think with a budget only."""
    kind = (body.get("thinking") or {}).get("type")
    lacking = kind in ("adaptive", "between_tools") and not catalogue.MODELS[body["model"]].adapts
    return f"{str(kind).replace('_', ' ')} thinking is not supported on this model" if lacking else None


def thinking_is_not_prefilled(body: Mapping[str, Any], version: str) -> str | None:
    """While thinking a final assistant turn begins with thinking."""
    last = body["messages"][-1]
    if last["role"] != "assistant" or (body.get("thinking") or {}).get("type") not in THINKING:
        return None
    kind = next((block["type"] for block in blocks(last)), "text")
    if kind in ("thinking", "redacted_thinking"):
        return None
    return (
        f"messages.{len(body['messages']) - 1}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
        f"`{kind}`. When `thinking` is enabled, a final `assistant` message must start with a thinking block."
    )


def output_fits(body: Mapping[str, Any], version: str) -> str | None:
    """No more output is asked for than the model has."""
    most = catalogue.MODELS[body["model"]].max_tokens
    if body.get("max_tokens", 0) > most:
        rest = f"which is the maximum allowed number of output tokens for {body['model']}"
        return f"max_tokens: {body['max_tokens']} > {most}, {rest}"
    return None


def breakpoints(body: Mapping[str, Any], version: str) -> str | None:
    """At most four blocks are marked for the cache."""
    found = sum(1 for _, block in markable(body) if block.get("cache_control"))
    if found > BREAKPOINTS:
        return f"A maximum of {BREAKPOINTS} blocks with cache_control may be provided. Found {found}."
    return None


RULES: tuple[Clause, ...] = (
    sampling_gone,
    CLAUSES[0],
    not_empty,
    *CLAUSES[1:],
    user_first,
    documents_by_user,
    tools_named,
    tools_answered,
    stops,
    thinking_fits,
    thinking_samples_freely,
    thinking_is_known,
    thinking_is_not_prefilled,
    output_fits,
    breakpoints,
    prefill,
)
"""What must hold between fields, in the order it is looked at."""


def check(body: Any, version: str, *, counting: bool = False) -> Refusal | None:
    """Return the API's refusal of a body, or None if it is a valid one; `counting` is for `count_tokens`."""
    shape = COUNT if counting else CREATE
    if problem := shape(body, ""):
        return invalid(problem)
    if body["model"] not in catalogue.MODELS:
        return Refusal(status=404, message=f"model: {body['model']}")
    broken = next((said for rule in RULES if (said := rule(body, version))), None)
    return invalid(broken) if broken else None


def fits_window(body: Mapping[str, Any], input_tokens: int) -> Refusal | None:
    """Return the refusal of a prompt that is longer than the model's window, or None."""
    most = catalogue.MODELS[body["model"]].max_input_tokens
    if input_tokens > most:
        return invalid(f"prompt is too long: {input_tokens} tokens > {most} maximum")
    return None
