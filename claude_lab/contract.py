"""The server's frames: Messages API events and failures in the words of its HTTP contract.

`start` {run, model, usage}, `retry` {error, attempt, wait}, `thinking` and `delta` {text}, `tool` {id, name, input},
`done` {stop_reason, usage, ttft, events}, `error` {error, message, retryable, retry_after?, request_id?}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from claude_lab.failure import Failure, classify

STATUS_OF = {
    "rate_limit": 429,
    "overloaded": 503,
    "server_error": 502,
    "network_error": 502,
    "timeout": 504,
    "truncated": 502,
    # The server's own key was refused, not its client's: that is a bad gateway.
    "auth_error": 502,
    "token_limit": 413,
    "invalid_request": 400,
    "unknown": 500,
}
Frame = tuple[str, dict[str, Any]]


@dataclass(slots=True)
class Translator:
    """Turns the events of one message into frames; `began` and `now` are readings of one clock in seconds."""

    run: str
    began: float
    ttft: float | None = None
    events: int = 0
    usage: dict[str, Any] = field(default_factory=dict)
    stop_reason: str | None = None
    _tools: dict[int, dict[str, Any]] = field(default_factory=dict)

    def frames(self, event: Mapping[str, Any], now: float) -> Iterator[Frame]:
        """Yield the frames that one event stands for: one at most."""
        self.events += 1
        reader = READERS.get(event["type"])
        found = reader(self, event, now) if reader else None
        if found is not None:
            yield found

    def _start(self, event: Mapping[str, Any], now: float) -> Frame:
        message = event["message"]
        self.usage = dict(message["usage"])
        return "start", {"run": self.run, "model": message["model"], "usage": self.usage}

    def _block(self, event: Mapping[str, Any], now: float) -> None:
        block = event["content_block"]
        if block["type"] == "tool_use":
            self._tools[event["index"]] = {"id": block["id"], "name": block["name"], "json": ""}

    def _delta(self, event: Mapping[str, Any], now: float) -> Frame | None:
        delta = event["delta"]
        if delta["type"] == "text_delta":
            if self.ttft is None:
                self.ttft = now - self.began
            return "delta", {"text": delta["text"]}
        if delta["type"] == "thinking_delta":
            return ("thinking", {"text": delta["thinking"]}) if delta["thinking"] else None
        if delta["type"] == "input_json_delta" and event["index"] in self._tools:
            self._tools[event["index"]]["json"] += delta["partial_json"]
        return None

    def _block_end(self, event: Mapping[str, Any], now: float) -> Frame | None:
        tool = self._tools.pop(event["index"], None)
        if tool is None:
            return None
        return "tool", {"id": tool["id"], "name": tool["name"], "input": json.loads(tool["json"] or "{}")}

    def _message(self, event: Mapping[str, Any], now: float) -> None:
        self.stop_reason = event["delta"].get("stop_reason")
        self.usage.update({name: count for name, count in event.get("usage", {}).items() if count is not None})

    def _stop(self, event: Mapping[str, Any], now: float) -> Frame:
        return self.done(self.stop_reason)

    def done(self, stop_reason: str | None) -> Frame:
        """Return the final frame of an answer that ended, or was stopped."""
        ttft = None if self.ttft is None else round(self.ttft, 6)
        return "done", {"stop_reason": stop_reason, "usage": self.usage, "ttft": ttft, "events": self.events}


READERS: dict[str, Any] = {
    "message_start": Translator._start,
    "content_block_start": Translator._block,
    "content_block_delta": Translator._delta,
    "content_block_stop": Translator._block_end,
    "message_delta": Translator._message,
    "message_stop": Translator._stop,
}


def error_frame(failure: Failure) -> Frame:
    """Return the frame of a failure; a message is always there."""
    frame = {
        "error": failure.kind,
        "message": failure.message or failure.kind.replace("_", " "),
        "retryable": classify(failure).retryable,
        "retry_after": failure.retry_after,
        "request_id": failure.request_id,
    }
    return "error", {name: value for name, value in frame.items() if value is not None}
