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
from collections.abc import Iterator, Mapping, Sequence
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
TEXT = frozenset({"text-start", "text-delta", "text-end"})
REASONING = frozenset({"reasoning-start", "reasoning-delta", "reasoning-end"})
OPENING = frozenset({"text-start", "text-delta", "reasoning-start", "reasoning-delta"})
EARLIER = "earlier-"
Part = dict[str, Any]
Frame = Mapping[str, Any]


@dataclass(slots=True)
class Parts:
    """Turns the frames of one run into parts, in order from the first; the same frames make the same parts.

    `message_id` names the message on the reader's side; with `resets` (version 7) a reader knows `reset-step`.
    `earlier` holds what stands in that message before the answer, for a reader that shall build it from nothing.
    """

    message_id: str
    resets: bool = False
    earlier: Sequence[Part] = ()
    _started: bool = False
    _texts: dict[str, list[str]] = field(default_factory=dict)
    _text: str | None = None
    _thought: str | None = None
    _thinking: list[str] = field(default_factory=list)
    _seq: int = 0

    def of(self, seq: int, kind: str, frame: Frame) -> list[Part]:
        """Return the parts that a frame stands for, `seq` its number in the run; none for a type that is not known."""
        self._seq = seq
        reader = READERS.get(kind)
        return list(reader(self, frame)) if reader else []

    def _start(self, frame: Frame) -> Iterator[Part]:
        told = {**frame, "complete": False}
        if self._started:  # a second message upstream is none for the reader
            yield {"type": "message-metadata", "messageMetadata": told}
            return
        self._started = True
        yield {"type": "start", "messageId": self.message_id, "messageMetadata": told}
        for number, part in enumerate(self.earlier):
            yield from told_again(part, f"{EARLIER}{number}")
        yield {"type": "start-step"}

    def _retry(self, frame: Frame) -> Iterator[Part]:
        yield {"type": "data-retry", "data": dict(frame), "transient": True}

    def _thought_of(self, frame: Frame) -> Iterator[Part]:
        self._text = None
        yield from self._think(frame["text"])

    def _think(self, text: str) -> Iterator[Part]:
        if self._thought is None:
            self._thought = f"thought-{self._seq}"
            yield {"type": "reasoning-start", "id": self._thought}
        self._thinking.append(text)
        yield {"type": "reasoning-delta", "id": self._thought, "delta": text}

    def _end_thought(self, **extra: Any) -> Iterator[Part]:
        if self._thought is not None:
            yield {"type": "reasoning-end", "id": self._thought, **extra}
            self._thought = None

    def _delta(self, frame: Frame) -> Iterator[Part]:
        yield from self._end_thought()
        yield from self._say(frame["text"])

    def _say(self, text: str) -> Iterator[Part]:
        if self._text is None:
            self._text = f"text-{self._seq}"
            self._texts[self._text] = []
            yield {"type": "text-start", "id": self._text}
        self._texts[self._text].append(text)
        yield {"type": "text-delta", "id": self._text, "delta": text}

    def _tool(self, frame: Frame) -> Iterator[Part]:
        yield from self._end_thought()
        self._text = None
        called = {"toolCallId": frame["tool_id"], "toolName": frame["name"], "input": frame["input"]}
        yield {"type": "tool-input-available", **called}

    def _reset(self, frame: Frame) -> Iterator[Part]:
        """Take back all that was said and say again what is kept of it; where all is kept, nothing is taken back."""
        yield {"type": "data-reset", "data": dict(frame), "transient": True}
        said, keep = "".join(map("".join, self._texts.values())), frame["keep_chars"]
        if keep < len(said) or (not keep and self._thinking):
            thought = "".join(self._thinking)
            self._thinking.clear()
            yield from self._begin_anew(thought if keep else "") if self.resets else self._mark(keep)
            self._texts.clear()
            self._text = None
            yield from self._say(said[:keep]) if keep else ()

    def _begin_anew(self, thought: str) -> Iterator[Part]:
        self._thought = None
        yield {"type": "reset-step"}
        if thought:
            yield from self._think(thought)
            yield from self._end_thought()

    def _mark(self, keep: int) -> Iterator[Part]:
        yield from self._end_thought(**({} if keep else {"providerMetadata": WITHDRAWN}))
        yield from ({"type": "text-end", "id": name, "providerMetadata": WITHDRAWN} for name in self._texts)

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
    "thinking": Parts._thought_of,
    "delta": Parts._delta,
    "tool": Parts._tool,
    "reset": Parts._reset,
    "done": Parts._done,
    "error": Parts._error,
}


def told_again(part: Part, name: str) -> Iterator[Part]:
    """Yield a part of a message that is on the page already, or was before it was loaded anew.

    A call with its result goes without `tool-input-available`, at which the page would run the tool once more.
    """
    kind = part["type"]
    if kind in ("text", "reasoning"):
        yield {"type": f"{kind}-start", "id": name}
        yield {"type": f"{kind}-delta", "id": name, "delta": str(part.get("text", ""))}
        marks = part.get("providerMetadata")
        yield {"type": f"{kind}-end", "id": name} | ({"providerMetadata": marks} if marks else {})
    elif kind == "step-start":
        yield {"type": "start-step"}
    elif kind == "dynamic-tool" or kind.startswith("tool-"):
        call = {"toolCallId": str(part.get("toolCallId"))}
        dynamic = {"dynamic": True} if kind == "dynamic-tool" else {}
        yield {"type": "tool-input-start", "toolName": str(part.get("toolName") or kind[5:]), **call, **dynamic}
        yield {"type": "tool-input-delta", "inputTextDelta": json.dumps(part.get("input")), **call}
        if part.get("state") == "output-available":
            yield {"type": "tool-output-available", "output": part.get("output"), **call, **dynamic}
        else:
            why = part.get("errorText") or part.get("state")
            yield {"type": "tool-output-error", "errorText": str(why), **call, **dynamic}


@dataclass(slots=True)
class Void:
    """What a `reset` took back of an answer, learnt from its frames in order: a late reader needs no text only to
    hear that it is void.

    What the message held before the answer (`EARLIER`) no reset takes back.
    """

    last: int = 0
    _types: frozenset[str] = frozenset()
    _ends: frozenset[str] = frozenset()
    _marked: set[Any] = field(default_factory=set)
    _gone: frozenset[Any] = frozenset()

    def note(self, seq: int, kind: str, parts: list[Part]) -> None:
        """Learn from the parts of a frame, `seq` its number in the run."""
        if kind == "reset" and any(map(undoes, parts)):
            names = {part["type"] for part in parts}
            anew, keeps = "reset-step" in names, "text-delta" in names
            self.last, self._types = seq, TEXT if keeps and not anew else TEXT | REASONING
            self._ends = frozenset({"reset-step"}) if anew else self._types - OPENING
            # What an earlier reset took back stays void, whatever the last one keeps.
            self._gone = frozenset(self._marked)
        self._marked.update(part["id"] for part in parts if part.get("providerMetadata") == WITHDRAWN)

    def left(self, seq: int, parts: list[Part]) -> list[Part]:
        """Return a frame's parts without those that are void."""
        if seq > self.last:
            return parts
        if seq == self.last:
            return [part for part in parts if part["type"] not in self._ends]
        return [part for part in parts if self._stands(part)]

    def _stands(self, part: Part) -> bool:
        name = part.get("id")
        if isinstance(name, str) and name.startswith(EARLIER):
            return True
        return part["type"] not in self._types and name not in self._gone


def undoes(part: Part) -> bool:
    """Whether a part takes something back."""
    return part["type"] == "reset-step" or part.get("providerMetadata") == WITHDRAWN


def encode(parts: list[Part], event_id: str) -> bytes:
    """Return the parts of one frame, each in its block, and the frame's id behind them: where it stands, all came."""
    return b"".join(sse.encode(json.dumps(part)) for part in parts) + sse.encode(id=event_id)
