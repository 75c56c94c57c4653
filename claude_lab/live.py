"""The live face: an anywidget in the browser, and the model it listens to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import anywidget
import traitlets

from claude_lab import doorbell, still
from claude_lab.assets import joined
from claude_lab.faces import VIEW_MIME, Face, open_display, update_display
from claude_lab.trace import Mark, Trace
from claude_lab.wire import Wire


class StreamModel(anywidget.AnyWidget):
    """The kernel's half of the widget; `snapshot` is read when a page that was reloaded asks for the state."""

    _esm = joined("dom.js", "store.js", "strip.js", "stream.js")
    _css = joined("stream.css")
    key = traitlets.Unicode().tag(sync=True)
    title = traitlets.Unicode().tag(sync=True)
    bell = traitlets.Unicode().tag(sync=True)
    stop_url = traitlets.Unicode().tag(sync=True)
    stoppable = traitlets.Bool(False).tag(sync=True)
    snapshot = traitlets.Any(None).tag(sync=True, to_json=lambda value, model: model.read())

    def __init__(self, read: Callable[[], dict[str, Any]], **traits: Any) -> None:
        self.read = read
        super().__init__(key=uuid4().hex, **traits)


class LiveFace(Face):
    """Sends frames to every view of one model, 30 times a second; at the end the still takes their place."""

    interval = 0.033

    def __init__(
        self,
        trace: Trace,
        title: str = "",
        *,
        stop_url: str | None,
        stoppable: bool,
        ring: Callable[[str], None],
        lock: threading.RLock,
    ) -> None:
        super().__init__(trace, title)
        self.displays: list[str] = []
        self.wire = Wire()
        self.pages: set[str] = set()
        self._stop_url, self._stoppable = stop_url or "", stoppable or bool(stop_url)
        self._ring, self._lock = ring, lock
        self._model: StreamModel | None = None
        self._finished = False

    @property
    def ready(self) -> bool:
        """Whether a view in some browser has come up."""
        return bool(self.pages)

    def show(self) -> None:
        """Add a view here; once the run is over, the still."""
        if self._finished:
            open_display(self._still())
            return
        if self._model is None:
            self._model = self._new_model()
        view = {"version_major": 2, "version_minor": 0, "model_id": self._model.model_id}
        waiting = f"{self.title or 'A stream'} is running; its text comes here when it has ended."
        self.displays.append(open_display({VIEW_MIME: view, "text/plain": waiting}))

    def _new_model(self) -> StreamModel:
        model = StreamModel(
            self._read,
            title=self.title,
            bell=doorbell.hang(self._hear),
            stop_url=self._stop_url,
            stoppable=self._stoppable,
        )
        model.on_msg(lambda _, content, buffers: self._hear(content.get("word", ""), content.get("page", "")))
        return model

    def _read(self) -> dict[str, Any]:
        with self._lock:
            return self.wire.snapshot()

    def _hear(self, word: str, page: str = "") -> None:
        """Hear a view: by the bell on the portal's thread, or by comm on one of the kernel's."""
        if word == "stop":
            self._ring(word)
            return
        with self._lock:
            if word == "ready":
                self.pages.add(page)
            elif word == "snapshot":
                self._send(self.wire.snapshot())

    def _send(self, message: dict[str, Any]) -> None:
        if self._model is not None:
            self._model.send(message)

    def take(self, marks: Sequence[Mark]) -> None:
        """Send the frames of these marks."""
        for message in self.wire.feed(marks):
            self._send(message)

    def finish(self) -> None:
        """Send what the text must be, put the still in place of every view, and leave no widget behind.

        But a page that is loaded again loses its display ids: the model stays for a while, for one that is just
        coming up, and for good where one has.
        """
        self._send(self.wire.end(self.trace))
        self._finished = True
        bundle = self._still()
        for display in self.displays:
            update_display(display, bundle)
        doorbell.linger(self.pages, self._close)

    def _still(self) -> dict[str, str]:
        return {
            "text/html": still.html(self.trace, title=self.title),
            "text/plain": still.text(self.trace, title=self.title),
        }

    def give_up(self) -> list[str]:
        """Leave the displays to another face, and return their ids."""
        self._finished = True
        self._close()
        return self.displays

    def _close(self) -> None:
        with self._lock:
            model, self._model = self._model, None
            if model is not None:
                doorbell.unhang(model.bell)
                model.close()
