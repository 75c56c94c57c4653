"""Figures of runs: the timeline of one, and the staircases of several, one above the other on one clock.

Each returns a matplotlib figure, which a notebook shows, light or dark as the page is; `strip.svg` draws the same
timeline without matplotlib.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from claude_lab import palette, strip
from claude_lab.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REFERENCE = "sent"
"""The label of what was sent: the reference for the routes."""
THEME = (
    ".claude-lab-figure{color-scheme:light dark;max-width:100%}"
    "[data-jp-theme-light=true] .claude-lab-figure{color-scheme:light}"
    "[data-jp-theme-light=false] .claude-lab-figure{color-scheme:dark}"
)
WIDEST, THIN = 6.0, 1.6
"""Widths in points of the staircases that share a frame: each thinner than the one below it, so that both are seen."""


def new_figure(rows: int, *, height: float, ratios: Sequence[float] | None = None) -> tuple[Figure, list[Axes]]:
    """Return a figure of `rows` axes that share one clock, their heights in these `ratios`.

    It is not registered with pyplot, so nothing piles up; a cell shows it without `%matplotlib inline` too.
    """
    figure = picture_class()(figsize=(8, height), layout="constrained")
    grid = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=ratios)
    for axes in grid[:, 0]:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, list(grid[:, 0])


@functools.cache
def picture_class() -> type[Figure]:
    """Return a figure that draws itself where nobody has set matplotlib up."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second, wanted only here
    from matplotlib.figure import Figure

    class Picture(Figure):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            FigureCanvasAgg(self)

        def _repr_png_(self) -> bytes:
            page = io.BytesIO()
            self.savefig(page, format="png", dpi=100)
            return page.getvalue()

        def _repr_html_(self) -> str:
            return html(self)

    return Picture


def html(figure: Figure) -> str:
    """Return a figure as an image whose colors follow the page's theme, described by the words in it."""
    words, source = escape(told(figure)), palette.source(markup(figure))
    return f'<style>{THEME}</style><img class="claude-lab-figure" alt="{words}" src="{source}">'


def told(figure: Figure) -> str:
    """Return the words of a figure: its titles, and what its axes say."""
    heading = figure.get_suptitle()
    places = ("left", "center", "right")
    titles = [axes.get_title(loc=place) for axes in figure.axes for place in places]  # type: ignore[arg-type]
    names = [name for axes in figure.axes for name in (axes.get_xlabel(), axes.get_ylabel())]
    return "Figure: " + "; ".join(dict.fromkeys(word for word in [heading, *titles, *names] if word))


def timeline(trace: Trace, *, title: str = "") -> Figure:
    """Draw one run: attempts and waits above, each arrival a tick, long gaps shaded, the first token flagged."""
    figure, (axes,) = new_figure(1, height=1.6)
    for span in strip.spans(trace):
        low, high = (0.0, 0.72) if span.kind == "gap" else (0.85, 1.0)
        shade, color = strip.SHADED[span.kind], strip.COLORS[span.kind]
        axes.axvspan(span.start, span.end, low, high, color=color, alpha=shade, linewidth=0)
    axes.vlines(trace.arrivals, 0, 0.6, color=strip.COLORS["arrival"], linewidth=0.8)
    for point in strip.points(trace):
        marker = {"first": "v", "reset": "D"}.get(point.kind, "|")
        axes.plot([point.at], [0.76], marker, color=strip.COLORS[point.kind], clip_on=False, markersize=7)
    if trace.ttft is not None:
        axes.annotate(
            f"first token {trace.ttft:.2f} s", (trace.ttft, 0.76), (6, -3), textcoords="offset points", size=8
        )
    axes.set(ylim=(0, 1), yticks=[], xlim=(0, max(trace.duration, 1e-3) * 1.01), xlabel="seconds")
    axes.set_title(title, parse_math=False)
    axes.spines["left"].set_visible(False)
    return figure


def staircase(traces: Mapping[str, Trace], *, title: str = "", together: bool = False) -> Figure:
    """Draw characters shown against time, one staircase a run: each above the next, or `together` in one frame.

    Flat means that nothing arrived; a cliff means that much arrived at once.
    """
    if not traces:
        raise ValueError(f"There is nothing to draw in {traces!r}; give at least one trace by its label.")
    rows = 1 if together else len(traces)
    figure, grid = new_figure(rows, height=3.2 if together else 0.5 + 1.35 * rows)
    end = max(trace.duration for trace in traces.values())
    colors = palette.shades_of(traces)
    for row, (label, trace) in enumerate(traces.items()):
        color, axes = colors[label][0], grid[0 if together else row]
        wide = (len(traces) - 1 - row) / (len(traces) - 1) if together and row < len(traces) - 1 else 0.0
        draw_stairs(axes, trace, color=color, end=end, width=THIN + wide * (WIDEST - THIN), pale=bool(wide))
        name_stairs(axes, trace, label=label, color=color, place=(end, row) if together else None)
    grid[-1].set_xlabel("seconds")
    grid[-1].set_xlim(0, end * (1.18 if together else 1.01))
    if title:
        figure.suptitle(title, parse_math=False)
    return figure


def draw_stairs(axes: Axes, trace: Trace, *, color: str, end: float, width: float = THIN, pale: bool = False) -> None:
    """Draw one staircase up to `end` seconds, its first step marked; a `pale` one lets what is on it be seen."""
    times, heights = stairs(trace)
    last, alpha = heights[-1:] or [0], 0.4 if pale else 1.0
    axes.step(
        [0.0, *times, end],
        [0, *heights, *last],
        where="post",
        color=color,
        linewidth=width,
        alpha=alpha,
        solid_capstyle="butt",
    )
    axes.plot(times[:1], heights[:1], "o", color=color, alpha=alpha, markersize=2.8 + width)
    axes.set_ylabel("characters", size=8)


def name_stairs(axes: Axes, trace: Trace, *, label: str, color: str, place: tuple[float, int] | None) -> None:
    """Write the label: above the frame, or, when frames are shared, at the staircase's end, in the row of `place`."""
    first = "no token" if trace.ttft is None else f"first token {trace.ttft:.2f} s"
    if place is None:
        axes.set_title(f"{label}: {first}", loc="left", size=9, color=color, parse_math=False)
        return
    end, row = place
    below = -3 - 13 * row  # staircases of one answer end at one height
    at = end, len(trace.text)
    axes.annotate(
        label, at, (4, below), textcoords="offset points", color=color, annotation_clip=False, parse_math=False
    )


def stairs(trace: Trace) -> tuple[list[float], list[int]]:
    """Return when each delta arrived, in seconds, and how many characters there were then."""
    deltas = list(trace.of("delta"))
    return [mark.at for mark in deltas], list(accumulate(len(mark.value) for mark in deltas))


def markup(figure: Figure, *, description: str | None = None) -> str:
    """Return a figure as one SVG string that follows the page's theme, the same bytes for the same figure.

    Its metadata hold the `description`.
    """
    import io

    import matplotlib as mpl

    page = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "claude_lab", "svg.fonttype": "none"}):
        figure.savefig(page, format="svg", metadata={"Date": None, "Description": description})
    return palette.following(small(page.getvalue()))


def small(svg: str) -> str:
    """Return an SVG document with tenths of a point, without its line breaks and what says nothing."""
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d)\d+", r"\1", tag[0]), svg)
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><")
    svg = re.sub(r' d="(M[ML \d.]*)"', lambda path: f' d="{shorter(path[1])}"', svg)
    svg = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", svg)
    return re.sub(
        r"font: ([\d.]+px) 'DejaVu[^;\"]*|font-size: ([\d.]+px); font-family: 'DejaVu[^;\"]*", r"font-size: \1\2", svg
    )


def shorter(path: str) -> str:
    """Return a path of straight lines as steps, each from where the one before ended."""
    parts: list[str] = []
    at = 0.0, 0.0
    for letter, *place in re.findall(r"([ML]) (\S+) (\S+)", path):
        x, y = map(float, place)
        across, up = short(x - at[0]), short(y - at[1])
        line = {(True, False): f"v{up}", (False, True): f"h{across}"}.get((across == "0", up == "0"), f"l{across} {up}")
        parts.append(line if letter == "L" else f"M{short(x)} {short(y)}")
        at = x, y
    return "".join(parts)


def short(number: float) -> str:
    """Return a number with at most one digit after the point."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{round(number, 1) + 0.0:g}")  # the sum makes -0 to 0
