"""`TokenStream`: the live view of one stream, from the first wait to the still that stays in the notebook.

Marks are pushed in from any thread and drawn in batches by a pump on the portal; the view's face depends on where it
runs: `live` (a widget), `html` (plain HTML, drawn again), `text` (printed) or `off`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from claude_lab import card, doorbell
from claude_lab.background import portal
from claude_lab.faces import Face, HtmlFace, TextFace
from claude_lab.progress import in_kernel
from claude_lab.trace import Mark, Trace

MODES = ("live", "html", "text", "off")
FINAL = frozenset({"done", "error"})


def mode(view: str | None = None) -> str:
    """Return how a view is shown: as asked, else by `CLAUDE_LAB_VIEW`, else live in a kernel and text elsewhere.

    Raises ValueError for a value it does not know.
    """
    if view is not None:
        if view not in MODES:
            raise ValueError(f"view={view!r} is unknown; use one of {', '.join(MODES)}, or None.")
        return view
    asked = os.environ.get("CLAUDE_LAB_VIEW", "").strip().lower()
    if asked and asked not in MODES:
        raise ValueError(f"CLAUDE_LAB_VIEW is {asked!r}; set it to one of {', '.join(MODES)}, or unset it.")
    return asked or ("live" if in_kernel() else "text")


class TokenStream:
    """Shows one stream: text, times, a strip of arrivals, a Stop button, errors; then freezes.

    Hand it marks with `push`, for instance by `trace.listeners.append(view.push)`; a `done` or `error` mark freezes
    it, and `freeze()` does so for a stream that was cut. `on_stop` is called when Stop is pressed, on the portal's
    thread or the kernel's, maybe more than once; the browser also posts to `stop_url`.
    """

    def __init__(
        self,
        *,
        title: str = "",
        on_stop: Callable[[], Any] | None = None,
        stop_url: str | None = None,
        view: str | None = None,
    ) -> None:
        self.title = title
        self.on_stop = on_stop
        self.stop_url = stop_url
        self.trace = Trace()
        self.frozen = False
        self._lock = threading.RLock()
        self._pending: list[Mark] = []
        self._armed = False
        self._drawn = 0.0
        self._shown = False
        self.failure: Exception | None = None
        self._kind = mode(view)
        self._face = Face(self.trace, title)
        self._bell = ""

    def _new_face(self, kind: str) -> Face:
        if kind == "live":
            from claude_lab.live import LiveFace  # ipywidgets costs half a second

            return LiveFace(
                self.trace,
                self.title,
                stop_url=self.stop_url,
                stoppable=self.on_stop is not None,
                ring=self._ring,
                lock=self._lock,
            )
        if kind == "html":
            return self._html_face()
        return TextFace(self.trace, self.title) if kind == "text" else Face(self.trace, self.title)

    def _html_face(self, note: str = "") -> HtmlFace:
        """Return a face of plain HTML, whose Stop button is a form."""
        url = self.stop_url or ""
        if not url and self.on_stop is not None and not self.frozen:
            self._bell = doorbell.hang(self._ring)
            url = f"{self._bell}/stop"
        return HtmlFace(self.trace, self.title, note=note, stop_url=(card.proxied(url) or url) if url else "")

    @property
    def text(self) -> str:
        """The answer so far."""
        return self.trace.text

    def push(self, mark: Mark) -> None:
        """Take one mark, from any thread; a final one freezes the view before this returns."""
        with self._lock:
            if self.frozen:
                return
            self.trace.marks.append(mark)
            self._pending.append(mark)
            if mark.kind in FINAL:
                self.freeze()
            elif self._shown:
                self._pump()

    def _pump(self) -> None:
        """Draw now, or arm the pump to draw when the face's interval is over."""
        if self._face.interval is None:
            self._draw()
        elif not self._armed:
            self._armed = True
            portal().loop.call_soon_threadsafe(self._arm)

    def _arm(self) -> None:
        loop = portal().loop
        wait = self._drawn + (self._face.interval or 0) - loop.time()
        loop.call_later(max(0.0, wait), self._tick)

    def _tick(self) -> None:
        with self._lock:
            self._armed = False
            self._drawn = portal().loop.time()
            if not self.frozen:
                self._draw()

    def _draw(self) -> None:
        marks, self._pending = self._pending, []
        if marks:
            self._safely(self._face.take, marks)

    def _safely(self, work: Callable[..., None], *given: Any) -> None:
        """Draw; a front end that fails must not break the run: `failure` keeps why, and the view goes dark."""
        try:
            work(*given)
        except Exception as error:
            self.failure = error
            self._face = Face(self.trace, self.title)

    def show(self) -> TokenStream:
        """Show the view here; each call adds one, and all of them stay equal. Of a frozen view it shows the still."""
        if self._kind in ("live", "html"):
            doorbell.opened()
        with self._lock:
            first, self._shown = not self._shown, True
            if first:
                self._face = self._new_face("html" if self.frozen and self._kind == "live" else self._kind)
            self._face.show()
            self._draw()
            if first and self.frozen:
                self._safely(self._face.finish)
        if first and not self._up:
            doorbell.expect(lambda: self._up, self._turn_plain)
        return self

    def freeze(self) -> None:
        """Draw for the last time, as plain HTML and text; twice is fine."""
        with self._lock:
            if self.frozen:
                return
            self.frozen = True
            if self._shown:
                self._draw()
                self._safely(self._face.finish)
            doorbell.unhang(self._bell)

    def _ring(self, word: str) -> None:
        """Hear the browser: it is ready, wants the whole text again, or wants to stop."""
        if word == "stop" and self.on_stop is not None and not self.frozen:
            self.on_stop()

    @property
    def _up(self) -> bool:
        """Whether a view in some browser has come up, or none is wanted any more; only the live face has to say."""
        return self.frozen or getattr(self._face, "ready", True)

    def _turn_plain(self, reason: str) -> None:
        """Change to plain HTML: no view in the browser came up."""
        with self._lock:
            if self._up:
                return
            plain = self._html_face(reason)
            plain.displays = self._face.give_up()  # type: ignore[attr-defined]  # only the live face is ever not ready
            self._face = plain
            self._pending = []
            self._safely(plain.take, self.trace.marks)
