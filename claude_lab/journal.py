"""What a fake saw: every request, when, which attempt of which call, and how its answer ended. Keys are never kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

SECRET = frozenset({"authorization", "x-api-key", "proxy-authorization", "cookie"})
REDACTED = "[redacted]"


def redact(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers without what opens doors."""
    return {name: REDACTED if name in SECRET else value for name, value in headers.items()}


@dataclass(slots=True)
class Entry:
    """One request: `at` and `ended_at` are readings of `clock.now`; `ended` is "open" while it lasts.

    It ends "complete", "refused" (an HTTP error), by a "fault" that cut it, because the "client left", or "stopped".
    """

    number: int
    at: float
    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    body: Any = field(default=None, repr=False)
    call: str | None = None
    attempt: int = 1
    fingerprint: int = 0
    stream: bool = False
    status: int | None = None
    fault: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    sent_bytes: int = 0
    ended: str = "open"
    ended_at: float | None = None

    @property
    def duration(self) -> float | None:
        """Seconds from its arrival to its end."""
        return None if self.ended_at is None else self.ended_at - self.at


@dataclass(slots=True)
class Journal:
    """The entries, oldest first. Read it from any thread."""

    entries: list[Entry] = field(default_factory=list)

    def add(self, entry: Entry) -> Entry:
        """Append an entry."""
        self.entries.append(entry)
        return entry

    @property
    def open(self) -> int:
        """How many answers are still under way."""
        return sum(1 for entry in list(self.entries) if entry.ended == "open")

    def clear(self) -> None:
        """Forget everything."""
        self.entries.clear()

    def json(self) -> list[dict[str, Any]]:
        """Return the entries as JSON, keys redacted."""
        return [dataclasses.asdict(entry) for entry in self]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self.entries))

    def __getitem__(self, index: int) -> Entry:
        return self.entries[index]
