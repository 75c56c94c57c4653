"""The formula of a wait."""

import random
from statistics import fmean

import pytest

from claude_lab.jitter import JITTERS, above, draw

BOUNDS = {"none": (8, 8), "full": (0, 8), "equal": (4, 8), "sdk": (6, 8), "decorrelated": (1, 12)}


@pytest.mark.parametrize("jitter", JITTERS)
def test_each_jitter_draws_between_its_bounds(jitter: str):
    """After three waits with base 1 the ceiling is 8 s; decorrelated spreads from the base to three times the last."""
    rand = random.Random(0)

    waits = [sum(draw(JITTERS.index(jitter), 1.0, 60.0, 3, 4.0, rand.random())) for _ in range(5000)]

    low, high = BOUNDS[jitter]
    assert low <= min(waits) <= max(waits) <= high
    assert fmean(waits) == pytest.approx((low + high) / 2, rel=0.02)


@pytest.mark.parametrize("jitter", range(len(JITTERS)))
def test_the_cap_holds_however_many_retries(jitter: int):
    """No wait passes the cap, and no doubling overflows."""
    assert all(sum(draw(jitter, 1.0, 60.0, retries, 60.0, 0.999)) <= 60.0 for retries in (0, 6, 62, 10_000))


def test_the_servers_wait_is_a_floor_with_the_drawn_part_on_top():
    """With retry-after 30 everybody waits at least 30 s, and not everybody the same."""
    assert above(JITTERS.index("full"), 30.0, 0.0, 2.5) == 32.5
    assert above(JITTERS.index("none"), 30.0, 8.0, 0.0) == 30.0
    assert above(JITTERS.index("none"), 3.0, 8.0, 0.0) == 8.0


def test_the_sdks_jitter_obeys_the_server_to_the_letter():
    """With "sdk" the floor is the wait: no jitter, everybody at one instant."""
    assert above(JITTERS.index("sdk"), 30.0, 6.0, 1.0) == 30.0
    assert above(JITTERS.index("sdk"), 0.0, 6.0, 1.0) == 7.0
