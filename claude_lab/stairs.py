"""`StaircaseView`: the arrivals of several routes as staircases on one clock, while they come; then the still.

Flat means that nothing arrived, a cliff that much arrived at once. Traces are watched with `watch`, from any thread.
"""

from __future__ import annotations

import functools
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from claude_lab import clock, doorbell, plots
from claude_lab.assets import joined
from claude_lab.background import portal
from claude_lab.faces import VIEW_MIME, open_display, update_display
from claude_lab.trace import Mark, Trace
from claude_lab.widgets import mode

INTERVALS = {"live": 0.033, "html": 0.4}
HEADINGS = ("route", "first token", "bursts")
WAITING = "The race is running; its picture comes here when it has ended."


class Race(dict[str, Trace]):
    """Traces by label, which show themselves as staircases of arrivals, one above the other."""

    @property
    def figure(self) -> Any:
        """The picture."""
        return plots.staircase(self)

    def _repr_html_(self) -> str:
        return plots.markup(self.figure)


class StaircaseView:
    """Shows the traces it is given to watch, until `freeze()` puts a picture and a table in its place.

    `view` is "live", "html", "text" or "off"; by default what `CLAUDE_LAB_VIEW` says, else what fits where it runs.
    A front end that fails does not break a run: `failure` keeps why.
    """

    def __init__(self, *, title: str = "", view: str | None = None) -> None:
        self.title = title
        self.traces: dict[str, Trace] = {}
        self.frozen = False
        self.failure: Exception | None = None
        self._kind = view or mode()
        self._points: dict[str, list[tuple[float, int]]] = {}
        self._sent: dict[str, int] = {}
        self._lock = threading.RLock()
        self._armed = False
        self._display = ""
        self._bell = ""
        self._model: Any = None

    def show(self) -> StaircaseView:
        """Show the view here."""
        with self._lock:
            if self._kind in INTERVALS:
                self._safely(self._open)
        return self

    def _open(self) -> None:
        bundle: dict[str, Any] = {"text/plain": WAITING}
        if self._kind == "live":
            self._bell = doorbell.hang(self._hear)
            self._model = model_class()(title=self.title, bell=self._bell)
            bundle[VIEW_MIME] = {"version_major": 2, "version_minor": 0, "model_id": self._model.model_id}
        else:
            bundle["text/html"] = escape(WAITING)
        self._display = open_display(bundle)

    def watch(self, label: str, trace: Trace) -> None:
        """Show this trace too, from now on."""
        with self._lock:
            self.traces[label] = trace
            self._points[label], self._sent[label] = [], 0
            trace.listeners.append(functools.partial(self._take, label))
            self._pump()

    def points(self, label: str) -> list[tuple[float, int]]:
        """Return (seconds, characters so far) for each delta that arrived under this label."""
        return list(self._points[label])

    def _take(self, label: str, mark: Mark) -> None:
        if mark.kind != "delta":
            return
        with self._lock:
            points = self._points[label]
            points.append((mark.at, len(mark.value) + (points[-1][1] if points else 0)))
            self._pump()

    def _pump(self) -> None:
        """Arm the pump: whatever comes within an interval leaves in one message."""
        if not self._armed and not self.frozen and self._display:
            self._armed = True
            loop, wait = portal().loop, INTERVALS[self._kind]
            loop.call_soon_threadsafe(lambda: loop.call_later(wait, self._tick))

    def _tick(self) -> None:
        with self._lock:
            self._armed = False
            if not self.frozen:
                self._safely(self._draw)

    def _draw(self) -> None:
        if self._model is not None:
            self._model.send(self._message(self._sent))
            self._sent = {label: len(points) for label, points in self._points.items()}
        else:
            update_display(self._display, {"text/html": table_html(self.traces), "text/plain": table(self.traces)})

    def _message(self, sent: Mapping[str, int]) -> dict[str, Any]:
        """Return the points after the first so many of each staircase, and the seconds since the race began."""
        now = max((clock.now() - trace.started for trace in self.traces.values()), default=0.0)
        rows = [
            {"label": label, "from": sent.get(label, 0), "points": points[sent.get(label, 0) :]}
            for label, points in self._points.items()
        ]
        return {"now": now, "rows": rows}

    def _hear(self, word: str) -> None:
        """Send everything to a view that has just come up."""
        with self._lock:
            if word == "snapshot" and not self.frozen:
                self._safely(lambda: self._model.send(self._message({})))

    def freeze(self) -> None:
        """Put the still in the view's place, or print the table; twice is fine."""
        with self._lock:
            if self.frozen:
                return
            self.frozen = True
            self._safely(self._finish)
            doorbell.unhang(self._bell)

    def _finish(self) -> None:
        if self._kind == "text":
            print(table(self.traces))
        if self._display:
            update_display(self._display, still(self.traces, title=self.title))
        if self._model is not None:
            self._model.close()

    def _safely(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.failure = error


@functools.cache
def model_class() -> Any:
    """Return the widget's class, the kernel's half of the view."""
    import anywidget  # half a second, wanted only in a notebook
    import traitlets

    class StairsModel(anywidget.AnyWidget):
        """What the browser knows before the first message."""

        _esm = joined("dom.js", "store.js", "stairs.js")
        _css = joined("stream.css")
        title = traitlets.Unicode().tag(sync=True)
        bell = traitlets.Unicode().tag(sync=True)

    return StairsModel


def rows(traces: Mapping[str, Trace]) -> list[tuple[str, str, str]]:
    """Return label, first token and number of bursts for each trace, as text."""
    firsts = {label: "none" if trace.ttft is None else f"{trace.ttft:.2f} s" for label, trace in traces.items()}
    return [(label, firsts[label], str(len(trace.bursts()))) for label, trace in traces.items()]


def table(traces: Mapping[str, Trace]) -> str:
    """Return the race as a table of plain text."""
    lines = [HEADINGS, *rows(traces)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def table_html(traces: Mapping[str, Trace]) -> str:
    """Return the race as an HTML table."""
    head = "".join(f"<th>{name}</th>" for name in HEADINGS)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows(traces))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def still(traces: Mapping[str, Trace], *, title: str = "") -> dict[str, str]:
    """Return the finished race as HTML and text; the drawing is an image, which a notebook of a stranger keeps."""
    picture = ""
    if any(trace.duration for trace in traces.values()):
        source = b64encode(plots.markup(plots.staircase(traces)).encode()).decode()
        picture = f'<img alt="{escape(table(traces))}" src="data:image/svg+xml;base64,{source}" style="max-width:100%">'
    html = f"<div><strong>{escape(title)}</strong>{picture}{table_html(traces)}</div>"
    return {"text/html": html, "text/plain": table(traces)}
