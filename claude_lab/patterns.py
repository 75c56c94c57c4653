"""A text that a regular expression matches: the shortest way through it, for strings whose schema has a pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable
from re import _constants, _parser  # type: ignore[attr-defined]  # the only parser of expressions that Python has
from typing import Any

MOST = 1_000
"""No repetition is written out more often."""
LETTERS = {
    _constants.CATEGORY_DIGIT: "0",
    _constants.CATEGORY_SPACE: " ",
    _constants.CATEGORY_WORD: "a",
    _constants.CATEGORY_NOT_DIGIT: "a",
    _constants.CATEGORY_NOT_SPACE: "a",
    _constants.CATEGORY_NOT_WORD: "-",
}
CLEVER = (_constants.ASSERT, _constants.ASSERT_NOT, _constants.GROUPREF, _constants.GROUPREF_EXISTS)
TRIED = "aA0_- .@/é"
"""What is tried where an expression says only what must not stand there."""


def letter(kind: Any, held: Any) -> str:
    """Return a character that one element of an expression stands for."""
    if kind is _constants.IN:
        if held[0][0] is _constants.NEGATE:
            return next(each for each in TRIED if re.match(f"[^{inside(held[1:])}]", each))
        return letter(*held[0])
    if kind is _constants.RANGE:
        return chr(held[0])
    if kind is _constants.CATEGORY:
        return LETTERS[held]
    if kind is _constants.NOT_LITERAL:
        return "a" if held != ord("a") else "b"
    return chr(held) if kind is _constants.LITERAL else "a"


def inside(parts: Iterable[tuple[Any, Any]]) -> str:
    """Return the inside of a character class that holds one character of each part."""
    return "".join(
        f"{re.escape(chr(held[0]))}-{re.escape(chr(held[1]))}"
        if kind is _constants.RANGE
        else re.escape(letter(kind, held))
        for kind, held in parts
    )


def walk(parts: Iterable[tuple[Any, Any]]) -> str:
    """Return the shortest text along a parsed expression; positions take no room. ValueError if it looks around."""
    text = ""
    for kind, held in parts:
        if len(text) > MOST:
            break
        if kind in (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT):
            text += walk(held[2]) * min(held[0], MOST + 1)
        elif kind is _constants.SUBPATTERN:
            text += walk(held[-1])
        elif kind is _constants.ATOMIC_GROUP:
            text += walk(held)
        elif kind is _constants.BRANCH:
            text += walk(held[1][0])
        elif kind in CLEVER:
            raise ValueError("what looks around or back has no shortest text")
        elif kind is not _constants.AT:
            text += letter(kind, held)
    return text[: MOST + 1]


def written(pattern: str) -> str | None:
    """Return a text in which a pattern is found, or None if the pattern is none, too long or too clever.

    It is found by construction and not by trial, since trying may take forever.
    """
    if len(pattern) > MOST:
        return None
    try:
        text = walk(_parser.parse(pattern))
    except (re.error, RecursionError, OverflowError, ValueError, KeyError, StopIteration):
        return None
    return text if len(text) <= MOST else None
