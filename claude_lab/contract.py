"""The server's frames: Messages API events and failures in the words of its HTTP contract.

| frame | fields |
|---|---|
| `start` | run, model, usage; `cached`: whether part of the prompt was read from the cache |
| `retry` | error, attempt, wait: asked again in so many seconds; before the first delta, or before a `reset` |
| `thinking`, `delta` | text |
| `tool` | tool_id, name, input |
| `reset` | keep_chars, reason: the answer goes on behind its first so many code points; the rest is void |
| `done` | stop_reason, usage, cost, ttft, events; after recoveries also recoveries and billed_twice |
| `error` | error, message, retryable, retry_after?, request_id?, recovery? |

`keep_chars` counts Unicode code points of the deltas joined, without half a character at their end: `text[:n]` in
Python, `[...text].slice(0, n).join("")` in JavaScript. 0 also voids the thinking so far. `cost` is in dollars by
`spending.PRICES`; None when the model has no known price, or when the output was not counted: the answer was stopped
before, or the count is none. A tool whose input was cut by `max_tokens` has no frame.
After recoveries `usage` and `cost` add up all requests: inputs as the API told them; the output of a request that
broke, which it never told, by the lab's count. `billed_twice` has the tokens among them that a whole first answer would
not have cost: the input of the further requests, and the output that was taken back or cut. `recovery` says why a
broken answer was left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from claude_lab.events import MISSHAPEN, TooLong, Unreadable, input_of, readable, text_of
from claude_lab.failure import Failure, classify
from claude_lab.spending import known_cost

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
Clock = Callable[[], float]
AGAIN, RESET = "claude_lab.again", "claude_lab.reset"
"""Events of ours among the API's: a request broke and another begins; the answer is taken back to a place."""
MOST_BYTES = 16 * 2**20
CUTTING = frozenset({"max_tokens", "model_context_window_exceeded"})
"""Reasons to stop that may cut the input of a tool: the call is left out, as nobody can carry it out."""


@dataclass(slots=True)
class Translator:
    """Turns the events of one message into frames; `began` is a reading, in seconds, of the clock that `now` reads.

    `most_bytes` bounds what is held of the inputs of tools, which are told when they are whole.
    """

    run: str
    began: float
    ttft: float | None = None
    events: int = 0
    usage: dict[str, Any] = field(default_factory=dict)
    stop_reason: str | None = None
    model: str = ""
    started: bool = False
    takes_over: bool = False
    most_bytes: int = MOST_BYTES
    recoveries: int = 0
    billed_twice: dict[str, int] = field(default_factory=lambda: {"input_tokens": 0, "output_tokens": 0})
    _before: dict[str, Any] = field(default_factory=dict)
    _spent: int = 0
    _tools: dict[int, dict[str, Any]] = field(default_factory=dict)
    _tool_bytes: int = 0
    _broken: Unreadable | None = None
    _miscounted: bool = False

    @classmethod
    def after(cls, run: str, began: float, frames: Iterable[Frame]) -> Translator:
        """Return the translator of a run that another worker began, and wrote `frames` of."""
        made = cls(run, began)
        for kind, frame in frames:
            if kind == "start":
                made.started, made.takes_over, made.model = True, True, frame["model"]
                made.usage = dict(frame["usage"])
        return made

    def frames(self, batch: Iterable[Mapping[str, Any]], now: Clock) -> list[Frame]:
        """Return the frames that events stand for, one each at most.

        Raises Unreadable for one of no known shape, TooLong for inputs of tools beyond `most_bytes`.
        """
        found: list[Frame] = []
        try:
            for event in batch:
                self.events += 1
                kind = event["type"]
                if kind == "content_block_delta" and self.ttft is not None and event["delta"]["type"] == "text_delta":
                    found.append(("delta", {"text": text_of(event["delta"])}))  # as nearly all are: no call for each
                elif kind in READERS and (frame := READERS[kind](self, event, now)) is not None:
                    found.append(frame)
        except MISSHAPEN as error:
            raise Unreadable.told(error) from error
        return found

    def _start(self, event: Mapping[str, Any], now: Clock) -> Frame | None:
        message = event["message"]
        further, self.started = self.started, True
        usage = readable(message["usage"])
        if further:
            self._further(usage)
        self.model, self.usage, self.stop_reason = message["model"], usage, None
        self._miscounted = usage != message["usage"]
        if further:
            return None
        cached = bool(self.usage.get("cache_read_input_tokens"))
        return "start", {"run": self.run, "model": self.model, "usage": dict(self.usage), "cached": cached}

    def _again(self, event: Mapping[str, Any], now: Clock) -> None:
        self.events -= 1
        self._spent = event["output_tokens"]

    def _further(self, usage: Mapping[str, Any]) -> None:
        """Close the account of a request that broke; another one of the same answer begins."""
        self.recoveries += 1
        self._before = added(self._before, self.usage | {"output_tokens": self._spent})
        self.billed_twice["input_tokens"] += sum(usage.get(name) or 0 for name in INPUTS)
        self._spent = 0
        self._tools.clear()

    def _reset(self, event: Mapping[str, Any], now: Clock) -> Frame:
        self.events -= 1
        self.billed_twice["output_tokens"] += event["dropped"]
        return "reset", {"keep_chars": event["keep_chars"], "reason": event["reason"]}

    def _block(self, event: Mapping[str, Any], now: Clock) -> None:
        block = event["content_block"]
        if block["type"] == "tool_use":
            self._tools[event["index"]] = {"id": block["id"], "name": block["name"], "json": []}

    def _delta(self, event: Mapping[str, Any], now: Clock) -> Frame | None:
        delta = event["delta"]
        if delta["type"] == "text_delta":
            if self.ttft is None:
                self.ttft = now() - self.began
            return "delta", {"text": text_of(delta)}
        if delta["type"] == "thinking_delta":
            return ("thinking", {"text": delta["thinking"]}) if delta["thinking"] else None
        if delta["type"] == "input_json_delta" and event["index"] in self._tools:
            self._hold(self._tools[event["index"]]["json"], delta["partial_json"])
        return None

    def _hold(self, pieces: list[str], piece: str) -> None:
        """Keep a piece of a tool's input, within the bound on all of them."""
        self._tool_bytes += len(piece)
        if self._tool_bytes > self.most_bytes:
            raise TooLong(f"The input of a tool outgrew MAX_RUN_BYTES={self.most_bytes}; ask for fewer max_tokens.")
        pieces.append(piece)

    def _block_end(self, event: Mapping[str, Any], now: Clock) -> Frame | None:
        tool = self._tools.pop(event["index"], None)
        if tool is None:
            return None
        try:
            return "tool", {"tool_id": tool["id"], "name": tool["name"], "input": input_of(tool["json"])}
        except Unreadable as error:  # unless the answer was cut there, which comes behind
            self._broken = self._broken or error
            return None

    def _message(self, event: Mapping[str, Any], now: Clock) -> None:
        self.stop_reason = event["delta"].get("stop_reason")
        if self._broken is not None and self.stop_reason not in CUTTING:
            raise self._broken
        told = event.get("usage") or {}
        usage = readable(told)
        self._miscounted = self._miscounted or usage != told
        self.usage.update({name: count for name, count in usage.items() if count is not None})

    def _stop(self, event: Mapping[str, Any], now: Clock) -> Frame:
        return self.done(self.stop_reason)

    def done(self, stop_reason: str | None) -> Frame:
        """Return the final frame of an answer that ended, or was stopped."""
        ttft = None if self.ttft is None or self.takes_over else round(self.ttft, 6)
        usage = added(self._before, self.usage)
        cost = None if self.stop_reason is None or self._miscounted else known_cost(self.model, usage)
        frame = {"stop_reason": stop_reason, "usage": usage, "cost": cost, "ttft": ttft, "events": self.events}
        if self.recoveries:
            frame |= {"recoveries": self.recoveries, "billed_twice": dict(self.billed_twice)}
        return "done", frame


def added(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return two usages as one: counts are added up, also within; what is no count is the second's."""
    total = {**first, **second}
    for name in first.keys() & second.keys():
        one, other = first[name], second[name]
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            total[name] = added(one, other)
        elif isinstance(one, int) and isinstance(other, int | None):
            total[name] = one + (other or 0)
    return total


INPUTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")

READERS: dict[str, Any] = {
    "message_start": Translator._start,
    "content_block_start": Translator._block,
    "content_block_delta": Translator._delta,
    "content_block_stop": Translator._block_end,
    "message_delta": Translator._message,
    "message_stop": Translator._stop,
    AGAIN: Translator._again,
    RESET: Translator._reset,
}


def error_frame(failure: Failure, *, recovery: str | None = None) -> Frame:
    """Return the frame of a failure; a message is always there. `recovery` says why a broken answer was left."""
    frame = {
        "error": failure.kind,
        "message": failure.message or failure.kind.replace("_", " "),
        "retryable": classify(failure).retryable,
        "retry_after": failure.retry_after,
        "request_id": failure.request_id,
        "recovery": recovery,
    }
    return "error", {name: value for name, value in frame.items() if value is not None}
