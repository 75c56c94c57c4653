"""Where a proxy sends requests, by which rule the answers come back, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from claude_lab import inbound
from claude_lab.heads import Head
from claude_lab.rule import Rule


@dataclass(frozen=True, slots=True)
class Cut:
    """A fault of this hop: after so many bytes from the upstream it resets, closes in order, or falls silent."""

    after_bytes: int
    how: Literal["reset", "close", "silence"] = "reset"

    def __post_init__(self) -> None:
        if self.how not in ("reset", "close", "silence"):
            raise ValueError(f"A hop cannot fail by {self.how!r}; use 'reset', 'close' or 'silence'.")


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests go, and by which rule the answers come back; `upstream` is an http URL, its path a prefix."""

    upstream: str
    rule: Rule = field(default_factory=Rule)
    fault: Cut | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.upstream)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"The upstream {self.upstream!r} is no http URL; give one like 'http://127.0.0.1:8000'.")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.upstream)
        return parts.hostname or "", parts.port or 80

    @property
    def path(self) -> str:
        """The path put in front of every request's path."""
        return urlsplit(self.upstream).path.rstrip("/")


@dataclass(slots=True)
class Passage:
    """What became of one answer: bytes the upstream sent, bytes released to the client (heads and framing included)."""

    request: str
    received_bytes: int = 0
    released_bytes: int = 0
    ended: Literal["whole", "cut", "left"] | None = None


def sent_on(route: Route, head: Head, path: str, body: bytes) -> bytes:
    """Return the request as the upstream gets it."""
    host, port = route.address
    return inbound.sent_on(head, body, path=path, host=f"{host}:{port}", http=route.rule.upstream_http)
