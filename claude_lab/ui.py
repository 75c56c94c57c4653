"""The Vercel AI SDK's UI message stream: the frames of a run as the parts that `useChat` reads.

Source: the schema and the reader in the npm package `ai`, versions 6 and 7; parts that 6 does not know are sent only
to who asks for 7. Version 6 cannot take text back, so a `reset` ends the text with a mark, `withdrawn`, in its
`providerMetadata`, and what is kept of it comes again in a text of its own; version 7 gets `reset-step`.

Divergence 1 (from the SDK's own servers): text stays open until the answer has ended, so that a `reset` can mark it
and a cut leaves it in the state `streaming`.
Divergence 2: an answer that was stopped is an `abort` and an `error`: `useChat` takes an `abort` alone for success.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from claude_lab import sse

HEADER = "x-vercel-ai-ui-message-stream"
DONE = sse.encode("[DONE]")
FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool-calls",
    "refusal": "content-filter",
}
"""Why an answer ended, in the SDK's words; any other reason is "other"."""
WITHDRAWN = {"claude_lab": {"withdrawn": True}}
STOPPED = "The answer was stopped before its end."
Part = dict[str, Any]
Frame = Mapping[str, Any]


@dataclass(slots=True)
class Parts:
    """Turns the frames of one run into parts, in order from the first; the same frames make the same parts.

    `message_id` names the message on the reader's side; with `resets` (version 7) a reader knows `reset-step`.
    """

    message_id: str
    resets: bool = False
    _started: bool = False
    _texts: dict[str, str] = field(default_factory=dict)
    _text: str | None = None
    _thought: str | None = None
    _count: int = 0

    def of(self, kind: str, frame: Frame) -> list[Part]:
        """Return the parts that a frame stands for; none for a type that is not known."""
        reader = READERS.get(kind)
        return list(reader(self, frame)) if reader else []

    def _id(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def _start(self, frame: Frame) -> Iterator[Part]:
        told = {**frame, "complete": False}
        if self._started:  # a restart begins a second message upstream, and none for the reader
            yield {"type": "message-metadata", "messageMetadata": told}
            return
        self._started = True
        yield {"type": "start", "messageId": self.message_id, "messageMetadata": told}
        yield {"type": "start-step"}

    def _retry(self, frame: Frame) -> Iterator[Part]:
        yield {"type": "data-retry", "data": dict(frame), "transient": True}

    def _thinking(self, frame: Frame) -> Iterator[Part]:
        self._text = None
        if self._thought is None:
            self._thought = self._id("thought-")
            yield {"type": "reasoning-start", "id": self._thought}
        yield {"type": "reasoning-delta", "id": self._thought, "delta": frame["text"]}

    def _delta(self, frame: Frame) -> Iterator[Part]:
        yield from self._end_thought()
        yield from self._say(frame["text"])

    def _say(self, text: str) -> Iterator[Part]:
        if self._text is None:
            self._text = self._id("text-")
            self._texts[self._text] = ""
            yield {"type": "text-start", "id": self._text}
        self._texts[self._text] += text
        yield {"type": "text-delta", "id": self._text, "delta": text}

    def _end_thought(self) -> Iterator[Part]:
        if self._thought is not None:
            yield {"type": "reasoning-end", "id": self._thought}
            self._thought = None

    def _tool(self, frame: Frame) -> Iterator[Part]:
        yield from self._end_thought()
        self._text = None
        called = {"toolCallId": frame["id"], "toolName": frame["name"], "input": frame["input"]}
        yield {"type": "tool-input-available", **called}

    def _reset(self, frame: Frame) -> Iterator[Part]:
        """Take back what came after the first `keep_chars` characters of the answer; often that is nothing."""
        yield {"type": "data-reset", "data": dict(frame), "transient": True}
        keep = frame["keep_chars"]
        if keep >= sum(map(len, self._texts.values())):
            return
        self._text = None
        yield from self._begin_anew(keep) if self.resets else self._mark(keep)

    def _begin_anew(self, keep: int) -> Iterator[Part]:
        kept = "".join(self._texts.values())[:keep]
        self._texts.clear()
        self._thought = None
        yield {"type": "reset-step"}
        if kept:
            yield from self._say(kept)

    def _mark(self, keep: int) -> Iterator[Part]:
        yield from self._end_thought()
        for name, text in list(self._texts.items()):
            if len(text) > keep:
                yield {"type": "text-end", "id": name, "providerMetadata": WITHDRAWN}
                del self._texts[name]
                if keep:
                    yield from self._say(text[:keep])
            keep = max(0, keep - len(text))

    def _done(self, frame: Frame) -> Iterator[Part]:
        if frame["stop_reason"] == "stopped":
            yield {"type": "message-metadata", "messageMetadata": dict(frame)}
            yield {"type": "abort", "reason": "stopped"}
            yield {"type": "error", "errorText": STOPPED}
            return
        yield from self._end_thought()
        yield from ({"type": "text-end", "id": name} for name in self._texts)
        yield {"type": "finish-step"}
        reason = FINISH.get(frame["stop_reason"], "other")
        yield {"type": "finish", "finishReason": reason, "messageMetadata": {**frame, "complete": True}}

    def _error(self, frame: Frame) -> Iterator[Part]:
        told = {name: value for name, value in frame.items() if name != "message"}
        yield {"type": "message-metadata", "messageMetadata": told}
        yield {"type": "error", "errorText": frame["message"]}


READERS: dict[str, Any] = {
    "start": Parts._start,
    "retry": Parts._retry,
    "thinking": Parts._thinking,
    "delta": Parts._delta,
    "tool": Parts._tool,
    "reset": Parts._reset,
    "done": Parts._done,
    "error": Parts._error,
}


def encode(parts: list[Part], event_id: str) -> bytes:
    """Return the parts of one frame, each in its block, and the frame's id behind them: where it stands, all came."""
    return b"".join(sse.encode(json.dumps(part)) for part in parts) + sse.encode(id=event_id)
