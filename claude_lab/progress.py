"""One line about work that takes seconds, in a notebook or a terminal: replaced as it goes on, gone at the end."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

Teller = Callable[[str], None]


def in_kernel() -> bool:
    """Whether this process is a Jupyter kernel, whose front end can show more than text."""
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return getattr(shell, "kernel", None) is not None


@contextmanager
def line(*, shown: bool = True) -> Iterator[Teller]:
    """Yield what shows a text in the place of the one before, and take the last one away at the end.

    Nothing is shown where nobody watches: in a pipe, in a notebook that is executed for its outputs
    (`CLAUDE_LAB_VIEW=html`), with the views off.
    """
    tell, last = teller() if shown else silent, ""

    def replace(text: str) -> None:
        nonlocal last
        if text != last:
            tell(text)
        last = text

    try:
        yield replace
    finally:
        replace("")


def teller() -> Teller:
    """Return what shows a line here."""
    if os.environ.get("CLAUDE_LAB_VIEW", "").strip().lower() in ("html", "off"):
        return silent
    if in_kernel():
        return notebook()
    return terminal if sys.stderr.isatty() else silent


def silent(text: str) -> None:
    """Show nothing."""


def terminal(text: str) -> None:
    """Write over the terminal's last line; cut to its width, since a line that wraps could not be written over."""
    width = shutil.get_terminal_size().columns - 1
    print(f"\r{text[:width]}\x1b[K", end="", flush=True, file=sys.stderr)


def notebook() -> Teller:
    """Return what shows a line under the running cell; an empty one leaves an output without content."""
    from IPython.display import display  # there is one where there is a kernel

    name, opened = f"claude-lab-{uuid4().hex}", False

    def tell(text: str) -> None:
        nonlocal opened
        display({"text/plain": text} if text else {}, raw=True, display_id=name, update=opened)  # type: ignore[no-untyped-call]
        opened = True

    return tell
