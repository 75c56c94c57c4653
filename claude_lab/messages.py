"""A reply as Messages API events, the error bodies, and the tables between HTTP status and error type.

The order of events and the fields of each are those of "Streaming messages" in Anthropic's API reference;
the SDK's strict validation is the judge.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from claude_lab import tokens
from claude_lab.usage import Usage as Usage

Json: TypeAlias = dict[str, Any]

STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The HTTP status that comes with each error type."""

TYPE_OF = {
    **{status: kind for kind, status in STATUS_OF.items()},
    405: "invalid_request_error",
    408: "timeout_error",
    412: "invalid_request_error",
    422: "invalid_request_error",
    431: "invalid_request_error",
    499: "api_error",
    501: "api_error",
    502: "api_error",
    503: "api_error",
    520: "api_error",
    524: "timeout_error",
}
"""The error type that a body with each HTTP status names."""

STOP_REASONS = (
    *("end_turn", "max_tokens", "stop_sequence", "tool_use"),
    *("pause_turn", "refusal", "model_context_window_exceeded"),
)


def error_body(
    type: str, message: str, request_id: str | None = None, *, error_code: str | None = None, **details: Any
) -> Json:
    """Return the API's error envelope; `error_code` and further details go under `error.details`."""
    error: Json = {"type": type, "message": message}
    if error_code is not None:
        error["details"] = {"error_code": error_code, **details}
    return {"type": "error", "error": error} | ({"request_id": request_id} if request_id else {})


def cut(text: str, rand: Callable[[], float] | None = None, *, most: int = 3) -> list[str]:
    """Cut a text into deltas of 1 to `most` tokens, whole code points always; without `rand`, one token each.

    `rand` returns numbers in [0, 1); joined, the pieces give the text again.
    """
    parts = tokens.split(text)
    if rand is None:
        return list(parts)
    pieces, at = [], 0
    while at < len(parts):
        size = 1 + int(rand() * most)
        pieces.append("".join(parts[at : at + size]))
        at += size
    return pieces


@dataclass(frozen=True, slots=True)
class Text:
    """A text block, already cut into the pieces that its deltas carry."""

    pieces: tuple[str, ...]
    citations: tuple[Json, ...] = ()

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    def start(self) -> Json:
        """Return the block as `content_block_start` shows it."""
        return {"type": "text", "text": ""} | ({"citations": []} if self.citations else {})

    def deltas(self) -> Iterator[Json]:
        """Yield the citations, then the pieces of text."""
        for citation in self.citations:
            yield {"type": "citations_delta", "citation": citation}
        for piece in self.pieces:
            yield {"type": "text_delta", "text": piece}

    def content(self) -> Json:
        """Return the whole block, as a message has it."""
        return {"type": "text", "text": self.text} | ({"citations": list(self.citations)} if self.citations else {})


@dataclass(frozen=True, slots=True)
class Thinking:
    """A thinking block; without pieces its text is omitted and only the signature comes."""

    pieces: tuple[str, ...]
    signature: str

    def start(self) -> Json:
        """Return the block as `content_block_start` shows it."""
        return {"type": "thinking", "thinking": "", "signature": ""}

    def deltas(self) -> Iterator[Json]:
        """Yield the pieces (one empty piece when omitted), then the signature, once."""
        for piece in self.pieces or ("",):
            yield {"type": "thinking_delta", "thinking": piece}
        yield {"type": "signature_delta", "signature": self.signature}

    def content(self) -> Json:
        """Return the whole block, as a message has it."""
        return {"type": "thinking", "thinking": "".join(self.pieces), "signature": self.signature}


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A call of one of the request's tools; its input streams as pieces of JSON, the first one empty.

    `kept` is how many pieces `max_tokens` leaves, None for all.
    Divergence 1: a whole message shows the input of a call cut short as empty; the documentation does not say.
    """

    id: str
    name: str
    input: Json
    kept: int | None = None

    @property
    def pieces(self) -> tuple[str, ...]:
        """The input's JSON, one token each, as far as it came."""
        return tokens.split(json.dumps(self.input, ensure_ascii=False))[: self.kept]

    def start(self) -> Json:
        """Return the block as `content_block_start` shows it."""
        return {"type": "tool_use", "id": self.id, "name": self.name, "input": {}, "caller": {"type": "direct"}}

    def deltas(self) -> Iterator[Json]:
        """Yield the input's JSON, in pieces."""
        for piece in ("", *self.pieces):
            yield {"type": "input_json_delta", "partial_json": piece}

    def content(self) -> Json:
        """Return the whole block, as a message has it."""
        return {**self.start(), "input": self.input if self.kept is None else {}}


Block: TypeAlias = Text | Thinking | ToolUse


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says to one request."""

    id: str
    model: str
    blocks: tuple[Block, ...]
    usage: Usage = field(default_factory=Usage)
    stop_reason: str = "end_turn"
    stop_sequence: str | None = None
    stop_details: Json | None = None
    container: Json | None = None

    @property
    def text(self) -> str:
        """The text blocks, joined."""
        return "".join(block.text for block in self.blocks if isinstance(block, Text))

    def stop(self) -> Json:
        """Return why the reply ended, as `message_delta` and a whole message say it."""
        why = {"stop_reason": self.stop_reason, "stop_sequence": self.stop_sequence, "stop_details": self.stop_details}
        return why | ({"container": self.container} if self.container else {})

    def head(self) -> Json:
        """Return the message as `message_start` shows it: no content yet, one output token."""
        return {
            "model": self.model,
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": {**self.usage.start(), "output_tokens": min(1, self.usage.output)},
        }

    def message(self) -> Json:
        """Return the whole message: the body of a reply that is not streamed."""
        return {
            **self.head(),
            "content": [block.content() for block in self.blocks],
            **self.stop(),
            "usage": {**self.usage.start(), **self.usage.details()},
        }

    def events(self) -> Iterator[Json]:
        """Yield the events of the stream in order; `ping` comes right after the first block has started."""
        yield {"type": "message_start", "message": self.head()}
        for index, block in enumerate(self.blocks):
            yield {"type": "content_block_start", "index": index, "content_block": block.start()}
            if index == 0:
                yield {"type": "ping"}
            for delta in block.deltas():
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        yield {"type": "message_delta", "delta": self.stop(), "usage": self.usage.delta()}
        yield {"type": "message_stop"}
