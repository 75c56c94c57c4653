"""Conversations that the server holds: a request begins one, later ones send only what is new.

Source: the SDK's types `BetaThreadCreateParams`, `BetaThreadContinueParams` and its `Thread...Error`s.
Divergence 1: a turn whose answer was cut short by a fault is not held; the API holds all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from claude_lab.faults import Refusal
from claude_lab.messages import Json, Reply

KEPT = 256
"""So many turns are held, the latest ones."""
FIXED = ("system", "tools")
"""What a thread is created with, and keeps."""


@dataclass(slots=True)
class Turn:
    """What stood behind one reply: the fixed fields and all messages, the reply's own last."""

    fixed: Json
    messages: list[Json]
    continued: bool = False


@dataclass(slots=True)
class Threads:
    """The conversations of one fake, by the id of their latest reply."""

    kept: dict[str, Turn] = field(default_factory=dict)

    def whole(self, body: Any) -> Any:
        """Return a body with what its thread holds, or the refusal of a thread that cannot go on.

        Bodies without a thread, and whatever is no body, come back as they are.
        """
        thread = body.get("thread") if isinstance(body, Mapping) else None
        if not isinstance(thread, Mapping) or thread.get("type") != "continue":
            return body
        turn = self.kept.get(str(thread.get("previous_message_id")))
        if turn is None:
            return refused("thread_not_found", "The thread to continue was not found.", status=404)
        if turn.continued:
            return refused("thread_already_continued", "This response has already been continued.")
        if again := [name for name in FIXED if name in body]:
            return Refusal(status=400, message=f"{again[0]}: a thread keeps what it was created with")
        news = body.get("messages")
        return {**body, **turn.fixed, "messages": [*turn.messages, *news]} if isinstance(news, list) else body

    def hold(self, body: Mapping[str, Any], reply: Reply) -> None:
        """Hold the turn that a whole body and its reply make, if it belongs to a thread; a refused one does not."""
        thread = body.get("thread")
        if not thread or reply.stop_reason == "refusal":
            return
        if thread["type"] == "continue":
            self.kept[thread["previous_message_id"]].continued = True
        said = {"role": "assistant", "content": [block.content() for block in reply.blocks]}
        fixed = {name: body[name] for name in FIXED if name in body}
        self.kept[reply.id] = Turn(fixed, [*body["messages"], said])
        while len(self.kept) > KEPT:
            del self.kept[next(iter(self.kept))]


def refused(code: str, message: str, *, status: int = 400) -> Refusal:
    """Return the refusal that tells a client to send the whole conversation again."""
    rest = 'Replay the full conversation with `thread: {"type": "create"}`.'
    return Refusal(status=status, message=f"{message} {rest}", error_code=code)
