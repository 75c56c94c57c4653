"""The browser's files: scripts and style sheets of the widgets, joined where there is no bundler."""

from __future__ import annotations

from importlib.resources import files


def joined(*names: str) -> str:
    """Return these files of `static/`, one after the other."""
    static = files("claude_lab") / "static"
    return "\n".join((static / name).read_text("utf-8") for name in names)
