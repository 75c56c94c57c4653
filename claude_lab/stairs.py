"""`StaircaseView`: the arrivals of several routes as staircases on one clock, while they come; then the still.

Flat means that nothing arrived, a cliff that much arrived at once. Traces are watched with `watch`, from any thread.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from claude_lab import clock, doorbell, palette, plots
from claude_lab.arrivals import html, still, table
from claude_lab.assets import joined
from claude_lab.background import portal
from claude_lab.faces import VIEW_MIME, open_display, update_display
from claude_lab.trace import Mark, Trace
from claude_lab.widgets import mode

INTERVALS = {"live": 0.033, "html": 0.4}
WAITING = "The race is running; its picture comes here when it has ended."


class Race(dict[str, Trace]):
    """Traces by label: a table, and, unless a view has already `shown` them, the staircases of arrivals."""

    def __init__(self, traces: Mapping[str, Trace], *, shown: bool = False) -> None:
        super().__init__(traces)
        self.shown = shown

    @property
    def figure(self) -> Any:
        """The picture, by matplotlib."""
        return plots.staircase(self)

    def __repr__(self) -> str:
        return table(self)

    def _repr_html_(self) -> str | None:
        return None if self.shown else html(self)


class StaircaseView:
    """Shows the traces it is given to watch, until `freeze()` puts a picture and a table in its place.

    `view` is "live", "html", "text" or "off"; by default what `CLAUDE_LAB_VIEW` says, else what fits where it runs.
    A front end that fails does not break a run: `failure` keeps why. One that stays silent gets plain HTML.
    """

    def __init__(self, *, title: str = "", view: str | None = None) -> None:
        self.title = title
        self.traces: dict[str, Trace] = {}
        self.frozen = False
        self.failure: Exception | None = None
        self.note = ""
        self.pages: set[str] = set()
        self._kind = mode(view)
        self._points: dict[str, list[tuple[float, int]]] = {}
        self._sent: dict[str, int] = {}
        self._lock = threading.RLock()
        self._armed = False
        self._display = ""
        self._bell = ""
        self._model: Any = None

    @property
    def shown(self) -> bool:
        """Whether a picture stands in the notebook."""
        return bool(self._display) and self.failure is None

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
            self._model = model_class()(self._read, title=self.title, bell=self._bell)
            self._model.on_msg(lambda _, content, buffers: self._hear(content.get("word", ""), content.get("page", "")))
            bundle[VIEW_MIME] = {"version_major": 2, "version_minor": 0, "model_id": self._model.model_id}
            doorbell.expect(lambda: self.frozen or bool(self.pages), self._turn_plain)
        else:
            bundle["text/html"] = escape(WAITING)
        self._display = open_display(bundle)

    def _turn_plain(self, reason: str) -> None:
        """Go on as plain HTML."""
        with self._lock:
            if self.frozen:
                return
            self.note, self._kind = reason, "html"
            self._drop_model()
            self._safely(self._draw)

    def _drop_model(self) -> None:
        doorbell.unhang(self._bell)
        model, self._model = self._model, None
        if model is not None:
            model.close()

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
            drawn = html(self.traces, title=self.title, note=self.note)
            update_display(self._display, {"text/html": drawn, "text/plain": table(self.traces)})

    def _message(self, sent: Mapping[str, int]) -> dict[str, Any]:
        """Return the points after the first so many of each staircase, and the seconds since the race began."""
        now = max((clock.now() - trace.started for trace in self.traces.values()), default=0.0)
        colors = palette.shades_of(self._points)
        rows = [
            {
                "label": label,
                "color": "light-dark({},{})".format(*colors[label]),
                "from": sent.get(label, 0),
                "points": points[sent.get(label, 0) :],
            }
            for label, points in self._points.items()
        ]
        return {"now": now, "rows": rows, "over": self.frozen}

    def _read(self) -> dict[str, Any]:
        """Return everything so far: what a page that is loaded again begins with."""
        with self._lock:
            return self._message({})

    def _hear(self, word: str, page: str = "") -> None:
        """Hear a view: by the bell on the portal's thread, or by comm on one of the kernel's."""
        with self._lock:
            if word == "ready":
                self.pages.add(page)
            elif word == "snapshot" and self._model is not None:
                self._safely(lambda: self._model.send(self._message({})))

    def freeze(self) -> None:
        """Put the still in the view's place, or print the table; twice is fine."""
        with self._lock:
            if self.frozen:
                return
            self.frozen = True
            self._safely(self._finish)

    def _finish(self) -> None:
        if self._kind == "text":
            print(table(self.traces))
        if self._display:
            update_display(self._display, still(self.traces, title=self.title, note=self.note))
        if self._model is not None:
            self._model.send(self._message({}))
            doorbell.linger(self.pages, self._drop_model)

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
        """What the browser knows before the first message; `snapshot` is read when a page asks for the state."""

        _esm = joined("dom.js", "store.js", "stairs.js")
        _css = joined("stream.css")
        title = traitlets.Unicode().tag(sync=True)
        bell = traitlets.Unicode().tag(sync=True)
        snapshot = traitlets.Any(None).tag(sync=True, to_json=lambda value, model: model.read())

        def __init__(self, read: Callable[[], dict[str, Any]], **traits: Any) -> None:
            self.read = read
            super().__init__(**traits)

    return StairsModel
