"""Intervals over days: the day (a seed) is the unit of replication, never the request, whose fates hang together.

The interval of a mean is the studentized bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
chapter 12); where a day is infinite, the median and its order statistics, which need no shape. All settings are
resampled by the same days, so that differences between settings keep their common luck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
RESAMPLES = 1000
LEAST_SPREAD = 0.25
"""A resample's standard error is at least this share of the sample's: some resamples of few days hardly vary."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between its bounds."""

    low: float
    value: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


@lru_cache(maxsize=16)
def weights(days: int, resamples: int) -> Floats:
    """Return the share of each day in each resample, shape (days, resamples); always the same ones."""
    counts = np.random.default_rng(days).multinomial(days, np.full(days, 1 / days), size=resamples)
    shares: Floats = counts.T / days
    return shares


def means(samples: Floats, *, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """Return (low, mean, high) for samples of shape (settings, days), all finite; one day bounds nothing."""
    count = samples.shape[1]
    mean = samples.mean(axis=1)
    if count < 2:
        return np.full_like(mean, -math.inf), mean, np.full_like(mean, math.inf)
    share = weights(count, RESAMPLES)
    error = samples.std(axis=1, ddof=1) / math.sqrt(count)
    centered = samples - mean[:, None]
    shifts = centered @ share
    spreads = np.sqrt(np.maximum((centered**2) @ share - shifts**2, 0.0) / (count - 1))
    floor = np.maximum(LEAST_SPREAD * error, 1e-300)[:, None]
    low, high = np.quantile(shifts / np.maximum(spreads, floor), [(1 - level) / 2, (1 + level) / 2], axis=1)
    return mean - high * error, mean, mean - low * error


@lru_cache(maxsize=64)
def ranks(days: int, level: float) -> tuple[int, int]:
    """Return the places of the ordered days that bound the median at this level; the outermost if there are too few."""
    tail = (1 - level) / 2
    below, place = 0.0, 0
    for place in range(days // 2):  # the place where the tail ends is wanted
        below += math.comb(days, place) / 2**days
        if below > tail:
            break
    low = max(0, place - 1)
    return low, days - 1 - low


def medians(samples: Floats, *, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """Return (low, median, high) for samples of shape (settings, days), which may be infinite."""
    ordered = np.sort(samples, axis=1)
    low, high = ranks(samples.shape[1], level)
    middle = ordered[:, (samples.shape[1] - 1) // 2]
    if samples.shape[1] < 2:
        return np.full_like(middle, -math.inf), middle, np.full_like(middle, math.inf)
    return ordered[:, low], middle, ordered[:, high]


def estimate(
    samples: Floats, *, level: float = 0.95, reach: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[Floats, Floats, Floats]:
    """Return (low, value, high) per setting: of the mean where all days are finite, else of the median.

    `reach` is what the quantity can be at all; the bounds do not leave it.
    """
    finite = np.asarray(np.isfinite(samples).all(axis=1))
    mean = means(np.where(finite[:, None], samples, 0.0), level=level)
    median = medians(samples, level=level)
    low, value, high = (np.where(finite, a, b) for a, b in zip(mean, median, strict=True))
    return np.maximum(low, reach[0]), value, np.minimum(high, reach[1])


def interval(
    days: npt.ArrayLike, *, level: float = 0.95, reach: tuple[float, float] = (-math.inf, math.inf)
) -> Interval:
    """Return the interval of one setting's days."""
    low, value, high = estimate(np.asarray(days, dtype=np.float64)[None, :], level=level, reach=reach)
    return Interval(float(low[0]), float(value[0]), float(high[0]))


def difference(one: npt.ArrayLike, other: npt.ArrayLike, *, level: float = 0.95) -> Interval:
    """Return the interval of the mean difference of two settings on the same days: their common luck cancels."""
    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        gap = np.where(first == second, 0.0, first - second)
    return interval(gap, level=level)
