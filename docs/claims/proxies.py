"""Step 4 of the article: nginx between the server and its readers. The rule is checked against recordings of nginx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from claims.bench import LISTINGS
from claude_lab import course
from claude_lab.buffering import Asked, Rule, Timed, predict, schedule
from claude_lab.trace import Trace

OFF = "proxy_buffering off;"
HEADER = (("X-Accel-Buffering", "no"),)
EVENTS = 60


def location(*missing: str) -> str:
    """Return the article's location, perhaps without some of its directives."""
    text = (LISTINGS / "nginx.conf").read_text("utf-8")
    for line in missing:
        if text.count(line) != 1:
            raise ValueError(f"{line!r} is {text.count(line)} times in the article's location.")
        text = text.replace(line, "")
    return text


def one_by_one(trace: Trace) -> bool:
    """Whether events came as they were written."""
    return len(trace.bursts()) > EVENTS // 2


ROADS: dict[str, dict[str, Any]] = {
    "HTTP": {},
    "HTTPS, HTTP/1.1": {"tls": True},
    "HTTPS, HTTP/2": {"tls": True, "http2": True},
    "gzip": {"gzip": True, "gzip_types": frozenset({"text/event-stream"})},
}


@dataclass(frozen=True)
class Without:
    """The article's location without `proxy_buffering off`: which roads stream."""

    roads: int
    with_header: int
    without_header: tuple[str, ...]
    held: tuple[str, ...]
    bursts_when_held: int


def without_the_line(missing: tuple[str, ...] = (OFF,), header: bool = True) -> Without:
    """Leave one line out of the article's location and predict each road, with the app's header and without it."""
    events = schedule(EVENTS)
    fields = HEADER if header else ()
    asked = Asked(accept_encoding="gzip")
    rules = {name: Rule.from_nginx_conf(location(*missing), **changes) for name, changes in ROADS.items()}
    marked = [one_by_one(predict(rule, events, fields=fields, asked=asked)) for rule in rules.values()]
    bare = {name: predict(rule, events, asked=asked) for name, rule in rules.items()}
    streams = tuple(name for name, trace in bare.items() if one_by_one(trace))
    held = tuple(name for name in rules if name not in streams)
    bursts = [len(bare[name].bursts()) for name in held]
    return Without(len(rules), sum(marked), streams, held, min(bursts, default=0))


@dataclass(frozen=True)
class Real:
    """What came through a real nginx, where one is installed."""

    streams: tuple[str, ...]
    lost_bytes: int


def through_nginx(missing: tuple[str, ...] = (OFF,), fields: tuple[tuple[str, str], ...] = HEADER) -> Real:
    """Send a stream through the article's location without its first line, with the article's header and without it."""
    rule = Rule.from_nginx_conf(location(*missing))
    events = [(at * 0.6, data) for at, data in schedule(EVENTS)]
    streams, lost = [], 0
    for name, marks in (("with the header", fields), ("without it", ())):
        traces = course.send_through({"nginx": rule}, events, fields=list(marks), real=True)
        seen = course.passed(traces["sent"], traces["nginx"])
        lost += seen.lost_bytes
        if one_by_one(traces["nginx"]):
            streams.append(name)
    return Real(tuple(streams), lost)


@dataclass(frozen=True)
class Sizes:
    """How a buffered answer comes when the app closes the connection to end it."""

    bursts: int
    steps: tuple[int, ...]
    size_bytes: int


def stairs(http_version: str = "1.0", count: int = 120) -> Sizes:
    """Send an answer of 11 KB through nginx's defaults of 1.22, which ask the app with HTTP/1.0."""
    trace = predict(Rule(http_version=http_version), schedule(count))
    steps = tuple(mark.value for mark in trace.of("chunk"))
    return Sizes(len(trace.bursts()), steps[:4], sum(steps))


@dataclass(frozen=True)
class Defaults:
    """Which versions of nginx stream without a line about it."""

    streams: tuple[str, ...]
    held: tuple[str, ...]


def by_default(presets: tuple[str, ...] = ("nginx-1.22", "nginx-1.30", "ingress-nginx")) -> Defaults:
    """Predict what nginx does to a stream that nobody configured anything for, by version."""
    traces = {name: predict(Rule.preset(name), schedule(EVENTS)) for name in presets}
    streams = tuple(name for name, trace in traces.items() if one_by_one(trace))
    return Defaults(streams, tuple(name for name in presets if name not in streams))


@dataclass(frozen=True)
class Long:
    """A stream longer than the timeout."""

    longer_than_timeout: bool
    steady_lost_bytes: int
    paused_lost_bytes: int


def read_timeout(gap: float = 0.1) -> Long:
    """Send a stream longer than `proxy_read_timeout`, with short gaps, and one with a pause beyond it."""
    impatient = Rule.from_nginx_conf(location()).but(read_timeout=0.8, buffering=True, http_version="1.0")
    body = b"data: " + b"x" * 92 + b"\n\n"
    steady: list[Timed] = [(number * gap, body) for number in range(round(2.0 / gap) + 1)]
    paused: list[Timed] = [(0.0, body), (0.1, body), (2.0, body)]
    lost = []
    for events in (steady, paused):
        traces = course.send_through({"nginx": impatient}, events)
        lost.append(course.passed(traces["sent"], traces["nginx"]).lost_bytes)
    return Long(steady[-1][0] > impatient.read_timeout, *lost)


@dataclass(frozen=True)
class Idle:
    """The directives that change nothing."""

    idle: tuple[str, ...]
    matter: tuple[str, ...]


def every_line(buffering: bool = False) -> Idle:
    """Leave each line out of the article's location in turn, and predict each road without the app's header."""
    events, asked = schedule(EVENTS), Asked(accept_encoding="gzip")
    lines = [line.partition("#")[0].strip() for line in location().splitlines()]
    lines = [line for line in lines if line.endswith(";") and "proxy_pass " not in line]

    def seen(*missing: str) -> list[list[float]]:
        rules = (Rule.from_nginx_conf(location(*missing), **changes) for changes in ROADS.values())
        return [
            predict(rule.but(buffering=True) if buffering else rule, events, asked=asked).arrivals for rule in rules
        ]

    whole = seen()
    idle = tuple(line for line in lines if seen(line) == whole)
    return Idle(idle, tuple(line for line in lines if line not in idle))


CHAINS: dict[str, tuple[Rule, Rule]] = {
    "nginx 1.22 by default": (Rule(), Rule(buffering=False)),
    "nginx over HTTPS": (Rule(http_version="1.1", tls=True), Rule(http_version="1.1", tls=True, buffering=False)),
    "nginx with gzip": (
        Rule(http_version="1.1", gzip=True, gzip_types=frozenset({"text/event-stream"})),
        Rule(http_version="1.1", gzip=True, gzip_types=frozenset({"text/event-stream"}), buffering=False),
    ),
    "a proxy that clumps by time": (Rule.preset("haproxy-like clumps"),) * 2,
    "a proxy that stores and forwards": (Rule.preset("store-and-forward"),) * 2,
    "jupyter-server-proxy": (Rule.preset("jupyter-server-proxy"),) * 2,
}


@dataclass(frozen=True)
class Causes:
    """Who held, and whom the line cured."""

    held: int
    cured: tuple[str, ...]
    not_cured: tuple[str, ...]


def who_holds(chains: tuple[str, ...] = tuple(CHAINS)) -> Causes:
    """Put a stream through six hops that hold it, then add `proxy_buffering off` wherever there is an nginx."""
    events = schedule(EVENTS)
    asked = Asked(accept_encoding="gzip")
    held = [name for name in chains if not one_by_one(predict(CHAINS[name][0], events, asked=asked))]
    cured = tuple(name for name in held if one_by_one(predict(CHAINS[name][1], events, asked=asked)))
    return Causes(len(held), cured, tuple(name for name in held if name not in cured))
