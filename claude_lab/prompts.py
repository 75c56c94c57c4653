"""What a request's body says: the texts and blocks of its turns, and the end that a continuation quotes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from claude_lab.messages import Json

ENDED = re.compile(r"interrupted and ended with\s", re.I)
PLEA = re.compile("continue from where", re.I)


def text_of(content: Any) -> str:
    """Return the text of a message's content."""
    if isinstance(content, str):
        return content
    return "\n".join(block.get("text", "") for block in content or () if block.get("type") == "text")


def blocks_of(message: Mapping[str, Any], kind: str) -> list[Json]:
    """Return the blocks of one type in a message."""
    content = message.get("content")
    return [block for block in content if block.get("type") == kind] if isinstance(content, list) else []


def turns(body: Mapping[str, Any], role: str) -> list[str]:
    """Return the texts of all messages of a role."""
    return [text_of(message["content"]) for message in body["messages"] if message["role"] == role]


def quoted(plea: str) -> str:
    """Return the end of an interrupted answer that a plea to continue quotes, or an empty text."""
    start = ENDED.search(plea)
    end = PLEA.search(plea, start.end()) if start else None
    return plea[start.end() : end.start()].strip().removesuffix(".").strip("[]\"' \n") if start and end else ""


def place_of(whole: str, plea: str, turn: str) -> int:
    """Return where an answer broke off: behind the model's own turn, else behind what is quoted of it, else 0."""
    if turn and whole.startswith(turn):
        return len(turn)
    tail = (quoted(plea) or turn).rstrip()[-60:]
    place = whole.find(tail) if tail else -1
    return place + len(tail) if place >= 0 else 0


def words_of(prompt: str) -> str:
    """Return the prompt's last two words: what the strings of a tool's input say."""
    return " ".join(re.findall(r"[\w-]+", prompt[-200:])[-2:]) or "example"
