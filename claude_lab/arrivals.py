"""The arrivals of several routes as plain HTML and plain text: a staircase each, on one clock, and a table.

The drawings are images, light or dark as the page is: viewers of strangers' notebooks take `<svg>` elements out.
"""

from __future__ import annotations

import bisect
import statistics
from collections.abc import Mapping
from html import escape

from claude_lab import palette, plots
from claude_lab.still import style
from claude_lab.trace import Trace

WIDE, HIGH = 640, 56
ERROR = "error"
LONGEST = 120
"""Characters of an error that a table has room for."""
FRAME = f"display:block;width:100%;max-width:{WIDE}px;border-bottom:1px solid var(--cl-line,#ccc)"


def first_token(trace: Trace) -> str:
    """Return when the first token came, as text."""
    return "none" if trace.ttft is None else f"{trace.ttft:.2f} s"


def waited(trace: Trace) -> str:
    """Return the share of a route's time that was over when its first token came: 100 % for what came at once."""
    return "" if trace.ttft is None else f"{trace.ttft / max(trace.duration, 1e-9):.0%}"


def trouble(trace: Trace) -> str:
    """Return why a route has no whole answer, as text; empty where nothing went wrong."""
    error = trace.error
    return "" if error is None else f"{error.get('error', 'unknown')}: {error.get('message', '')}".strip(": ")[:LONGEST]


def holds(sent: Trace, seen: Trace) -> list[float]:
    """Return how many seconds after it was written each delta had arrived in full, for those that have."""
    times, heights = plots.stairs(seen)
    written = zip(*plots.stairs(sent), strict=True)
    places = ((at, bisect.bisect_left(heights, height)) for at, height in written)
    return [times[place] - at for at, place in places if place < len(heights)]


def rows(traces: Mapping[str, Trace]) -> list[tuple[str, ...]]:
    """Return the table's rows, its headings first.

    Where one trace is what was `sent`, the others tell by how much a delta was late and how many characters are lost;
    where a route failed, a last column says why.
    """
    sent = traces.get(plots.REFERENCE)
    failed = any(trace.error for trace in traces.values())
    judged, last = ("held", "lost") if sent else (), (ERROR,) if failed else ()
    lines: list[tuple[str, ...]] = [("route", "first token", "of its time", "bursts", *judged, *last)]
    for label, trace in traces.items():
        line: tuple[str, ...] = (label, first_token(trace), waited(trace), str(len(trace.bursts())))
        if sent is not None:
            late = holds(sent, trace)
            held = f"{statistics.median(late):.2f} s" if late else "none came"
            line += ("", "") if trace is sent else (held, f"{len(sent.text) - len(trace.text):,}")
        lines.append((*line, trouble(trace)) if failed else line)
    return lines


def table(traces: Mapping[str, Trace]) -> str:
    """Return the race as a table of plain text."""
    columns = []
    for heading, *cells in zip(*rows(traces), strict=True):
        width, put = max(map(len, (heading, *cells))), str.rjust if side(heading) == "right" else str.ljust
        columns.append([put(cell, width) for cell in (heading, *cells)])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def table_html(traces: Mapping[str, Trace]) -> str:
    """Return the race as an HTML table."""
    headings, *lines = rows(traces)
    head = "".join(f'<th scope="col" style="text-align:{side(name)}">{name}</th>' for name in headings)
    body = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(line[0])}</th>'
        + "".join(
            f'<td style="text-align:{side(name)}">{escape(cell)}</td>'
            for name, cell in zip(headings[1:], line[1:], strict=True)
        )
        + "</tr>"
        for line in lines
    )
    return f'<table style="margin:8px 0 4px"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def side(heading: str) -> str:
    """Return where a column's text stands: labels on the left, numbers on the right."""
    return "left" if heading in ("route", ERROR) else "right"


def svg(trace: Trace, shades: tuple[str, str], *, end: float, most: int) -> str:
    """Draw one staircase up to `end` seconds and `most` characters; a pixel's column has its last height."""
    heights = {0.0: 0}
    for at, height in zip(*plots.stairs(trace), strict=True):
        heights[round(at / end * WIDE)] = height
    path = "".join(f"H{x:g}V{HIGH - 2 - height / most * (HIGH - 6):.1f}" for x, height in heights.items())
    light, dark = shades
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" width="{WIDE}" height="{HIGH}">'
        f"<style>path{{fill:none;stroke-width:1.6;stroke:{light}}}"
        f"@media(prefers-color-scheme:dark){{path{{stroke:{dark}}}}}</style>"
        f'<path d="M0 {HIGH - 2}{path}H{WIDE}"/></svg>'
    )


def pictures(traces: Mapping[str, Trace]) -> str:
    """Draw each staircase as an image, which a notebook of a stranger keeps, on one clock and one scale."""
    end = max((trace.duration for trace in traces.values()), default=0.0) or 1e-3
    most = max((len(trace.text) for trace in traces.values()), default=0) or 1
    parts = []
    colors = palette.shades_of(traces)
    for label, trace in traces.items():
        told = escape("; ".join(filter(None, (f"{label}: first token {first_token(trace)}", trouble(trace)))))
        source = palette.source(svg(trace, colors[label], end=end, most=most))
        parts.append(f'<div class="cl-status">{told}</div><img alt="Arrivals, {told}" src="{source}" style="{FRAME}">')
    axis = f'<div class="cl-axis" style="max-width:{WIDE}px"><span>0 s</span><span>{end:.2f} s</span></div>'
    return "".join(parts) + axis


def html(traces: Mapping[str, Trace], *, title: str = "", note: str = "") -> str:
    """Return the race as HTML, readable with no kernel and no network."""
    return (
        f'<div class="claude-lab cl-still cl-stairs"><style>{style()}</style>'
        f'<div class="cl-head"><strong class="cl-title">{escape(title)}</strong></div>'
        f'<div class="cl-note">{escape(note)}</div>{pictures(traces)}{table_html(traces)}</div>'
    )


def still(traces: Mapping[str, Trace], *, title: str = "", note: str = "") -> dict[str, str]:
    """Return the finished race as HTML and text."""
    return {"text/html": html(traces, title=title, note=note), "text/plain": table(traces)}
