"""What a proxy does to a stream, predicted: no process, no socket, no waiting.

The rule itself is in `claude_lab.release`; `Rule`, `Release` and `Asked` can be had from here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from claude_lab import sse
from claude_lab.heads import write
from claude_lab.kinds import FRAMES, TEXT
from claude_lab.reader import Reader
from claude_lab.release import Asked, Release
from claude_lab.rule import Rule
from claude_lab.trace import Trace

__all__ = ["Asked", "Framing", "Release", "Rule", "note", "predict", "releases", "schedule"]

Framing = Literal["chunked", "close", "length"]
Timed = tuple[float, bytes]


def schedule(count: int, *, every: float = 0.02, size_bytes: int = 94) -> list[Timed]:
    """Return `count` events of `size_bytes` each, one `every` so many seconds: (when, bytes) pairs."""
    events = []
    for number in range(count):
        start = f"data: {number} ".encode()
        events.append((number * every, start + b"x" * max(0, size_bytes - len(start) - 2) + b"\n\n"))
    return events


def predict(
    config: Rule | str,
    events: Iterable[Timed],
    *,
    framing: Framing | None = None,
    asked: Asked | None = None,
    fields: Sequence[tuple[str, str]] = (),
) -> Trace:
    """Return when a client would see each event of a schedule behind a proxy: a trace of `head`, `chunk`, `delta`.

    `config` is a rule, or the text of an nginx configuration. `events` are (seconds, bytes) pairs, each written by
    the upstream in one piece, framed as `framing` says; without it as most Python servers answer the proxy: chunked
    to an HTTP/1.1 request, closed at the end to an HTTP/1.0 one. `fields` are more fields for the upstream's head.
    """
    rule = Rule.from_nginx_conf(config) if isinstance(config, str) else config
    framing = framing or ("chunked" if rule.upstream_http == "1.1" else "close")
    trace, reader, decoder = Trace(started=0.0), Reader(), sse.Decoder()
    for at, data in releases(rule, upstream(list(events), framing, fields), asked):
        had_head = reader.head is not None
        body = reader.feed(data)
        if reader.head and not had_head:
            trace.add("head", reader.head.status, at=at)
        if body:
            trace.add("chunk", len(body), at=at)
        for event in decoder.feed(body):
            note(trace, event.data, at=at)
    return trace


def note(trace: Trace, data: str, *, at: float | None = None) -> None:
    """Add one event to a trace: a lab server's frame by its type, anything else as a delta of its own."""
    try:
        frame = json.loads(data)
        kind = frame["type"]
    except (ValueError, TypeError, KeyError):
        trace.add("delta", data, at=at)
        return
    if kind in TEXT:
        trace.add(kind, frame.get("text", ""), at=at)
    elif kind in FRAMES:
        trace.add(kind, frame, at=at)


def upstream(events: list[Timed], framing: Framing, fields: Sequence[tuple[str, str]] = ()) -> Iterator[Timed]:
    """Yield what the upstream writes, when: the head, the framed events, and nothing (its end)."""
    own = [("content-type", "text/event-stream; charset=utf-8"), *fields]
    if framing == "chunked":
        own.append(("transfer-encoding", "chunked"))
    if framing == "length":
        own.append(("content-length", str(sum(len(data) for _, data in events))))
    start = events[0][0] if events else 0.0
    yield start, write("HTTP/1.1 200 OK", own)
    for at, data in events:
        yield at, b"%x\r\n%s\r\n" % (len(data), data) if framing == "chunked" else data
    end = events[-1][0] if events else 0.0
    if framing == "chunked":
        yield end, b"0\r\n\r\n"
    yield end, b""


def releases(rule: Rule, written: Iterable[Timed], asked: Asked | None = None) -> Iterator[Timed]:
    """Yield (when, bytes) as the client receives them; empty bytes in `written` are the upstream's end."""
    release = Release(rule, asked)
    out = ((at, release.feed(data) if data else release.eof()) for at, data in written)
    sent = ((at, data) for at, data in out if data)
    return clumps(sent, rule.clump) if rule.hold == "clumps" else sent


def clumps(sent: Iterable[Timed], every: float) -> Iterator[Timed]:
    """Hold what comes for `every` seconds from its first byte, then let it go together; the last at once."""
    held, due, now = b"", 0.0, 0.0
    for now, data in sent:
        if held and now >= due:
            yield due, held
            held = b""
        due = due if held else now + every
        held += data
    if held:
        yield min(now, due), held
