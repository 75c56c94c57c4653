"""Text for people, wrapped between words, so that no narrow page breaks it inside one."""

from __future__ import annotations

import textwrap

WIDTH = 88
"""Columns that a notebook's output has room for."""


def wrapped(text: str, *, first: str = "", rest: str | None = None) -> str:
    """Return a paragraph in lines of at most `WIDTH` columns; only what has no space in it may be longer.

    The first line begins with `first`, the others with `rest`, by default as many spaces.
    """
    rest = " " * len(first) if rest is None else rest
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
