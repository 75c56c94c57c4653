"""Amounts: which values pass as numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from claude_lab.amounts import is_amount, is_count


@pytest.mark.parametrize("value", [0, 0.0, 1, 2.5, np.float64(0.5), np.int64(3), 10**300])
def test_a_finite_number_is_an_amount(value: Any) -> None:
    """Whole or not, Python's or numpy's."""
    assert is_amount(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, -0.1, 10**400, True, "1", b"1", None, [1], 1j])
def test_what_compares_or_looks_like_a_number_is_none(value: Any) -> None:
    """NaN and the infinities, what is below the least, truths, texts and lists."""
    assert not is_amount(value)
    assert not is_count(value)


def test_bounds_hold_at_their_ends() -> None:
    """`least` and `most` are allowed themselves, `above` is not."""
    ends = [is_amount(1, least=1), is_amount(2, most=2), is_amount(0, above=0), is_amount(0.001, above=0)]

    assert ends == [True, True, False, True]
    assert not is_amount(2.001, most=2)
    assert not is_amount(0.999, least=1)


def test_a_count_is_whole() -> None:
    """A float is no count, however round."""
    assert [is_count(value) for value in (0, 3, np.int64(3), 3.0, 1.5)] == [True, True, True, False, False]
    assert [is_count(value, least=1, most=2) for value in (0, 1, 2, 3)] == [False, True, True, False]
