"""Answers mended while they stream: further requests, carried out as `recovery` plans them and joined to what came.

Every further request counts as an attempt of the same call: the policy's retries, deadline and budget bound it, and
the ledger reserves it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any

from claude_lab import clock
from claude_lab.attempts import Attempts, Judge
from claude_lab.contract import Frame, Translator, error_frame
from claude_lab.failure import Failure
from claude_lab.recovery import Batch, Came, Plan, Strategy, kept_of, planned, why_left
from claude_lab.retry import GiveUp
from claude_lab.seam import Seam
from claude_lab.spending import CeilingReached

Ask = Callable[[Mapping[str, Any]], AsyncGenerator[Batch, None]]


class WorkerDied(Exception):
    """The worker that wrote an answer is gone, and the strategy is to leave it so."""


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
            if joined:
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
                made = translator.frames(batch, now)
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
