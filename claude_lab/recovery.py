"""What to do when an answer breaks off: leave it (`fail`), ask again (`restart`), or ask for the rest (`continue`).

| what had come | `fail` | `restart` | `continue` |
|---|---|---|---|
| the stop reason: only the last event is missing | the failure | the end | the end |
| a tool call was handed out: it may have been run already | the failure | the failure | the failure |
| text | the failure | from the start | from the last word on |
| only thinking, or less than `LEAST` characters of text | the failure | from the start | from the start |

Nothing is spliced in silence: before the first new text goes a `reset`. Thinking cannot be continued; it is thought
again. A continuation is asked for as the vendor's page on streaming says: by a prefill from
models that take one, else by a message that quotes where the answer broke off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from claude_lab import catalogue, tokens
from claude_lab.contract import AGAIN, RESET, Frame
from claude_lab.seam import broken_at
from claude_lab.utf16 import settled

Strategy = Literal["fail", "restart", "continue"]
Batch = list[dict[str, Any]]

LEAST = 24
"""With less text than this, asking again from the start is as cheap, and exact."""
QUOTED = 400
"""So many characters of the end are quoted."""
ROOM = 256
"""The least `max_tokens` of a request for the rest, if the first one had as many."""
PLEA = (
    "The answer above was interrupted and ended with [{tail}]. Continue from where it stopped. "
    "Write only the text that follows it, with no introduction, and nothing that is there already."
)
HANDED_OUT = "a tool call had been handed out, and asking again could run it twice"


@dataclass(frozen=True, slots=True)
class Came:
    """What came of an answer: text, thinking, how many tool calls were handed out, and whether a stop reason came."""

    text: str = ""
    thinking: str = ""
    tools: int = 0
    ended: bool = False

    @classmethod
    def of(cls, frames: Iterable[Frame], *, ended: bool = False) -> Came:
        """Read it from a run's frames, in order; a `reset` takes back what it says."""
        text: list[str] = []
        thinking: list[str] = []
        tools = 0
        for kind, frame in frames:
            if kind == "delta":
                text.append(frame["text"])
            elif kind == "thinking":
                thinking.append(frame["text"])
            elif kind == "tool":
                tools += 1
            elif kind == "reset":
                text = [settled("".join(text))[: frame["keep_chars"]]]
                thinking = thinking if frame["keep_chars"] else []
        return cls(settled("".join(text)), "".join(thinking), tools, ended)

    @property
    def anything(self) -> bool:
        """Whether there is something that a second answer would repeat."""
        return bool(self.text or self.thinking or self.tools)


@dataclass(frozen=True, slots=True)
class Plan:
    """A further request, and how its answer is joined to what came: behind `kept`, then `space`."""

    strategy: Strategy
    request: Mapping[str, Any]
    reason: str
    came: Came
    kept: str = ""
    space: str = ""
    spent: int = 0

    @property
    def again(self) -> dict[str, Any]:
        """The event that closes the account of the request that broke; its output is counted here, not by the API."""
        return {"type": AGAIN, "output_tokens": self.spent}

    def reset(self, keep_chars: int, cut: str = "") -> dict[str, Any]:
        """Return the event that takes the answer back to so many code points; `cut` is what never was shown."""
        dropped = tokens.count(self.came.text[keep_chars:]) + tokens.count(cut)
        if not keep_chars:
            dropped += tokens.count(self.came.thinking)
        return {"type": RESET, "keep_chars": keep_chars, "reason": self.reason, "dropped": dropped}


def planned(strategy: Strategy, request: Mapping[str, Any], came: Came, what: str, before: Came) -> Plan | None:
    """Return what to ask after a failure (`what`), or None to leave it; `before` had come before the last request.

    `request` is always the first one, as the client made it.
    """
    if strategy == "fail" or came.tools:
        return None
    spent = tokens.count(came.text[len(before.text) :]) + tokens.count(came.thinking[len(before.thinking) :])
    kept, space = broken_at(came.text)
    if strategy == "continue" and len(kept) >= LEAST and (further := continuing(request, kept)):
        return Plan("continue", further, f"continued after {what}", came, kept, space, spent)
    reason = f"started over after {what}"
    if strategy == "continue":
        reason += ", there was too little text to continue" if len(kept) < LEAST else ", its prefill is in blocks"
    return Plan("restart", request, reason, came, spent=spent)


def continuing(request: Mapping[str, Any], kept: str) -> dict[str, Any] | None:
    """Return the request for the rest of an answer that ended with `kept`; None when it cannot be put."""
    messages = list(request["messages"])
    if messages[-1]["role"] == "assistant":
        if not isinstance(messages[-1]["content"], str):
            return None
        kept = messages.pop()["content"] + kept
    messages.append({"role": "assistant", "content": kept})
    if not prefilled(request):
        tail = kept[-QUOTED:]
        tail = tail[tail.find(" ") + 1 :] if len(kept) > QUOTED else tail
        messages.append({"role": "user", "content": PLEA.format(tail=tail)})
    return {**request, "messages": messages, "max_tokens": room(request, kept)}


def prefilled(request: Mapping[str, Any]) -> bool:
    """Whether the model takes a prefill for this request: one of the 4.5 generation or older, not told to think."""
    model = catalogue.MODELS.get(request["model"])
    thinking = (request.get("thinking") or {}).get("type", "disabled")
    return model is not None and model.prefill and thinking == "disabled"


def room(request: Mapping[str, Any], kept: str) -> int:
    """Return the `max_tokens` that are left for the rest.

    The lab's count of tokens may be a quarter too high: three quarters of it are taken off, `ROOM` is left at least,
    since a model may think before it goes on, and all of it when a thinking budget needs its room.
    """
    most = int(request["max_tokens"])
    if (request.get("thinking") or {}).get("budget_tokens"):
        return most
    return max(min(most, ROOM), most - tokens.count(kept) * 3 // 4)


def kept_of(plan: Plan) -> Came:
    """Return what stays of an answer when a plan is carried out."""
    return replace(plan.came, text=plan.kept) if plan.strategy == "continue" else Came()


def why_left(strategy: Strategy, came: Came) -> str:
    """Return why an answer is left as it is."""
    return HANDED_OUT if came.tools else f"recovery={strategy!r} leaves it so"
