"""One HTTP request to the fake, read whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from claude_lab import bodies
from claude_lab.journal import Entry
from claude_lab.player import Connection, Scope
from claude_lab.responses import Tags


@dataclass(slots=True)
class Call:
    """One HTTP request, read whole."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes
    size_bytes: int
    base: str
    body: Any = None
    entry: Entry = field(init=False)
    tags: Tags = field(init=False)


async def read(scope: Scope, connection: Connection, prefix: str) -> Call:
    """Read a whole request; of a body beyond the limit only the size is kept."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await connection.receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= bodies.LIMIT_BYTES:
            chunks.append(chunk)
        more = message.get("more_body", False)
    path = scope["path"]
    inside = path.startswith(prefix + "/") if prefix else True
    query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
    base = f"{scope.get('scheme', 'http')}://{headers.get('host', 'localhost')}{prefix}"
    raw = b"".join(chunks)
    return Call(scope["method"], path.removeprefix(prefix) if inside else "", query, headers, raw, size, base)
