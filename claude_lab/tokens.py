"""A stated, deterministic tokenizer: it is not the model's, but it counts alike everywhere in the lab.

Divergence 1: one token is at most seven letters with the white space before them, three digits, or one other
character; the model's own vocabulary is not public. English text comes out within about a quarter of real counts.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

TOKEN = re.compile(r"\s*(?:[^\W\d_]{1,7}|\d{1,3}|[^\s]|$)")
MESSAGE = 4
"""Tokens that the frame of each message takes."""
BASE = 3
"""Tokens that the frame of each request takes."""
IMAGE = 1_600
"""Tokens of an image, whatever its size."""
PDF_PAGE = 2_000
"""Tokens of a PDF, whatever its length."""
SAMPLE = 65_536
"""Characters of a long text that are really looked at."""
TOOLS = 340
"""Tokens of the instructions that a request with tools carries."""


@functools.lru_cache(maxsize=256)
def split(text: str) -> tuple[str, ...]:
    """Cut a text into tokens, remembered; joined they give the text again. Never inside a code point."""
    return tuple(piece for piece in TOKEN.findall(text) if piece)


def count(text: str) -> int:
    """Return how many tokens a text has; beyond `SAMPLE` characters, in proportion to its beginning."""
    if len(text) > SAMPLE:
        return len(split(text[:SAMPLE])) * len(text) // SAMPLE
    return len(split(text))


def count_content(content: Any) -> int:
    """Return the tokens of a message's content: a string, or blocks of any documented type."""
    if isinstance(content, str):
        return count(content)
    if isinstance(content, Mapping):
        return count_block(content)
    if isinstance(content, Iterable):
        return sum(count_content(block) for block in content)
    return 0


def count_block(block: Mapping[str, Any]) -> int:
    """Return the tokens of one content block."""
    kind = block.get("type")
    if kind == "image":
        return IMAGE
    if kind == "document":
        source = block.get("source")
        text = source.get("data") if isinstance(source, Mapping) and source.get("type") == "text" else None
        return count(text) if isinstance(text, str) else PDF_PAGE
    if kind == "tool_use":
        return 8 + count(str(block.get("name"))) + count(str(block.get("input")))
    if kind == "tool_result":
        return 8 + count_content(block.get("content") or "")
    return count(str(block.get("text") or block.get("thinking") or ""))


def count_tools(tools: Iterable[Mapping[str, Any]]) -> int:
    """Return the tokens of the tools' definitions, with the instructions that come along."""
    sizes = [count(str(tool)) for tool in tools]
    return TOOLS + sum(sizes) if sizes else 0


def count_request(body: Mapping[str, Any]) -> int:
    """Return the input tokens of a request's body: tools, system prompt, messages and their frames."""
    messages = body.get("messages") or ()
    return (
        BASE
        + count_tools(body.get("tools") or ())
        + count_content(body.get("system") or "")
        + sum(MESSAGE + count_content(message.get("content") or "") for message in messages)
    )
