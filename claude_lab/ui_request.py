"""What `useChat` posts, read as a Messages API conversation.

The body is `{id, messages: [{role, parts}], trigger, messageId?}`; every other field is passed on as one of our own
(`max_tokens`, `model`, ...). Text, files and finished tool calls are sent upstream. What a model thought is left out,
since its signature never reached the page, and so is text that was withdrawn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from claude_lab.ui import WITHDRAWN

Json = dict[str, Any]
THEIRS = ("id", "messages", "trigger", "messageId")
LONGEST_ID = 200
DATA_URL = re.compile(r"data:[^,]*;base64,(.+)", re.S)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of `useChat`: its chat, the message it continues (None: a new one), and the fields for our server."""

    chat: str
    continues: Json | None
    fields: Json


def read(body: Any) -> Asked:
    """Read a request's body. Raises ValueError, with a sentence that may be shown, when it is none."""
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        raise ValueError("The body is not what useChat sends; post {id, messages: [{role, parts}], trigger}.")
    chat = body.get("id")
    if not isinstance(chat, str) or not 0 < len(chat) <= LONGEST_ID:
        raise ValueError(f"The chat's id {str(chat)[:40]!r} is no text of 1 to {LONGEST_ID} characters; send one.")
    fields = {name: value for name, value in body.items() if name not in THEIRS}
    system = [text_of(message) for message in messages if message.get("role") == "system"]
    if system:
        first = fields.get("system")
        fields["system"] = "\n\n".join(text for text in [first if isinstance(first, str) else "", *system] if text)
    fields["messages"] = [turn for message in messages for turn in turns_of(message)]
    last = messages[-1] if messages else {}
    goes_on = last.get("role") == "assistant" and isinstance(last.get("id"), str)
    return Asked(chat, last if goes_on else None, fields)


def parts_of(message: Json) -> list[Json]:
    """Return a message's parts, checked."""
    parts = message.get("parts")
    if not isinstance(parts, list) or not all(
        isinstance(part, dict) and isinstance(part.get("type"), str) for part in parts
    ):
        raise ValueError(f"The message {str(message.get('id'))[:40]!r} has no parts; send {{role, parts: [...]}}.")
    return parts


def text_of(message: Json) -> str:
    """Return the text of a message."""
    return "".join(str(part.get("text", "")) for part in parts_of(message) if part["type"] == "text")


def turns_of(message: Json) -> list[Json]:
    """Return what one message of the page is upstream: a turn, or several where tools were called."""
    role = message.get("role")
    if role == "system":
        return []
    if role == "user":
        said = [block for part in parts_of(message) if (block := block_of(part))]
        return [{"role": "user", "content": said}] if said else []
    if role == "assistant":
        return answered(parts_of(message))
    raise ValueError(f"The role {str(role)[:40]!r} is not known; use 'system', 'user' or 'assistant'.")


def block_of(part: Mapping[str, Any]) -> Json | None:
    """Return a part's content block; None for what a model is not shown."""
    if part["type"] == "file":
        return file_block(part)
    withdrawn = part.get("providerMetadata") == WITHDRAWN
    if part["type"] != "text" or withdrawn or not str(part.get("text", "")).strip():
        return None
    return {"type": "text", "text": str(part["text"])}


def file_block(part: Mapping[str, Any]) -> Json:
    """Return an image or a PDF as a block."""
    kind, url = str(part.get("mediaType", "")), str(part.get("url", ""))
    if not kind.startswith("image/") and kind != "application/pdf":
        raise ValueError(f"A file of type {kind[:40]!r} cannot be sent; attach an image or a PDF.")
    found = DATA_URL.fullmatch(url)
    source = {"type": "base64", "media_type": kind, "data": found[1]} if found else {"type": "url", "url": url}
    return {"type": "image" if kind.startswith("image/") else "document", "source": source}


def answered(parts: list[Json]) -> list[Json]:
    """Return an assistant's message as turns: what it said and called, then the results, then what it said to them."""
    turns: list[Json] = []
    said: list[Json] = []
    results: list[Json] = []

    def close() -> None:
        turns.extend([{"role": "assistant", "content": said[:]}] if said else [])
        turns.extend([{"role": "user", "content": results[:]}] if results else [])
        said.clear()
        results.clear()

    for part in parts:
        called = part["type"] == "dynamic-tool" or str(part["type"]).startswith("tool-")
        block = None if called else block_of(part)
        if part["type"] == "step-start" or (block and results):
            close()
        if called:
            said.append(tool_use(part))
            results.append(tool_result(part))
        elif block:
            said.append(block)
    close()
    return turns


def tool_use(part: Json) -> Json:
    """Return a tool part's call."""
    name = str(part.get("toolName") if part["type"] == "dynamic-tool" else part["type"].removeprefix("tool-"))
    return {"type": "tool_use", "id": str(part.get("toolCallId")), "name": name, "input": part.get("input") or {}}


def tool_result(part: Json) -> Json:
    """Return a tool part's result. Raises ValueError while there is none: the API would refuse the call without it."""
    call = str(part.get("toolCallId"))
    result = {"type": "tool_result", "tool_use_id": call}
    state = part.get("state")
    if state == "output-available":
        output = part.get("output")
        return result | {"content": output if isinstance(output, str) else json.dumps(output)}
    if state == "output-error":
        return result | {"content": str(part.get("errorText")), "is_error": True}
    if state == "output-denied":
        return result | {"content": "The user did not allow this call.", "is_error": True}
    raise ValueError(f"The tool call {call[:40]!r} has no result; add one with addToolOutput before going on.")
