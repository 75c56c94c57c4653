"""Shapes of JSON values, and the first place where a value does not fit, in the words the API uses.

A shape is a function `(value, path) -> Problem | None`. The messages follow pydantic's, which the API passes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where: a path such as `messages.0.content`, and a sentence."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


Shape: TypeAlias = Callable[[Any, str], Problem | None]


def join(path: str, step: str | int) -> str:
    """Return a path, one step deeper."""
    return f"{path}.{step}" if path else str(step)


def anything(value: Any, path: str) -> Problem | None:
    """Fit every value."""
    return None


def integer(at_least: int | None = None) -> Shape:
    """Return the shape of a whole number; `true` is none."""

    def shape(value: Any, path: str) -> Problem | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return Problem(path, "Input should be a valid integer")
        if at_least is not None and value < at_least:
            return Problem(path, f"Input should be greater than or equal to {at_least}")
        return None

    return shape


def number(least: float, most: float) -> Shape:
    """Return the shape of a number in a closed range."""

    def shape(value: Any, path: str) -> Problem | None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return Problem(path, "Input should be a valid number")
        if not least <= value <= most:
            return Problem(path, f"range: {least:g}..{most:g}")
        return None

    return shape


def string(*, at_least: int = 0, at_most: int | None = None, pattern: str | None = None) -> Shape:
    """Return the shape of a string, with bounds on its length and a pattern it must match."""
    rule = re.compile(pattern) if pattern else None

    def shape(value: Any, path: str) -> Problem | None:
        if not isinstance(value, str):
            return Problem(path, "Input should be a valid string")
        if len(value) < at_least:
            return Problem(path, f"String should have at least {at_least} character{'s' * (at_least > 1)}")
        if at_most is not None and len(value) > at_most:
            return Problem(path, f"String should have at most {at_most} characters")
        if rule and not rule.fullmatch(value):
            return Problem(path, f"String should match pattern '{pattern}'")
        return None

    return shape


def boolean(value: Any, path: str) -> Problem | None:
    """Fit true and false."""
    return None if isinstance(value, bool) else Problem(path, "Input should be a valid boolean")


def one_of(*options: str) -> Shape:
    """Return the shape of a string out of a few."""
    named = [f"'{option}'" for option in options]
    expected = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} or {named[-1]}"

    def shape(value: Any, path: str) -> Problem | None:
        fits = isinstance(value, str) and value in options
        return None if fits else Problem(path, f"Input should be {expected}")

    return shape


def nullable(inner: Shape) -> Shape:
    """Return the shape of a value or null."""
    return lambda value, path: None if value is None else inner(value, path)


def array(inner: Shape, *, at_least: int = 0, at_most: int | None = None) -> Shape:
    """Return the shape of a list whose items all fit."""

    def shape(value: Any, path: str) -> Problem | None:
        if not isinstance(value, Sequence) or isinstance(value, str):
            return Problem(path, "Input should be a valid list")
        if len(value) < at_least:
            return Problem(path, f"List should have at least {at_least} item after validation, not {len(value)}")
        if at_most is not None and len(value) > at_most:
            return Problem(path, f"List should have at most {at_most} items after validation, not {len(value)}")
        problems = (inner(item, join(path, index)) for index, item in enumerate(value))
        return next((problem for problem in problems if problem), None)

    return shape


def mapping(value: Any, path: str) -> Problem | None:
    """Fit any object."""
    return None if isinstance(value, Mapping) else Problem(path, "Input should be a valid dictionary")


def record(
    required: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None, *, others: Shape | None = None
) -> Shape:
    """Return the shape of an object with these fields; `others` is the shape of any other field, None allows none."""
    known = {**required, **(optional or {})}

    def shape(value: Any, path: str) -> Problem | None:
        if not isinstance(value, Mapping):
            return Problem(path, "Input should be a valid dictionary or object to extract fields from")
        missing = next((name for name in required if name not in value), None)
        if missing:
            return Problem(join(path, missing), "Field required")
        for name, inner in value.items():
            fits = known.get(name, others)
            if fits is None:
                return Problem(join(path, name), "Extra inputs are not permitted")
            if problem := fits(inner, join(path, name)):
                return problem
        return None

    return shape


def tagged(kinds: Mapping[str, Shape], *, tag: str = "type") -> Shape:
    """Return the shape of an object whose `tag` field says which shape it has; paths into it name the tag, too."""
    expected = ", ".join(f"'{kind}'" for kind in kinds)

    def shape(value: Any, path: str) -> Problem | None:
        if not isinstance(value, Mapping):
            return Problem(path, "Input should be a valid dictionary or object to extract fields from")
        kind = value.get(tag)
        if kind is None:
            return Problem(join(path, tag), "Field required")
        if not isinstance(kind, str) or kind not in kinds:
            found = f"Input tag '{kind}' found using '{tag}' does not match any of the expected tags: {expected}"
            return Problem(path, found)
        return kinds[kind](value, join(path, kind))

    return shape


def text_or(other: Shape) -> Shape:
    """Return the shape of a string, or of something else."""

    def shape(value: Any, path: str) -> Problem | None:
        if isinstance(value, str):
            return None
        if not isinstance(value, (list, Mapping)):
            return Problem(path, "Input should be a valid string or list")
        return other(value, path)

    return shape
