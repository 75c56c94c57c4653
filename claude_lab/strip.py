"""The timeline of one run: what stands where, in seconds, and its drawing as SVG.

A strip has one lane for attempts and waits, and one for arrivals: each delta a tick, the first one flagged, long gaps
shaded, seams and the end marked. The live view, the still and the matplotlib figure all show these shapes.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from claude_lab.trace import Trace

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
COLUMNS = 48


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
        start = mark.at + wait
        yield Span("wait", mark.at, start, f"waited {wait:.2f} s before attempt {number + 1}")
        number += 1
    yield Span("attempt", start, max(start, trace.duration), f"attempt {number}")


def gaps(trace: Trace) -> Iterator[Span]:
    """Yield the gaps that stand out: half a second or more, and eight times the median."""
    if len(trace.gaps) < 2:
        return
    long = max(0.5, 8 * statistics.median(trace.gaps))
    for stall in trace.stalls(long):
        yield Span("gap", stall.at, stall.at + stall.length, f"gap of {stall.length:.2f} s at {stall.at:.2f} s")


def points(trace: Trace) -> Iterator[Point]:
    """Yield the moments worth a flag: first token, seams, the end."""
    if trace.ttft is not None:
        yield Point("first", trace.ttft, f"first token at {trace.ttft:.2f} s")
    for mark in trace.of("reset"):
        yield Point("reset", mark.at, f"resumed at {mark.at:.2f} s ({mark.value.get('reason', 'restart')})")
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


def seconds(time: float) -> str:
    """Return an axis label such as "0.5 s"."""
    return f"{time:.3g} s"


def svg(trace: Trace, *, width: int = WIDTH) -> str:
    """Return the strip as one `<svg>` element; `<title>` elements tell the times on hover."""
    scale = (width - 12) / max(trace.duration, 1e-3)
    parts = [
        f'<svg class="cl-strip" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(described(trace))}" style="max-width:100%;display:block">'
    ]
    parts += [draw_span(span, scale) for span in spans(trace)]
    parts.append(draw_ticks(trace, width, scale))
    parts += [draw_point(point, scale) for point in points(trace)]
    parts += [draw_hover(column, scale) for column in columns(trace, COLUMNS)]
    parts += [draw_label(time, scale) for time in axis(trace.duration)]
    return "".join([*parts, "</svg>"])


def described(trace: Trace) -> str:
    """Return the strip in words, for those who do not see it."""
    notable = [span.label for span in spans(trace) if span.kind != "attempt"]
    return "Timeline: " + "; ".join([*notable, *(point.label for point in points(trace))])


def color(kind: str) -> str:
    """Return the color as a CSS variable that a theme may set, with the plain color behind it."""
    return f"var(--cl-{kind},{COLORS[kind]})"


def draw_span(span: Span, scale: float) -> str:
    """Return a bar: gaps across the arrivals, attempts and waits in their own lane."""
    top, height = (12, 26) if span.kind == "gap" else (3, 5)
    return (
        f'<rect x="{6 + span.start * scale:.1f}" y="{top}" width="{max(1, (span.end - span.start) * scale):.1f}" '
        f'height="{height}" fill="{color(span.kind)}" fill-opacity="{SHADED[span.kind]}">'
        f"<title>{escape(span.label)}</title></rect>"
    )


def draw_ticks(trace: Trace, width: int, scale: float) -> str:
    """Return all arrivals as one path, a column of pixels each."""
    tally: dict[int, int] = {}
    for at in trace.arrivals:
        x = round(6 + at * scale)
        tally[x] = tally.get(x, 0) + 1
    path = "".join(f"M{x} 37v-{tick_height(deltas):.3g}" for x, deltas in sorted(tally.items()))
    base = f'<path d="M6 38H{width - 6}" stroke="currentColor" stroke-opacity=".35"/>'
    return f'{base}<path d="{path}" stroke="{color("arrival")}" fill="none"/>'


def draw_point(point: Point, scale: float) -> str:
    """Return a flag: a triangle for the first token, a diamond for a seam, a bar for the end."""
    shapes = {"first": "m0 18l-4-7h8z", "reset": "m0 10l4 5l-4 5l-4-5z"}
    shape = shapes.get(point.kind, "m-1 11h2v27h-2z")
    return (
        f'<path d="M{6 + point.at * scale:.1f} 0{shape}" fill="{color(point.kind)}">'
        f"<title>{escape(point.label)}</title></path>"
    )


def draw_hover(column: tuple[float, float, int], scale: float) -> str:
    """Return an unseen bar that tells its times on hover."""
    start, end, deltas = column
    noun = "delta" if deltas == 1 else "deltas"
    return (
        f'<rect x="{6 + start * scale:.1f}" y="18" width="{(end - start) * scale:.1f}" height="20" fill-opacity="0">'
        f"<title>{start:.2f} to {end:.2f} s: {deltas} {noun}</title></rect>"
    )


def draw_label(time: float, scale: float) -> str:
    """Return a label of the time axis."""
    anchor = "start" if time == 0 else "middle"
    x = 6 + time * scale
    return (
        f'<text x="{x - 4 * (time == 0):.1f}" y="49" font-size="10" fill="currentColor" text-anchor="{anchor}" '
        f'font-family="sans-serif">{seconds(time)}</text>'
    )
