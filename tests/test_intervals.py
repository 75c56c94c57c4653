"""Intervals over days."""

import math

import numpy as np
import pytest

from claude_lab import intervals, model
from claude_lab.metrics import METRICS
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario


def days_of(policy: RetryPolicy, seeds: range, requests: int = 150) -> np.ndarray:
    """A metric table of one setting: (seeds, metrics)."""
    scenario = Scenario.bursty(rpm=50, requests=requests)
    return model.batch(scenario, [policy], seeds, "auto")[0]


@pytest.fixture(scope="module")
def many() -> np.ndarray:
    """Fourteen thousand days of one setting."""
    return days_of(RetryPolicy(max_retries=3, base_delay=5), range(14_000), 100)


@pytest.mark.parametrize("metric", ["success", "in_time", "attempts_per_success"])
def test_stated_intervals_cover_the_truth(metric: str, many: np.ndarray):
    """Of 400 intervals from 20 days each, 93 to 97 in 100 hold the mean of 6,000 other days."""
    column = METRICS.index(metric)
    truth, samples = many[8000:, column].mean(), many[:8000, column].reshape(400, 20)

    low, _, high = intervals.means(samples)

    assert 0.92 <= np.mean((low <= truth) & (truth <= high)) <= 0.98


def test_common_days_sharpen_a_difference():
    """Two settings on the same days differ by an interval several times narrower than on different days."""
    one, other = (RetryPolicy(max_retries=count, base_delay=2) for count in (4, 5))
    column = METRICS.index("success")
    same = [days_of(policy, range(200), 400)[:, column] for policy in (one, other)]
    apart = days_of(other, range(200, 400), 400)[:, column]

    paired, unpaired = np.var(same[0] - same[1]), np.var(same[0] - apart)

    assert unpaired > 4 * paired


def test_infinite_days_leave_the_median():
    """One day in which a percentile is infinite does not make the estimate so."""
    found = intervals.interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, math.inf])

    assert found.value == 4.0
    assert found.low == 1.0
    assert found.high == math.inf


def test_the_medians_order_statistics_have_their_level():
    """By full enumeration: the chance that the bounds miss the median is at most 5 %, and not far below."""
    for days in range(6, 60):
        low, high = intervals.ranks(days, 0.95)
        miss = 2 * sum(math.comb(days, k) for k in range(low + 1)) / 2**days
        closer = 2 * sum(math.comb(days, k) for k in range(low + 2)) / 2**days

        assert low + high == days - 1
        assert miss <= 0.05 < closer


def test_one_day_bounds_nothing():
    """A single replication has no spread to learn from."""
    assert intervals.interval([0.9]) == intervals.Interval(-math.inf, 0.9, math.inf)


def test_days_that_do_not_vary_have_a_point_for_an_interval():
    """No division by zero."""
    assert intervals.interval([1.0] * 20) == intervals.Interval(1.0, 1.0, 1.0)


def test_an_interval_stays_within_what_can_be():
    """A share lies between 0 and 1 and a wait is no less than 0, however few the days."""
    share = intervals.interval([1.0, 0.999, 0.9], reach=(0.0, 1.0))
    wait = intervals.interval([0.0, 0.1, 2.0], reach=(0.0, math.inf))
    free = intervals.interval([1.0, 0.999, 0.9])

    assert free.high > 1.0
    assert (share.high, share.low, share.value) == (1.0, free.low, free.value)
    assert wait.low == 0.0
