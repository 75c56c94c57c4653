"""One question put through a chain, and what a client saw of its answer: every read and every event, with its time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from claude_lab import sse
from claude_lab.heads import BadHead, Head
from claude_lab.probe import MARK, Plan
from claude_lab.reader import Reader

TAIL_BYTES = 200


@dataclass(frozen=True, slots=True)
class Question:
    """One request: what the origin is to do (None for a URL that is no probe), and how the client asks."""

    plan: Plan | None = field(default_factory=Plan)
    method: str = "GET"
    accept: str = "text/event-stream"
    encoding: str = "gzip"
    http2: bool = False
    leave_after: int | None = None

    def but(self, **changes: Any) -> Question:
        """Return the question with fields of it, or of its plan, changed."""
        own = {name: value for name, value in changes.items() if name in Question.__dataclass_fields__}
        inner = {name: value for name, value in changes.items() if name not in own}
        plan = replace(self.plan, **inner) if self.plan and inner else self.plan
        return replace(self, **{"plan": plan, **own})


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event at the client: its number, when it was due, written and seen (seconds), and where it ended."""

    n: int
    due: float
    at: float
    seen: float
    body_bytes: int
    wire_bytes: int


@dataclass(frozen=True, slots=True)
class Read:
    """One read: when, how many bytes there were so far, and whether it ended in the middle of an event."""

    seen: float
    body_bytes: int
    wire_bytes: int
    within_event: bool = False


@dataclass(slots=True)
class Observation:
    """What a client saw of one answer.

    `ended` is "whole", "cut", "reset", "closed" (only the connection's close said so), "silent" (nobody ended it),
    "left" (we did), or "refused". `noise` is the longest time our own loop was late; below it nothing can be told.
    `fresh` is the word by which the question is told from others.
    """

    question: Question
    head: Head | None = None
    arrivals: list[Arrival] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    ended: str = "silent"
    tail: str = ""
    noise: float = 0.0
    head_after: float | None = None
    fresh: str = ""

    @property
    def replayed(self) -> bool:
        """Whether the answer is one to an earlier question: a cache had kept it. Only a named question can tell."""
        said = self.head.get(MARK) if self.head else ""
        return bool(self.fresh) and said not in ("", "1", self.fresh)

    @property
    def status(self) -> int:
        """The HTTP status, or 0."""
        return self.head.status if self.head else 0

    @property
    def is_probe(self) -> bool:
        """Whether our endpoint answered."""
        return self.head is not None and bool(self.head.get(MARK))

    @property
    def holds(self) -> list[float]:
        """How long each event was underway beyond the quickest one, in seconds."""
        trips = [arrival.seen - arrival.at for arrival in self.arrivals]
        return [trip - min(trips) for trip in trips]


class Watch:
    """Turns the bytes of one answer, each read with its time, into an observation; `over` once it has ended."""

    def __init__(self, question: Question) -> None:
        self.observation = Observation(question)
        self.over = False
        self._reader = Reader()
        self._decoder = sse.Decoder()
        self._body = 0
        self._wire = 0
        self._tail = b""

    def feed(self, data: bytes, *, seen: float) -> None:
        """Stamp and decode one read."""
        observation = self.observation
        self._wire += len(data)
        try:
            body = self._reader.feed(data)
        except BadHead:
            self.end("refused")
            return
        if self._reader.head and observation.head is None:
            observation.head, observation.head_after = self._reader.head, seen
        self._body += len(body)
        self._tail = (self._tail + body)[-TAIL_BYTES:]
        for event in self._decoder.feed(body):
            observation.arrivals.append(arrival(event.data, seen, self._body, self._wire))
        observation.reads.append(Read(seen, self._body, self._wire, self._decoder.pending))
        leave = observation.question.leave_after
        if leave is not None and len(observation.arrivals) >= leave:
            self.end("left")
        elif self._reader.whole:
            self.end("whole")

    def close(self, *, reset: bool = False) -> None:
        """The connection closed: see what that means for this framing."""
        if self._reader.head is None:
            self.end("refused")
        elif reset:
            self.end("reset")
        else:
            self.end("closed" if self._reader.whole is None else "cut")

    def end(self, how: str) -> None:
        """Note how it ended, once."""
        if not self.over:
            self.over = True
            self.observation.ended = how
            if self._decoder.pending or not self.observation.arrivals:
                self.observation.tail = self._tail.decode("utf-8", "replace")


def arrival(data: str, seen: float, body_bytes: int, wire_bytes: int) -> Arrival:
    """Read one event; what is not ours counts as written when it was seen."""
    try:
        words = json.loads(data)
        return Arrival(words["n"], words["due"], words["at"], seen, body_bytes, wire_bytes)
    except (ValueError, TypeError, KeyError):
        return Arrival(-1, seen, seen, seen, body_bytes, wire_bytes)
