"""Settings in an nginx location that hold a stream, lose its bytes, or keep paying for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from claude_lab.directives import Location
from claude_lab.rule import Rule

SSE = "text/event-stream"
X_ACCEL = "x-accel-buffering"


@dataclass(frozen=True, slots=True)
class Trap:
    """One setting that does harm: its name, its place, what happens, what to write instead."""

    name: str
    line: int
    says: str
    fix: str


def speaks_http2(at: Location) -> bool:
    """Whether HTTP/2 is on, in the old way or the new."""
    return at.listens("http2") or at.get("http2") == "on"


def compressed(rule: Rule) -> bool:
    """Whether an event stream would be compressed."""
    return rule.gzip and bool({"*", SSE} & rule.gzip_types)


def of(at: Location, *names: str) -> int:
    """Return the line of the first of these directives in force, or the location's."""
    return next((found[-1].line for name in names if (found := at.all(name))), at.line)


OFF = "proxy_buffering off;"


def held_by_gzip(at: Location, rule: Rule, heartbeat: float) -> Iterator[Trap]:
    """gzip over an event stream, buffered."""
    if rule.buffering and compressed(rule):
        says = (
            "gzip covers text/event-stream and the location buffers: clients that accept gzip get all of it at the end."
        )
        yield Trap("held-by-gzip", of(at, "gzip_types"), says, f"Take text/event-stream out of gzip_types, or {OFF}")


def held_by_record(at: Location, rule: Rule, heartbeat: float) -> Iterator[Trap]:
    """TLS without HTTP/2, buffered."""
    if rule.buffering and at.listens("ssl") and not speaks_http2(at):
        says = f"Over HTTPS nothing leaves before {rule.record_size:,} bytes, head and chunk framing counted: "
        says += "buffered pieces never flush a TLS record."
        yield Trap("held-by-record", of(at, "proxy_buffering"), says, f"{OFF} `http2 on;` helps clients that speak it.")


def held_by_buffer(at: Location, rule: Rule, heartbeat: float) -> Iterator[Trap]:
    """An HTTP/1.0 upstream, buffered."""
    if rule.buffering and rule.upstream_http == "1.0":
        says = f"Asked with HTTP/1.0, an app that closes to end an answer is held to {rule.buffer_size:,}-byte buffers."
        yield Trap("held-by-buffer", of(at, "proxy_http_version"), says, f"proxy_http_version 1.1; and {OFF}")


def ignored_header(at: Location, rule: Rule, heartbeat: float) -> Iterator[Trap]:
    """The app's own word is not heard."""
    if rule.buffering and not rule.honor_x_accel:
        says = "The app's `X-Accel-Buffering: no` is ignored, so the app cannot switch the buffering off."
        yield Trap("ignored-header", of(at, "proxy_ignore_headers"), says, f"Drop the directive, or {OFF}")


def short_timeout(at: Location, rule: Rule, heartbeat: float) -> Iterator[Trap]:
    """A timeout that a pause between two heartbeats can reach."""
    if rule.read_timeout < 2 * heartbeat:
        says = (
            f"proxy_read_timeout {rule.read_timeout:g} s is less than two heartbeats of {heartbeat:g} s: "
            "one that is late cuts the stream, and what is buffered is lost."
        )
        yield Trap("short-timeout", of(at, "proxy_read_timeout"), says, "proxy_read_timeout 300s;")


def cached_stream(at: Location, rule: Rule, heartbeat: float) -> Iterator[Trap]:
    """A cache on a stream."""
    if at.get("proxy_cache", "off") != "off":
        says = (
            "A cached answer is never aborted when its client leaves, and the next client gets a replay in one burst."
        )
        yield Trap("cached-stream", of(at, "proxy_cache"), says, "proxy_cache off;")


def header_without_effect(at: Location, rule: Rule, heartbeat: float) -> Iterator[Trap]:
    """`X-Accel-Buffering` set where it does nothing."""
    for name in ("add_header", "proxy_set_header"):
        for directive in at.all(name):
            if rule.buffering and directive.args and directive.args[0].lower() == X_ACCEL:
                says = f"`{name} X-Accel-Buffering` has no effect here: only the upstream's answer can carry it."
                yield Trap("header-without-effect", directive.line, says, OFF)


def unheard_abort(at: Location, rule: Rule, heartbeat: float) -> Iterator[Trap]:
    """A client that leaves is not reported."""
    if rule.ignore_client_abort:
        says = "The app hears late that a client has left, and goes on paying for tokens nobody reads."
        yield Trap("unheard-abort", of(at, "proxy_ignore_client_abort"), says, "proxy_ignore_client_abort off;")


Check = Callable[[Location, Rule, float], Iterable[Trap]]
CHECKS: tuple[Check, ...] = (
    held_by_gzip,
    held_by_record,
    held_by_buffer,
    ignored_header,
    short_timeout,
    cached_stream,
    header_without_effect,
    unheard_abort,
)
