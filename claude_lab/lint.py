"""Says from an nginx configuration alone what will hold a stream: for each proxied location and kind of client.

The forecast comes from the same rule that drives the proxy; the traps are the settings that hold, lose or keep paying.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from claude_lab.buffering import Asked, Rule, schedule, upstream
from claude_lab.directives import Location, locations, locations_of
from claude_lab.prose import wrapped
from claude_lab.reader import Reader
from claude_lab.release import Release
from claude_lab.traps import CHECKS, Trap, compressed, speaks_http2

HEARTBEAT = 15.0
EVENTS = schedule(1500, size_bytes=128)
Client = Literal["http", "https, HTTP/1.1", "https, HTTP/2"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one kind of client gets: so many `first_bytes` of events must be written before it sees one (None: all).

    They are counted as the app writes them; on the wire each event has the framing of a chunk around it.
    """

    client: Client
    mode: str
    first_bytes: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Advice:
    """All about one proxied location."""

    file: str
    line: int
    path: str
    upstream: str
    forecasts: tuple[Forecast, ...]
    traps: tuple[Trap, ...]


@dataclass(frozen=True, slots=True)
class Judgment:
    """The result for a configuration; `exit_code` is 1 when there is a trap in it."""

    locations: tuple[Advice, ...]

    @property
    def traps(self) -> list[Trap]:
        """Every trap, in the order of the locations."""
        return [trap for advice in self.locations for trap in advice.traps]

    @property
    def exit_code(self) -> int:
        """For a CI job."""
        return 1 if self.traps else 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"locations": [asdict(advice) for advice in self.locations], "traps": len(self.traps)}

    def __str__(self) -> str:
        return "\n".join(line for advice in self.locations for line in lines_of(advice)) or "No proxied location."


def lint(source: str | Path, *, version: tuple[int, ...] = (1, 22, 1), heartbeat: float = HEARTBEAT) -> Judgment:
    """Judge a configuration: the path of a file (its includes are read too), or its text.

    `version` is the nginx that will run it (defaults changed in 1.29.7), `heartbeat` the seconds between the server's
    comments. Raises directives.ConfError for what cannot be read, FileNotFoundError for a file that is not there.
    """
    is_file = isinstance(source, Path) or ("{" not in source and ";" not in source)
    found = locations_of(source) if is_file else locations(str(source))
    return Judgment(tuple(advise(at, version, heartbeat) for at in found if at.upstream or len(at.levels) == 1))


def advise(at: Location, version: tuple[int, ...], heartbeat: float) -> Advice:
    """Judge one location."""
    rule = Rule.of_location(at, version=version, tls=False)
    cache = "" if at.get("proxy_cache", "off") == "off" else "; so on a miss: a cache's hits are not played"
    forecasts = tuple(replace(told, why=told.why + cache) for told in (forecast(rule, who) for who in clients(at)))
    traps = tuple(trap for check in CHECKS for trap in check(at, rule, heartbeat))
    path = f"{at.modifier} {at.path}".strip()
    return Advice(at.file, at.line, path, at.upstream, forecasts, traps)


def clients(at: Location) -> list[Client]:
    """Return the kinds of clients that the server's `listen` lines admit; without any, all of them."""
    listens = at.everywhere("listen")
    if not listens:
        return ["http", "https, HTTP/1.1", "https, HTTP/2"]
    kinds: list[Client] = ["http"] if any("ssl" not in listen.args for listen in listens) else []
    if at.listens("ssl"):
        kinds.append("https, HTTP/1.1")
        kinds += ["https, HTTP/2"] if speaks_http2(at) else []
    return kinds


def forecast(rule: Rule, client: Client) -> Forecast:
    """Play a stream without `X-Accel-Buffering` through the rule and describe what comes out."""
    secure, http2 = client != "http", client == "https, HTTP/2"
    steps = steps_of(rule.but(tls=secure, http2=http2))
    reason = why(rule, records=secure and not http2)
    total = sum(len(data) for _, data in EVENTS)
    if steps[0] >= total:
        return Forecast(client, "everything at the end", None, reason)
    if len(steps) > 0.9 * len(EVENTS):
        return Forecast(client, "each event at once", steps[0], reason)
    step = round(statistics.median(steps[1:-1] or steps))
    return Forecast(client, f"steps of {step:,} bytes", steps[0], reason)


def steps_of(rule: Rule) -> list[int]:
    """Return how many bytes had been written whenever the client got something, as differences."""
    release, reader = Release(rule, Asked(accept_encoding="gzip")), Reader()
    framing = "chunked" if rule.upstream_http == "1.1" else "close"
    written, marks = 0, [0]
    for _, data in upstream(EVENTS, framing):  # type: ignore[arg-type]  # one of the two literals
        body = reader.feed(release.feed(data) if data else release.eof())
        written += len(EVENTS[0][1]) if len(data) > 100 and not data.startswith(b"HTTP/") else 0
        if body:
            marks.append(written)
    return [b - a for a, b in itertools.pairwise(marks) if b > a]


def why(rule: Rule, *, records: bool) -> str:
    """Say which stage decides."""
    if not rule.buffering:
        return "proxy_buffering off: every piece is flushed"
    if compressed(rule):
        return "gzip holds what is not flushed, and buffered pieces are not"
    stairs = rule.upstream_http == "1.0"
    if records and not (stairs and rule.buffer_size > rule.record_size):
        return f"the TLS record of {rule.record_size:,} bytes is flushed only when full"
    if stairs:
        return f"an HTTP/1.0 upstream's body passes by full buffers of {rule.buffer_size:,} bytes"
    return "buffered, but complete chunks of a chunked upstream pass"


def lines_of(advice: Advice) -> Iterator[str]:
    """Yield the lines of a report on one location."""
    yield f"{advice.file or 'nginx.conf'}:{advice.line}: location {advice.path} -> {advice.upstream}"
    for item in advice.forecasts:
        first = "the end" if item.first_bytes is None else f"{item.first_bytes:,} bytes of events"
        told = f"{item.mode}, the first event after {first}: {item.why}"
        yield wrapped(told, first=f"  {item.client:<16} ")
    for trap in advice.traps:
        yield wrapped(f"line {trap.line}: {trap.name}: {trap.says}", first="  ", rest=" " * 6)
        yield wrapped(f"instead: {trap.fix}", first=" " * 4, rest=" " * 6)
