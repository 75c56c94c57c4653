"""The compiled engine's own arithmetic."""

import random
import statistics

import pytest

from claude_lab import chance, compiled, pacing


def test_the_quantile_is_pythons_bit_for_bit():
    """In the middle and far into both tails."""
    rand, normal = random.Random(0), statistics.NormalDist()
    points = [rand.random() for _ in range(20_000)] + [10.0 ** -(12 * rand.random()) for _ in range(5_000)]
    points += [1 - point for point in points[-5_000:] if point < 0.1]

    assert [compiled.quantile(p) for p in points] == [normal.inv_cdf(p) for p in points]


def test_the_lognormal_is_the_paces():
    """Also without a median or a spread."""
    rand = random.Random(1)
    draws = [(rand.choice([0.0, 0.3]), rand.choice([0.0, 0.5]), rand.random()) for _ in range(1000)]

    assert [compiled.lognormal(*draw) for draw in draws] == [pacing.lognormal(*draw) for draw in draws]


def test_the_stored_engine_is_named_after_its_sources():
    """A change in any of them makes another name, so that no stale machine code is run."""
    made = compiled.rebound(chance.u)

    assert made.__qualname__ == f"u_{compiled.edition()}"
    assert made(1, 2, 3, 4) == chance.u(1, 2, 3, 4)


def test_without_numba_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    """The sentence says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "numba", None)
    compiled.functions.cache_clear()

    with pytest.raises(ImportError, match=r"claude_lab\[fast\]"):
        compiled.functions()
    compiled.functions.cache_clear()
