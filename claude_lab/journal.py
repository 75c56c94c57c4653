"""What a fake saw: every request, when, which attempt of which call, and how its answer ended. Keys are never kept."""

from __future__ import annotations

import dataclasses
import html
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

SECRET = frozenset({"authorization", "x-api-key", "proxy-authorization", "cookie"})
REDACTED = "[redacted]"
KEPT = 10_000
"""So many entries are kept; older ones are forgotten."""
COLUMNS = ("#", "at", "request", "attempt", "status", "fault", "retry-after", "bytes", "took", "ended")


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
    text_sent: bool = False
    ended: str = "open"
    ended_at: float | None = None

    def __str__(self) -> str:
        what = f"{self.number} {self.method} {self.path} attempt {self.attempt}"
        return f"{what} -> {self.status} {self.ended}{f' by {self.fault}' if self.fault else ''}"

    @property
    def duration(self) -> float | None:
        """Seconds from its arrival to its end."""
        return None if self.ended_at is None else self.ended_at - self.at


@dataclass(slots=True)
class Journal:
    """The entries, oldest first, the last `KEPT` of them. Read it from any thread."""

    entries: list[Entry] = field(default_factory=list)
    total: int = 0

    def add(self, entry: Entry) -> Entry:
        """Append an entry."""
        self.total += 1
        self.entries.append(entry)
        if len(self.entries) > KEPT:
            del self.entries[: len(self.entries) - KEPT]
        return entry

    @property
    def open(self) -> int:
        """How many answers are still under way."""
        return sum(1 for entry in list(self.entries) if entry.ended == "open")

    def settle(self, within: float = 10.0) -> Self:
        """Wait until no answer is under way, at most so many seconds; raises TimeoutError, naming those that are."""
        until, late = time.monotonic() + within, False
        while self.open:
            if late:
                still = "; ".join(str(entry) for entry in self if entry.ended == "open")
                raise TimeoutError(f"After {within:g} s still under way: {still}. Stop their readers first.")
            time.sleep(0.005)
            late = time.monotonic() > until
        return self

    def clear(self) -> None:
        """Forget everything."""
        self.entries.clear()

    def assert_called(self, times: int | None = None, **fields: Any) -> list[Entry]:
        """Return the entries whose fields are these, such as `status=429`; `times` is how many there must be.

        Raises AssertionError, with what came instead, for another number; without `times` one or more will do.
        """
        found = [entry for entry in self if all(getattr(entry, name) == value for name, value in fields.items())]
        if (times is None and not found) or (times is not None and len(found) != times):
            wanted = "a request" if times is None else f"{times} requests"
            told = ", ".join(f"{name}={value!r}" for name, value in fields.items()) or "any fields"
            seen = "; ".join(str(entry) for entry in self) or "none at all"
            raise AssertionError(f"Expected {wanted} with {told}, saw {len(found)}. All requests: {seen}.")
        return found

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in COLUMNS)
        rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in self._row(entry))}</tr>" for entry in self)
        return f"<table><caption>{len(self)} requests, {self.open} open</caption><tr>{head}</tr>{rows}</table>"

    def _row(self, entry: Entry) -> list[str]:
        start = self.entries[0].at
        cells: list[object] = [
            entry.number,
            f"{entry.at - start:.2f} s",
            f"{entry.method} {entry.path}",
            entry.attempt,
            entry.status or "",
            entry.fault or "",
            "" if entry.retry_after is None else f"{entry.retry_after:g} s",
            f"{entry.sent_bytes:,}",
            "" if entry.duration is None else f"{entry.duration:.2f} s",
            entry.ended,
        ]
        return [html.escape(str(cell)) for cell in cells]

    def json(self) -> list[dict[str, Any]]:
        """Return the entries as JSON, keys redacted."""
        return [dataclasses.asdict(entry) for entry in self]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self.entries))

    def __getitem__(self, index: int) -> Entry:
        return self.entries[index]
