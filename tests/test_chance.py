"""The numbers by counter."""

from itertools import pairwise
from statistics import fmean

import pytest

from claude_lab import chance
from claude_lab.chance import Purpose


def test_a_counter_always_gives_its_number():
    """The number depends on the four coordinates and nothing else; this one is pinned."""
    assert chance.u(1, 2, 3, Purpose.WAIT) == chance.u(1, 2, 3, 0)
    assert chance.key("hello") == chance.key(b"hello") == 0xA7B6EDA801E5347D


@pytest.mark.parametrize("vary", range(4))
def test_numbers_are_uniform_along_each_coordinate(vary: int):
    """Mean, spread and neighboring products are those of independent uniform numbers."""
    counters = [[n if place == vary else 5 for place in range(4)] for n in range(20_000)]

    numbers = [chance.u(*counter) for counter in counters]

    assert 0 <= min(numbers) < max(numbers) < 1
    assert fmean(numbers) == pytest.approx(1 / 2, abs=0.01)
    assert fmean(x * x for x in numbers) == pytest.approx(1 / 3, abs=0.01)
    assert fmean(x * y for x, y in pairwise(numbers)) == pytest.approx(1 / 4, abs=0.01)


def test_purposes_differ():
    """No two purposes share a number."""
    assert len({chance.u(0, 0, 0, purpose) for purpose in Purpose}) == len(Purpose)


def test_a_compiler_for_64_bit_integers_takes_the_same_source():
    """The compiled function equals the plain one bit for bit."""
    numba = pytest.importorskip("numba")
    np = pytest.importorskip("numpy")
    compiled = numba.njit(numba.float64(*[numba.uint64] * 4))(chance.u)
    counters = [(n * 7919, chance.key(str(n)), n % 13, n % 5) for n in range(1000)]

    numbers = [compiled(*map(np.uint64, counter)) for counter in counters]

    assert numbers == [chance.u(*counter) for counter in counters]
