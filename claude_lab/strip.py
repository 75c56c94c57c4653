"""The timeline of one run: what stands where, in seconds, and its drawing as SVG.

A strip has one lane for attempts and waits, and one for arrivals: each delta a tick, the first one flagged, long gaps
and reconnections shaded, seams and the end marked. The live view, the still and the matplotlib figure all show these
shapes.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from claude_lab import palette
from claude_lab.trace import Mark, Trace

WIDTH, HEIGHT = 640, 52
COLORS = {
    "arrival": "#0072b2",
    "attempt": "#8a8f98",
    "wait": "#e69f00",
    "gap": "#e69f00",
    "first": "#0072b2",
    "reset": "#a04e86",
    "done": "#8a8f98",
    "stopped": "#8a8f98",
    "cut": "#d1500a",
    "error": "#d1500a",
}
SHADED = {"attempt": 0.45, "wait": 0.95, "gap": 0.22}
DARK = {"arrival": "#56b4e9", "first": "#56b4e9", "reset": "#e09bc8", "cut": "#ff9d6b", "error": "#ff9d6b"}
MARGIN = 6
COLUMNS = 48


def shades(colors: dict[str, str]) -> str:
    """Return style rules that fill each kind of shape with its color."""
    return "".join(f".{kind}{{fill:{color}}}" for kind, color in colors.items())


SHADES = (
    "text{font:10px sans-serif;fill:#666}.axis{stroke:#888;stroke-opacity:.5}"
    + f".ticks{{stroke:{COLORS['arrival']}}}"
    + shades(COLORS)
    + f"@media(prefers-color-scheme:dark){{text{{fill:#bbb}}.ticks{{stroke:{DARK['arrival']}}}{shades(DARK)}}}"
)


@dataclass(frozen=True, slots=True)
class Span:
    """Something that lasted from `start` to `end` seconds: an attempt, a wait, a gap."""

    kind: str
    start: float
    end: float
    label: str


@dataclass(frozen=True, slots=True)
class Point:
    """Something that happened `at` so many seconds: the first token, a seam, the end."""

    kind: str
    at: float
    label: str


def spans(trace: Trace) -> list[Span]:
    """Return attempts, waits and long gaps, in the order they are drawn."""
    return [*attempts(trace), *gaps(trace)]


def attempts(trace: Trace) -> Iterator[Span]:
    """Yield each attempt, and the wait that followed it."""
    start, number = 0.0, 1
    for mark in trace.of("retry"):
        error, wait = mark.value.get("error", "failed"), float(mark.value["wait"])
        yield Span("attempt", start, mark.at, f"attempt {number}: {error} after {mark.at - start:.2f} s")
        start = min(mark.at + wait, next((at for at in trace.arrivals if at > mark.at), math.inf))  # it may come late
        yield Span("wait", mark.at, start, f"waited {wait:.2f} s before attempt {number + 1}")
        number += 1
    yield Span("attempt", start, max(start, trace.duration), f"attempt {number}")


def gaps(trace: Trace) -> Iterator[Span]:
    """Yield the gaps that stand out: each reconnection, and half a second or more that is eight times the median."""
    lost = [span for span in map(functools.partial(reconnection, trace), trace.of("resume")) if span]
    yield from lost
    if len(trace.gaps) < 2:
        return
    long = max(0.5, 8 * statistics.median(trace.gaps))
    for stall in trace.stalls(long):
        if any(span.start <= stall.at < span.end for span in lost):
            continue
        yield Span("gap", stall.at, stall.at + stall.length, f"gap of {stall.length:.2f} s at {stall.at:.2f} s")


def reconnection(trace: Trace, lost: Mark) -> Span | None:
    """Return the time around a lost connection in which nothing came; None when nothing came before or after it."""
    before = [at for at in trace.arrivals if at <= lost.at]
    after = [at for at in trace.arrivals if at > lost.at]
    if not before or not after:
        return None
    start, end = before[-1], after[0]
    return Span("gap", start, end, f"reconnecting: nothing for {end - start:.2f} s from {start:.2f} s on")


def points(trace: Trace) -> Iterator[Point]:
    """Yield the moments worth a flag: first token, seams, the end."""
    if trace.ttft is not None:
        yield Point("first", trace.ttft, f"first token at {trace.ttft:.2f} s")
    for mark in trace.of("reset"):
        yield Point("reset", mark.at, f"resumed at {mark.at:.2f} s ({mark.value.get('reason', 'restart')})")
    for mark in trace.of("resume"):
        lost = f"connection lost at {mark.at:.2f} s ({mark.value['error']})"
        yield Point("reset", mark.at, f"{lost}, asked for the rest {mark.value['wait']:.2f} s later")
    yield Point(ending(trace), trace.duration, f"{ending(trace)} at {trace.duration:.2f} s")


def ending(trace: Trace) -> str:
    """Return how the run ended: "done", "stopped", "error", or "cut" when no final frame came."""
    if trace.error:
        return "error"
    if not trace.ended:
        return "cut"
    return "stopped" if trace.stop_reason == "stopped" else "done"


def columns(trace: Trace, count: int) -> list[tuple[float, float, int]]:
    """Return at most `count` (start, end, deltas) columns of equal width in seconds; empty ones are left out."""
    width = max(trace.duration, 1e-3) / count
    tally: dict[int, int] = {}
    for at in trace.arrivals:
        column = min(int(at / width), count - 1)
        tally[column] = tally.get(column, 0) + 1
    return [(column * width, (column + 1) * width, deltas) for column, deltas in sorted(tally.items())]


def axis(duration: float, most: int = 7) -> list[float]:
    """Return round times from 0 up to `duration`, at most `most` of them: steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(duration, 1e-3) / most))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if duration / (power * factor) < most)
    return [step * i for i in range(int(duration / step + 1e-9) + 1)]


def tick_height(deltas: int) -> float:
    """Return the height in pixels of a column of so many deltas; doubling them adds three pixels."""
    return min(20.0, 8 + 3 * math.log2(max(deltas, 1)))


def tick(x: int, deltas: int) -> str:
    """Return the path of a column of so many deltas: a line, or three side by side from eight deltas on."""
    places = (x,) if deltas < 8 else (x - 1, x, x + 1)
    return "".join(f"M{place}.5 37v-{tick_height(deltas):.3g}" for place in places)


def svg(trace: Trace, *, live: bool = False) -> str:
    """Return the strip as one `<svg>` document, light or dark as the page is; `live` leaves out the end."""
    scale = scale_of(trace)
    flags = [point for point in points(trace) if not (live and point.kind == "cut")]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">',
        f"<style>{SHADES}</style>",
        *(draw_span(span, scale) for span in spans(trace)),
        draw_ticks(trace, scale),
        *(draw_point(point, scale) for point in flags),
        *(draw_label(time, scale) for time in axis(trace.duration)),
        "</svg>",
    ]
    return "".join(parts)


def picture(trace: Trace, *, live: bool = False) -> str:
    """Return the strip as HTML: the drawing as an image, and over it unseen areas that tell their times on hover.

    An image survives where notebooks of strangers are shown: there `<svg>` elements are taken out of the HTML and
    the words in them are left behind.
    """
    scale = scale_of(trace)
    source = palette.source(svg(trace, live=live))
    areas = [
        *(hover(scale, a, b, 18, f"{a:.2f} to {b:.2f} s: {deltas(n)}") for a, b, n in columns(trace, COLUMNS)),
        *(hover(scale, s.start, s.end, 18 if s.kind == "gap" else 0, s.label) for s in spans(trace)),
        *(hover(scale, p.at - 4 / scale, p.at + 4 / scale, 9, p.label) for p in points(trace)),
    ]
    return (
        f'<div class="cl-strip" style="position:relative;width:{WIDTH}px;max-width:100%;margin-top:4px">'
        f'<img alt="{escape(described(trace))}" src="{source}" style="display:block;width:100%">{"".join(areas)}</div>'
    )


def hover(scale: float, start: float, end: float, top: int, told: str) -> str:
    """Return an empty area from `start` to `end` seconds that tells `told` on hover."""
    left, width = (MARGIN + start * scale) / WIDTH, (end - start) * scale / WIDTH
    place = f"left:{left:.1%};width:{width:.1%};top:{top}px;height:{12 if top < 18 else 22}px"
    return f'<span title="{escape(told)}" style="position:absolute;{place}"></span>'


def deltas(number: int) -> str:
    """Return "1 delta", "2 deltas"."""
    return f"{number} delta" if number == 1 else f"{number} deltas"


def scale_of(trace: Trace) -> float:
    """Return how many pixels a second is wide."""
    return (WIDTH - 2 * MARGIN) / max(trace.duration, 1e-3)


def described(trace: Trace) -> str:
    """Return the strip in words, for those who do not see it."""
    notable = [span.label for span in spans(trace) if span.kind != "attempt"]
    return "Timeline: " + "; ".join([*notable, *(point.label for point in points(trace))])


def draw_span(span: Span, scale: float) -> str:
    """Return a bar: gaps across the arrivals, attempts and waits in their own lane."""
    top, height = (12, 26) if span.kind == "gap" else (3, 5)
    return (
        f'<rect class="{span.kind}" x="{MARGIN + span.start * scale:.1f}" y="{top}" '
        f'width="{max(1, (span.end - span.start) * scale):.1f}" height="{height}" '
        f'fill-opacity="{SHADED[span.kind]}"/>'
    )


def draw_ticks(trace: Trace, scale: float) -> str:
    """Return all arrivals as one path, a column of pixels each."""
    tally: dict[int, int] = {}
    for at in trace.arrivals:
        x = int(MARGIN + at * scale)
        tally[x] = tally.get(x, 0) + 1
    path = "".join(tick(x, deltas) for x, deltas in sorted(tally.items()))
    base = f'<path class="axis" d="M{MARGIN} 38H{WIDTH - MARGIN}"/>'
    return f'{base}<path class="ticks" d="{path}"/>'


def draw_point(point: Point, scale: float) -> str:
    """Return a flag above the arrivals: a triangle for the first token, a diamond for a seam, a block for the end."""
    shapes = {"first": "m0 18l-4-7h8z", "reset": "m0 10l4 5l-4 5l-4-5z"}
    shape = shapes.get(point.kind, "m-2 9h4v8h-4z")
    return f'<path class="{point.kind}" d="M{MARGIN + point.at * scale:.1f} 0{shape}"/>'


def draw_label(time: float, scale: float) -> str:
    """Return a label of the time axis."""
    x, anchor = (2.0, "start") if time == 0 else (MARGIN + time * scale, "middle")
    return f'<text x="{x:.1f}" y="49" text-anchor="{anchor}">{time:.3g} s</text>'
