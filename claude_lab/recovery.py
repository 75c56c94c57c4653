"""What to do when an answer breaks off: leave it (`fail`), ask again (`restart`), or ask for the rest (`continue`).

| what had come | `fail` | `restart` | `continue` |
|---|---|---|---|
| the stop reason: only the last event is missing | the failure | the end | the end |
| a tool call was handed out: it may have been run already | the failure | the failure | the failure |
| text | the failure | from the start | from the last word on |
| only thinking, or less than `LEAST` characters of text | the failure | from the start | from the start |

Every further request counts as an attempt of the same call: the policy's retries, deadline and budget bound it, and
the ledger reserves it. Nothing is spliced in silence: before the first new text goes a `reset`. Thinking cannot be
continued; it is thought again. A continuation is asked for as the vendor's page on streaming says: by a prefill from
models that take one, else by a message that quotes where the answer broke off.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal

from claude_lab import catalogue, clock, tokens
from claude_lab.attempts import Attempts, Judge
from claude_lab.contract import AGAIN, RESET, Frame, Translator, error_frame
from claude_lab.failure import Failure
from claude_lab.retry import GiveUp
from claude_lab.seam import Seam, broken_at
from claude_lab.spending import CeilingReached
from claude_lab.utf16 import whole

Strategy = Literal["fail", "restart", "continue"]
Batch = list[dict[str, Any]]
Ask = Callable[[Mapping[str, Any]], AsyncGenerator[Batch, None]]

LEAST = 24
"""With less text than this, asking again from the start is as cheap, and exact."""
QUOTED = 400
"""So many characters of the end are quoted."""
PLEA = (
    "The answer above was interrupted and ended with [{tail}]. Continue from where it stopped. "
    "Write only the text that follows it, with no introduction, and nothing that is there already."
)
HANDED_OUT = "a tool call had been handed out, and asking again could run it twice"


class WorkerDied(Exception):
    """The worker that wrote an answer is gone, and the strategy is to leave it so."""


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
                text = [whole("".join(text))[: frame["keep_chars"]]]
                thinking = thinking if frame["keep_chars"] else []
        return cls(whole("".join(text)), "".join(thinking), tools, ended)

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
    kept, space = broken_at(came.text.rstrip("\ufffd"))
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

    The lab's count of tokens may be a quarter too high: three quarters of it are taken off, and nothing when a
    thinking budget needs its room.
    """
    most = int(request["max_tokens"])
    if (request.get("thinking") or {}).get("budget_tokens"):
        return most
    return max(1, most - tokens.count(kept) * 3 // 4)


async def spliced(batches: AsyncGenerator[Batch, None], plan: Plan) -> AsyncGenerator[Batch, None]:
    """Yield the batches of a further answer, its beginning joined to what came as the plan says."""
    joint = Joint(plan)
    opening = [plan.again]
    if plan.strategy == "restart" and plan.came.anything:
        opening.append(plan.reset(0))
    async with aclosing(batches):
        async for batch in batches:
            joined = opening + (batch if joint.done else [made for event in batch for made in joint.events(event)])
            opening = []
            yield joined


class Joint:
    """Puts the first text of a further answer behind what came; afterwards, `done`, nothing needs to be looked at."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.seam = Seam(plan.kept, plan.space)
        self.done = plan.strategy != "continue"
        self._text: int | None = None

    def events(self, event: dict[str, Any]) -> Batch:
        """Return the events that stand for one: none while text is held back, a `reset` before the first new text."""
        if self.done:
            return [event]
        delta = event.get("delta") or {}
        if delta.get("type") == "text_delta":
            self._text = event["index"]
            text = self.seam.feed(delta["text"])
            return self._begin({**event, "delta": {**delta, "text": text}}) if self.seam.joined else []
        if self._closes(event):
            held = {"type": "text_delta", "text": self.seam.end()}
            return [*self._begin({"type": "content_block_delta", "index": self._text or 0, "delta": held}), event]
        return [event]

    def _closes(self, event: Mapping[str, Any]) -> bool:
        """Whether no text that belongs to the seam can follow."""
        kind = event["type"]
        opens_tool = kind == "content_block_start" and event["content_block"]["type"] not in ("text", "thinking")
        return kind == "message_delta" or opens_tool or (kind == "content_block_stop" and event["index"] == self._text)

    def _begin(self, event: dict[str, Any]) -> Batch:
        """Return a reset and the first new text; when there is none, all that came stays."""
        self.done = True
        new = event["delta"]["text"]
        reset = self.plan.reset(len(self.plan.kept if new else self.plan.came.text), self.seam.cut)
        return [reset, event] if new else [reset]


def mended(
    ask: Ask,
    request: Mapping[str, Any],
    came: Callable[[], Came],
    *,
    strategy: Strategy,
    attempts: Attempts,
    judge: Judge,
    died: bool = False,
) -> AsyncGenerator[Batch, None]:
    """Return the batches of one answer, mended by `strategy` when it breaks off after its first content.

    `ask(request)` yields the batches of one request, retried by `attempts` before its first content, as
    `upstream.events` does; `came()` tells what was made of the batches so far and is called after a failure only.
    `died` says that another worker wrote what came. Besides the API's events there are two of ours, which
    `contract.Translator` reads. Raises what `ask` raised when nothing more is to be tried, WorkerDied for `died`.
    """
    if strategy == "fail" and not died:
        return ask(request)
    return _mended(ask, request, came, strategy, attempts, judge, died)


async def _mended(
    ask: Ask,
    request: Mapping[str, Any],
    came: Callable[[], Came],
    strategy: Strategy,
    attempts: Attempts,
    judge: Judge,
    died: bool,
) -> AsyncGenerator[Batch, None]:
    before = came()
    batches = ask(request)
    if died and before.anything:
        plan = planned(strategy, request, before, "the worker died", Came())
        if plan is None:
            raise WorkerDied(f"The worker died; {why_left(strategy, before)}.")
        batches, before = spliced(ask(plan.request), plan), kept_of(plan)
    while True:
        try:
            async with aclosing(batches):
                async for batch in batches:
                    yield batch
            return
        except Exception as error:
            so_far = came()
            if strategy == "fail" or attempts.gave_up:
                raise
            failure = judge(error)
            plan = planned(strategy, request, so_far, failure.kind, before)
            wait = 0.0
            if not so_far.ended:
                answer = attempts.failed(failure) if plan else GiveUp(why_left(strategy, so_far))
                if isinstance(answer, GiveUp):
                    error.add_note(f"It was not asked again: {answer.reason}.")
                    raise
                wait = answer
        if so_far.ended or plan is None:
            yield [{"type": "message_stop"}]
            return
        await clock.sleep(wait)
        batches, before = spliced(ask(plan.request), plan), kept_of(plan)


def kept_of(plan: Plan) -> Came:
    """Return what stays of an answer when a plan is carried out."""
    return replace(plan.came, text=plan.kept) if plan.strategy == "continue" else Came()


def why_left(strategy: Strategy, came: Came) -> str:
    """Return why an answer is left as it is."""
    return HANDED_OUT if came.tools else f"recovery={strategy!r} leaves it so"


async def finished(
    ask: Ask,
    request: Mapping[str, Any],
    frames: Iterable[Frame],
    *,
    run: str,
    strategy: Strategy,
    attempts: Attempts,
    judge: Judge,
    ended: bool = False,
    now: Callable[[], float] = clock.now,
) -> AsyncIterator[list[Frame]]:
    """Yield, in lists, the frames that finish a run whose worker died after it had written `frames`.

    For a worker that takes a run over: `request` is the run's own, `strategy` as in the module's table. If nothing
    had come the answer is asked for from the start, whatever the strategy, and without a second `start` if there was
    one. The last frame is `done`, or `error`; frames that are final already yield nothing.
    """
    log = list(frames)
    if log and log[-1][0] in ("done", "error"):
        return
    translator = Translator.after(run, now(), log)
    answer = mended(
        ask, request, lambda: Came.of(log, ended=ended), strategy=strategy, attempts=attempts, judge=judge, died=True
    )
    try:
        async with aclosing(answer):
            async for batch in answer:
                made = translator.frames(batch, now())
                log += made
                ended = translator.stop_reason is not None
                if made:
                    yield made
    except Exception as error:
        yield [last_frame(error, judge)]


def last_frame(error: Exception, judge: Judge) -> Frame:
    """Return the `error` frame of an answer that was given up."""
    if isinstance(error, WorkerDied):
        return error_frame(Failure("server_error", str(error)))
    if isinstance(error, CeilingReached):
        return error_frame(Failure("invalid_request", str(error)))
    return error_frame(judge(error), recovery=next(iter(getattr(error, "__notes__", ())), None))
