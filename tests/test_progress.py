from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from claude_lab import progress


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_a_terminals_line_is_written_over_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each text begins at the left margin and clears the rest; an equal one is not written again; the last is empty."""
    monkeypatch.setattr(sys, "stderr", Screen())
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.delenv("CLAUDE_LAB_VIEW", raising=False)

    with progress.line() as tell:
        for text in ("one", "one", "a text of more than twenty columns"):
            tell(text)

    assert sys.stderr.getvalue().split("\r") == ["", "one\x1b[K", "a text of more than\x1b[K", "\x1b[K"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("view", "screen", "shown"), [("off", Screen, True), ("", io.StringIO, True), ("", Screen, False)]
)
def test_nothing_is_shown_where_nobody_watches(
    view: str, screen: type[io.StringIO], shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipe, with the views off, and where it is not wanted."""
    monkeypatch.setattr(sys, "stderr", screen())
    monkeypatch.setenv("CLAUDE_LAB_VIEW", view)

    with progress.line(shown=shown) as tell:
        tell("one")

    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


def test_a_notebooks_line_leaves_an_output_without_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """One display is replaced, last by nothing."""
    sent: list[tuple[Any, bool]] = []
    names: set[str] = set()

    def display(bundle: Any, *, raw: bool, display_id: str, update: bool) -> None:
        sent.append((bundle, update))
        names.add(display_id)

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(progress, "in_kernel", lambda: True)
    monkeypatch.delenv("CLAUDE_LAB_VIEW", raising=False)

    with progress.line() as tell:
        tell("one")
        tell("two")

    assert sent == [({"text/plain": "one"}, False), ({"text/plain": "two"}, True), ({}, True)]
    assert len(names) == 1
