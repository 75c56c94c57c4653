"""How a stream is shown where it runs: printed, as plain HTML that is drawn again, or not at all.

A face is told of marks in batches, never in the middle of one, and draws. The live face is in `live`, since it
needs ipywidgets.
"""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from claude_lab import still
from claude_lab.trace import Mark, Trace
from claude_lab.utf16 import Tape

VIEW_MIME = "application/vnd.jupyter.widget-view+json"


class Face:
    """Shows nothing; the root of the others. `interval` is the seconds between batches, None for at once."""

    interval: float | None = None

    def __init__(self, trace: Trace, title: str = "") -> None:
        self.trace = trace
        self.title = title

    def show(self) -> None:
        """Put the view where the caller stands."""

    def take(self, marks: Sequence[Mark]) -> None:
        """Draw what is new."""

    def finish(self) -> None:
        """Draw for the last time."""


class TextFace(Face):
    """Prints deltas as they come, in the cell that asked: marks may come from another thread."""

    def __init__(self, trace: Trace, title: str = "") -> None:
        super().__init__(trace, title)
        self._context = contextvars.copy_context()
        self._tape = Tape()

    def show(self) -> None:
        """Remember the cell to print in."""
        self._context = contextvars.copy_context()

    def take(self, marks: Sequence[Mark]) -> None:
        """Print the deltas, and a line for each retry and seam."""
        self._context.run(self._print, "".join(self._said(mark) for mark in marks))

    def finish(self) -> None:
        """End the line, and say how the run ended."""
        lines = [still.complaint(self.trace), still.summary(self.trace)]
        self._context.run(self._print, "".join(f"\n[{line}]" for line in lines if line) + "\n")

    def _said(self, mark: Mark) -> str:
        if mark.kind == "delta":
            return self._tape.add(mark.value)
        if mark.kind == "retry":
            return f"[{mark.value['error']}; waiting {mark.value['wait']:.2f} s]\n"
        return f"\n[{mark.value.get('reason', 'resumed')}]\n" if mark.kind == "reset" else ""

    def _print(self, text: str) -> None:
        if text:
            print(text, end="", flush=True, file=sys.stdout)


class HtmlFace(Face):
    """Draws the still again and again under one display id: needs a front end with HTML, and no widgets.

    Each drawing has all the text, so the longer it is the more seldom it is drawn.
    """

    interval = 0.4

    def __init__(self, trace: Trace, title: str = "", *, note: str = "", stop_url: str = "") -> None:
        super().__init__(trace, title)
        self.note = note
        self.stop_url = stop_url
        self.finished = False
        self.displays: list[str] = []

    def show(self) -> None:
        """Open a display here."""
        self.displays.append(open_display(self._bundle(live=not self.finished)))

    def take(self, marks: Sequence[Mark]) -> None:
        """Draw the still of what there is."""
        self._redraw(live=True)

    def finish(self) -> None:
        """Draw the still."""
        self.finished = True
        self._redraw(live=False)

    def _redraw(self, *, live: bool) -> None:
        bundle = self._bundle(live=live)
        self.interval = max(0.4, len(bundle["text/html"]) / 200_000)
        for display in self.displays:
            update_display(display, bundle)

    def _bundle(self, *, live: bool) -> dict[str, str]:
        return {
            "text/html": still.html(self.trace, title=self.title, note=self.note, live=live, stop_url=self.stop_url),
            "text/plain": still.text(self.trace, title=self.title),
        }


def open_display(bundle: dict[str, Any]) -> str:
    """Display a MIME bundle in the running cell and return its display id."""
    name = f"claude-lab-{uuid4().hex}"
    publish(bundle, name, update=False)
    return name


def update_display(name: str, bundle: dict[str, Any]) -> None:
    """Replace what a display shows.

    Published from an empty context: a message that names an earlier cell as its parent is dropped by nbclient.
    """
    contextvars.Context().run(publish, bundle, name, update=True)


def publish(bundle: dict[str, Any], name: str, *, update: bool) -> None:
    """Send one display message."""
    from IPython.display import display

    show: Callable[..., Any] = display
    show(bundle, raw=True, display_id=name, update=update)
