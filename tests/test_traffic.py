"""Arrivals."""

from dataclasses import replace

import pytest

from claude_lab.traffic import SHAPES, Traffic

TIMES = (3.0, 1.0, 2.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_seed_is_one_day_of_traffic(shape: str):
    """The same seed gives the same ordered times; another seed another day (but for a replay)."""
    traffic = Traffic(shape=shape, times=TIMES, requests=200)

    times = traffic.arrivals(1)

    assert times == sorted(times) == traffic.arrivals(1)
    assert len(times) == traffic.requests
    assert (times == traffic.arrivals(2)) == (shape == "replay")


@pytest.mark.parametrize("shape", ["steady", "bursty", "fanout"])
def test_the_rate_is_as_asked(shape: str):
    """Two thousand calls at 50 a minute take about forty minutes."""
    ends = [Traffic(shape=shape, rpm=50, requests=2000).arrivals(seed)[-1] / 60 for seed in range(20)]

    assert sum(ends) / len(ends) == pytest.approx(40, rel=0.03)


def test_a_fan_out_starts_together():
    """Forty agents begin within a twentieth of a second, and again a period later."""
    times = Traffic(shape="fanout", rpm=40, burst=40, requests=80).arrivals(0)

    assert max(times[:40]) < 0.05
    assert min(times[40:]) >= 60


def test_more_load_is_the_same_day_faster():
    """Twice the load halves every arrival, so that a difference is the load's alone."""
    traffic = Traffic(shape="bursty", requests=50)

    slow, fast = traffic.arrivals(3), replace(traffic, rpm=traffic.rpm).times_faster(2).arrivals(3)

    assert fast[-1] == pytest.approx(slow[-1] / 2, rel=0.02)


@pytest.mark.parametrize(("fields", "word"), [
    ({"shape": "tidal"}, "tidal"),
    ({"rpm": 0}, "rpm=0"),
    ({"rpm": float("nan")}, "rpm=nan"),
    ({"requests": 0}, "requests=0"),
    ({"shape": "replay"}, "needs times"),
    ({"window": -1}, "window=-1"),
    ({"rpm": "50"}, "rpm='50' is not a rate"),
    ({"requests": 1.5}, "requests=1.5 makes no day"),
    ({"requests": 10**9}, "requests=1000000000 makes no day of traffic; give a whole number from 1 to 1,000,000"),
    ({"burst": float("nan")}, "burst=nan makes no day"),
    ({"burst": 1.5}, "burst=1.5 makes no day"),
    ({"clients": True}, "clients=True makes no day"),
    ({"output_tokens": -1}, "output_tokens=-1 is not a number of tokens"),
    ({"rpm": 1e-9}, r"requests=400 at rpm=1e-09 last more than 10,000,000 s"),
    ({"times": 5}, "times=5 is no list of times"),
    ({"shape": "replay", "times": [0, "x"]}, "times has 'x', which is no time"),
    ({"shape": "replay", "times": [1.7e9]}, "give seconds since the first call"),
])  # fmt: skip
def test_what_makes_no_traffic_is_refused(fields, word: str):
    """One sentence at the door."""
    with pytest.raises(ValueError, match=word):
        Traffic(**fields)
