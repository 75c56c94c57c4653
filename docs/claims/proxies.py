"""Step 4 of the article: nginx between the server and its readers. The rule is checked against recordings of nginx."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
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


def as_written(sent: Trace, seen: Trace) -> bool:
    """Whether events came in about as many bursts as they were written in: what a pause delays leaves at once."""
    written = len(sent.bursts())
    return EVENTS // 6 < written < 2 * len(seen.bursts())


TRIES = 3
"""How often a stream that seems held is sent: a pause of the machine can hold one, none can hurry what nginx holds."""

ROADS: dict[str, dict[str, Any]] = {
    "plain HTTP": {},
    "HTTPS with HTTP/1.1": {"tls": True},
    "HTTPS with HTTP/2": {"tls": True, "http2": True},
    "gzip": {"gzip": True, "gzip_types": frozenset({"text/event-stream"})},
    "HTTP/1.0 to the app": {"http_version": "1.0"},
}
"""How a reader may reach nginx; the last is how nginx asks the app where its version is older than 1.29.7 and no line
says otherwise."""


def roads_of(*missing: str, header: bool, count: int = EVENTS) -> dict[str, Trace]:
    """Predict each road through the article's location, without some of its lines, with or without the app's header."""
    asked, fields = Asked(accept_encoding="gzip"), HEADER if header else ()
    rules = {name: Rule.from_nginx_conf(location(*missing), **changes) for name, changes in ROADS.items()}
    return {name: predict(rule, schedule(count), fields=fields, asked=asked) for name, rule in rules.items()}


def held(*missing: str, header: bool) -> tuple[str, ...]:
    """Return the roads that hold a stream."""
    return tuple(name for name, trace in roads_of(*missing, header=header).items() if not one_by_one(trace))


@dataclass(frozen=True)
class Cures:
    """Which roads hold a stream: with the app's header and the location's line, with one of them, with neither."""

    roads: int
    both: tuple[str, ...]
    header_alone: tuple[str, ...]
    line_alone: tuple[str, ...]
    neither: tuple[str, ...]


def cures(line: str = OFF, header: bool = True, spare: tuple[str, ...] = ()) -> Cures:
    """Take the app's header, `proxy_buffering off` and both out of the article's whole system, and predict each road.

    The road on which nginx asks the app with HTTP/1.0 is the article's without `proxy_http_version 1.1`. `line` is
    what is taken for the location's cure, `spare` what is missing anyway, and without `header` the app never sends one.
    """
    return Cures(
        len(ROADS),
        held(*spare, header=header),
        held(*{*spare, line}, header=header),
        held(*spare, header=False),
        held(*{*spare, line}, header=False),
    )


@dataclass(frozen=True)
class Collected:
    """What came through the article's location without its first line."""

    streams: tuple[str, ...]
    lost_bytes: int
    roads: int
    at_once: tuple[str, ...]
    long_at_once: tuple[str, ...]


def collected(
    missing: tuple[str, ...] = (OFF,), header: bool = True, counts: tuple[int, int] = (60, 1200)
) -> Collected:
    """Send a stream through the article's location without its first line; predict the other roads, and a long answer.

    `at_once` are the roads on which an answer of 5.6 KB comes in one burst where the app sends no header,
    `long_at_once` those on which one of 113 KB does.
    """
    real = through_nginx(missing, HEADER if header else ())
    short, long = (
        tuple(name for name, trace in roads_of(*missing, header=False, count=count).items() if len(trace.bursts()) == 1)
        for count in counts
    )
    return Collected(real.streams, real.lost_bytes, len(ROADS), short, long)


@dataclass(frozen=True)
class Real:
    """What came through a real nginx, where one is installed."""

    streams: tuple[str, ...]
    lost_bytes: int


def through_nginx(missing: tuple[str, ...] = (OFF,), fields: tuple[tuple[str, str], ...] = HEADER) -> Real:
    """Send a stream through a real nginx, where one is installed, with the article's header and without it."""
    rule = Rule.from_nginx_conf(location(*missing))
    events = [(at * 0.6, data) for at, data in schedule(EVENTS)]
    heads = {"with the header": fields, "without it": ()}

    def sent(marks: tuple[tuple[str, str], ...]) -> tuple[bool, int]:
        for _ in range(TRIES):
            traces = course.send_through({"nginx": rule}, events, fields=list(marks), real=True)
            if streamed := as_written(traces["sent"], traces["nginx"]):
                break
        return streamed, course.passed(traces["sent"], traces["nginx"]).lost_bytes

    with ThreadPoolExecutor() as together:
        seen = dict(zip(heads, together.map(sent, heads.values()), strict=True))
    streams = tuple(name for name, (streamed, _) in seen.items() if streamed)
    return Real(streams, sum(lost for _, lost in seen.values()))


@dataclass(frozen=True)
class Sizes:
    """How buffered answers come when the app closes the connection to end them."""

    short_bytes: int
    short_bursts: int
    long_bytes: int
    long_bursts: int
    steps: tuple[int, ...]


def stairs(http_version: str = "1.0", counts: tuple[int, int] = (20, 120)) -> Sizes:
    """Send two answers through nginx's defaults of 1.22, which ask the app with HTTP/1.0: 2 KB and 11 KB."""
    short, long = (predict(Rule(http_version=http_version), schedule(count)) for count in counts)
    sizes = [tuple(mark.value for mark in trace.of("chunk")) for trace in (short, long)]
    return Sizes(sum(sizes[0]), len(short.bursts()), sum(sizes[1]), len(long.bursts()), sizes[1][:4])


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
    steady: list[Timed] = [(number * gap, body) for number in range(round(1.4 / gap) + 1)]
    paused: list[Timed] = [(0.0, body), (0.1, body), (1.4, body)]

    def lost(events: list[Timed]) -> int:
        traces = course.send_through({"nginx": impatient}, events)
        return course.passed(traces["sent"], traces["nginx"]).lost_bytes

    with ThreadPoolExecutor() as together:
        return Long(steady[-1][0] > impatient.read_timeout, *together.map(lost, (steady, paused)))


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
    """Put a stream through six hops picked by hand that hold it, then add the line wherever there is an nginx."""
    events = schedule(EVENTS)
    asked = Asked(accept_encoding="gzip")
    held = [name for name in chains if not one_by_one(predict(CHAINS[name][0], events, asked=asked))]
    cured = tuple(name for name in held if one_by_one(predict(CHAINS[name][1], events, asked=asked)))
    return Causes(len(held), cured, tuple(name for name in held if name not in cured))
