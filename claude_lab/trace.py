"""What happened, when: the one record that edges write and that pictures, widgets and tests read.

A `Mark` is one thing that happened; a `Trace` is an append-only list of marks on one clock.

Kinds, and the value each carries:

| kind | value |
|---|---|
| `request` | the request body, a dict |
| `head` | the HTTP status, an int |
| `chunk` | bytes in one read, an int |
| `start` | the `start` frame: run, model, usage |
| `retry` | the `retry` frame: error, attempt, wait |
| `thinking`, `delta` | the text of one piece |
| `tool`, `moved` | the frame |
| `reset` | the `reset` frame: keep_chars in code points, reason |
| `resume` | the client comes back after a cut: error, attempt, wait, after (the last id it has) |
| `done` | the `done` frame: stop_reason, usage, cost, ttft, events |
| `error` | the `error` frame: error, message, retryable, ... |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from claude_lab import clock
from claude_lab.utf16 import settled, whole


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that happened `at` a time in seconds."""

    at: float
    kind: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class Stall:
    """A gap between two deltas that was long: `length` seconds, beginning `at`."""

    at: float
    length: float


@dataclass(slots=True)
class Trace:
    """The marks of one run, in the order they happened; times count in seconds from `started`.

    `started` is a reading of `claude_lab.clock.now`; it defaults to the moment of creation.
    """

    started: float = field(default_factory=clock.now)
    marks: list[Mark] = field(default_factory=list)
    listeners: list[Callable[[Mark], None]] = field(default_factory=list, repr=False)

    def add(self, kind: str, value: Any = None, *, at: float | None = None) -> Mark:
        """Append a mark now, or `at` seconds from `started`, and tell the listeners."""
        mark = Mark(clock.now() - self.started if at is None else at, kind, value)
        self.marks.append(mark)
        for listener in list(self.listeners):
            listener(mark)
        return mark

    def of(self, *kinds: str) -> Iterator[Mark]:
        """Yield the marks of these kinds, in order."""
        return (mark for mark in self.marks if mark.kind in kinds)

    def last(self, *kinds: str) -> Mark | None:
        """Return the latest mark of these kinds, or None."""
        return next((mark for mark in reversed(self.marks) if mark.kind in kinds), None)

    @property
    def text(self) -> str:
        """The answer so far: every delta, joined; each `reset` keeps its first so many code points of them."""
        pieces: list[str] = []
        for mark in self.of("delta", "reset"):
            if mark.kind == "delta":
                pieces.append(mark.value)
            else:
                pieces = [settled("".join(pieces))[: mark.value["keep_chars"]]]
        return whole("".join(pieces))

    @property
    def thinking(self) -> str:
        """The thinking so far, joined; a `reset` that keeps nothing voids it."""
        pieces: list[str] = []
        for mark in self.of("thinking", "reset"):
            if mark.kind == "thinking":
                pieces.append(mark.value)
            elif not mark.value["keep_chars"]:
                pieces.clear()
        return "".join(pieces)

    @property
    def arrivals(self) -> list[float]:
        """When each delta arrived, in seconds from `started`."""
        return [mark.at for mark in self.of("delta")]

    @property
    def ttft(self) -> float | None:
        """Seconds from the start to the first text delta, or None if none came."""
        return next((mark.at for mark in self.of("delta")), None)

    @property
    def ttfe(self) -> float | None:
        """Seconds to the first event of any kind, or None."""
        return next((m.at for m in self.of("start", "retry", "thinking", "delta", "tool", "done", "error")), None)

    @property
    def gaps(self) -> list[float]:
        """Seconds between neighboring deltas; one fewer than there are deltas."""
        return differences(self.arrivals)

    def stalls(self, longer_than: float = 1.0) -> list[Stall]:
        """Return the gaps longer than so many seconds."""
        return [Stall(at, gap) for at, gap in zip(self.arrivals, self.gaps, strict=False) if gap > longer_than]

    def bursts(self, within: float = 0.005) -> list[int]:
        """Count the deltas of each burst: deltas no further than `within` seconds apart arrived together."""
        sizes = [1] if self.arrivals else []
        for gap in self.gaps:
            if gap <= within:
                sizes[-1] += 1
            else:
                sizes.append(1)
        return sizes

    @property
    def attempts(self) -> int:
        """How many times the upstream was asked: once more than retries were announced."""
        return 1 + len(self.waits)

    @property
    def waits(self) -> list[float]:
        """The seconds waited before each retry."""
        return [mark.value["wait"] for mark in self.of("retry")]

    @property
    def usage(self) -> dict[str, Any]:
        """The token counts last heard of: from `done`, else from `start`, else empty."""
        mark = self.last("done") or self.last("start")
        return dict(mark.value.get("usage") or {}) if mark else {}

    @property
    def stop_reason(self) -> str | None:
        """Why the answer ended, or None while it runs or if it was cut."""
        mark = self.last("done")
        return mark.value["stop_reason"] if mark else None

    @property
    def error(self) -> dict[str, Any] | None:
        """The `error` frame, or None."""
        mark = self.last("error")
        return mark.value if mark else None

    @property
    def ended(self) -> bool:
        """Whether a final frame came; a trace without one is still running, or was cut."""
        return self.last("done", "error") is not None

    @property
    def duration(self) -> float:
        """Seconds from the start to the last mark."""
        return self.marks[-1].at if self.marks else 0.0


def differences(times: Iterable[float]) -> list[float]:
    """Return the seconds between neighbors."""
    return [later - earlier for earlier, later in pairwise(times)]
