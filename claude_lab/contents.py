"""What must hold between the blocks of a conversation, in the API's words: each clause returns a sentence, or None.

Sources: the vendor's pages on tool use, prompt caching, citations and structured outputs, and messages of the API that
its users have reported; none was compared with the API itself. The words about citations are ours: the page has a rule
and no message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

Body: TypeAlias = Mapping[str, Any]
Clause: TypeAlias = Callable[[Body, str], str | None]

SAID_BY = {
    **dict.fromkeys(("tool_use", "thinking", "redacted_thinking", "server_tool_use", "mcp_tool_use"), "assistant"),
    "tool_result": "user",
}
"""The blocks that only one role may say."""


def blocks(message: Body) -> list[Body]:
    """Return the content blocks of a message; a string has none."""
    content = message["content"]
    return content if isinstance(content, list) else []


def placed(body: Body) -> Iterator[tuple[str, str, Body]]:
    """Yield each block of the messages with its role and its place, such as `messages.0.content.1`."""
    for index, message in enumerate(body["messages"]):
        for at, block in enumerate(blocks(message)):
            yield message["role"], f"messages.{index}.content.{at}", block


def markable(body: Body) -> Iterator[tuple[str, Body]]:
    """Yield what may carry a cache breakpoint with its place, in the order of the prompt: tools, system, messages."""
    yield from ((f"tools.{at}", tool) for at, tool in enumerate(body.get("tools") or ()))
    if isinstance(body.get("system"), list):
        yield from ((f"system.{at}", block) for at, block in enumerate(body["system"]))
    yield from ((place, block) for _, place, block in placed(body))


def lifetimes_shrink(body: Body, version: str) -> str | None:
    """A breakpoint of an hour does not come after one of five minutes."""
    short = False
    for place, block in markable(body):
        marked = block.get("cache_control")
        if marked and short and marked.get("ttl") == "1h":
            rest = "Note that blocks are processed in the following order: `tools`, `system`, `messages`."
            told = "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block."
            return f"{place}.cache_control.ttl: {told} {rest}"
        short = short or bool(marked and marked.get("ttl", "5m") == "5m")
    return None


def nothing_is_not_cached(body: Body, version: str) -> str | None:
    """An empty text carries no breakpoint."""
    for place, block in markable(body):
        if block.get("type") == "text" and not block["text"] and block.get("cache_control"):
            return f"{place}.text: cache_control cannot be set for empty text blocks"
    return None


def not_blank(body: Body, version: str) -> str | None:
    """A text is more than white space."""
    texts = [message["content"] for message in body["messages"] if isinstance(message["content"], str)]
    texts += [block["text"] for _, _, block in placed(body) if block["type"] == "text"]
    blank = any(text and not text.strip() for text in texts)
    return "messages: text content blocks must contain non-whitespace text" if blank else None


def said_by(body: Body, version: str) -> str | None:
    """Calls and thoughts are the assistant's, results the user's."""
    for role, place, block in placed(body):
        wanted = SAID_BY.get(block["type"], role)
        if role != wanted:
            return f"{place.rsplit('.', 2)[0]}: `{block['type']}` blocks can only be in `{wanted}` messages"
    return None


def results_come_first(body: Body, version: str) -> str | None:
    """In the user's turn the results of tools come before everything else."""
    for index, message in enumerate(body["messages"]):
        kinds = [block["type"] for block in blocks(message)]
        late = "tool_result" in kinds and kinds.index("tool_result") > 0
        called = [block["id"] for block in blocks(body["messages"][index - 1]) if block["type"] == "tool_use"]
        if late and index and called:
            return (
                f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(called)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
                "message."
            )
    return None


def calls_differ(body: Body, version: str) -> str | None:
    """No two calls have the same id."""
    seen: set[str] = set()
    for _, place, block in placed(body):
        if block["type"] == "tool_use":
            if block["id"] in seen:
                return f"{place}: `tool_use` ids must be unique"
            seen.add(block["id"])
    return None


def citations_agree(body: Body, version: str) -> str | None:
    """Citations are wanted of all documents, or of none; and not together with structured output."""
    documents = [block for _, _, block in placed(body) if block["type"] in ("document", "search_result")]
    wanted = {bool((block.get("citations") or {}).get("enabled")) for block in documents}
    if len(wanted) > 1:
        return "messages: citations must be enabled on all or none of the documents within a request"
    if True in wanted and (body.get("output_config") or {}).get("format"):
        return "output_config.format: structured outputs cannot be combined with citations"
    return None


CLAUSES: tuple[Clause, ...] = (
    nothing_is_not_cached,
    not_blank,
    said_by,
    calls_differ,
    results_come_first,
    lifetimes_shrink,
    citations_agree,
)
"""Every clause about blocks, in the order it is looked at."""
