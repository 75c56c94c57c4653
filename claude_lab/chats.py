"""Which run a page's chat asked for last, so that `useChat` finds its answer again: it knows its chat's id alone.

Kept in memory, or in the Redis that the workers share. A chat belongs to the caller that made it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

Chat = tuple[str, str]
"""Who asks, and the id that the page has for its chat."""
MOST_EARLIER_BYTES = 256 * 1024
KEPT = 86_400
"""Seconds that Redis remembers a chat: longer than any run, so that a run that is gone is told from one never asked."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A chat's last run, the id of the message that it writes, and what stood there before (None: it was too much)."""

    run: str
    message_id: str
    earlier: list[dict[str, Any]] | None = field(default_factory=list)

    @classmethod
    def of(cls, run: str, message: dict[str, Any] | None) -> Turn:
        """Return the turn of a run that begins a message, or goes on with this one."""
        if message is None:
            return cls(run, run)
        size_bytes = len(json.dumps(message["parts"]))
        return cls(run, message["id"], message["parts"] if size_bytes <= MOST_EARLIER_BYTES else None)


@dataclass(slots=True)
class Chats:
    """The chats of one worker in memory, bounded: what was asked longest ago is forgotten first."""

    most: int = 1000
    turns: dict[Chat, Turn] = field(default_factory=dict)

    async def put(self, chat: Chat, turn: Turn) -> None:
        """Remember a chat's last run."""
        self.turns.pop(chat, None)
        self.turns[chat] = turn
        if len(self.turns) > self.most:
            del self.turns[next(iter(self.turns))]

    async def get(self, chat: Chat) -> Turn | None:
        """Return a chat's last run, or None."""
        return self.turns.get(chat)


@dataclass(frozen=True, slots=True)
class SharedChats:
    """The chats of all workers on one Redis, a `redis_log.Database`; both methods raise LogLost without an answer."""

    database: Any

    async def put(self, chat: Chat, turn: Turn) -> None:
        """Remember a chat's last run."""
        await self.database.ask(self.database.redis.set(key_of(chat), json.dumps(asdict(turn)), ex=KEPT))

    async def get(self, chat: Chat) -> Turn | None:
        """Return a chat's last run, or None."""
        told = await self.database.ask(self.database.redis.get(key_of(chat)))
        return Turn(**json.loads(told)) if told else None


def key_of(chat: Chat) -> str:
    """Return a chat's key: whatever a page calls its chat, of one length."""
    return f"claude_lab:chat:{chat[0]}:{hashlib.sha256(chat[1].encode('utf-8', 'replace')).hexdigest()[:32]}"
