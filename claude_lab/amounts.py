"""What counts as a number at the door: a finite amount or a whole count, within bounds; never a text or a truth."""

from __future__ import annotations

import sys
from numbers import Integral, Real
from typing import Any

MOST = sys.float_info.max
"""The greatest finite amount; infinity, NaN and whole numbers that no float can hold lie outside."""


def is_amount(value: Any, *, least: float = 0.0, above: float = -MOST, most: float = MOST) -> bool:
    """Tell whether a value is a finite number from `least` to `most`, and greater than `above`."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and bool(least <= value <= most and value > above)


def is_count(value: Any, *, least: int = 0, most: float = MOST) -> bool:
    """Tell whether a value is a whole number from `least` to `most`; 2.0 is none, as nothing can be done 2.0 times."""
    return isinstance(value, Integral) and is_amount(value, least=least, most=most)
