"""Limits: buckets refill all the time, refuse without charging, and tell when to come back."""

from __future__ import annotations

import itertools

import pytest

from claude_lab.limits import ANSWERS, Limits, Meter, headers
from claude_lab.refusals import RampLimited, RateLimited


def only(**options: object) -> Limits:
    """Limits with nothing but what is named."""
    return Limits(**({"requests": None, "input_tokens": None, "output_tokens": None} | options))  # type: ignore[arg-type]  # a mix


def test_a_bucket_holds_a_minute_and_refills_all_the_time() -> None:
    """Sixty a minute: sixty at once, then one a second."""
    meter = Meter(only(requests=60), 0.0)

    assert all(meter.take(0.0, 0, 0) is None for _ in range(60))
    assert meter.take(0.5, 0, 0) is not None
    assert meter.take(1.0, 0, 0) is None


def test_a_refusal_charges_nothing() -> None:
    """A request that one bucket refuses takes nothing from the others."""
    meter = Meter(only(requests=10, output_tokens=5), 0.0)
    meter.take(0.0, 0, 100)

    assert [level[1] for level in meter.levels(0.0)][::2] == [10, 5]


@pytest.mark.parametrize(
    ("kind", "sizes", "said"),
    [
        ("requests", (0, 0), "60 requests per minute"),
        ("input_tokens", (61, 0), "60 input tokens per minute"),
        ("output_tokens", (0, 61), "60 output tokens per minute"),
    ],
)
def test_the_message_names_the_limit(kind: str, sizes: tuple[int, int], said: str) -> None:
    """A 429 says which limit it was."""
    meter = Meter(only(**{kind: 60}), 0.0)
    refusals = [meter.take(0.0, *sizes) for _ in range(61)]

    assert isinstance(refusals[-1], RateLimited)
    assert said in refusals[-1].message


def test_each_answer_is_what_it_says() -> None:
    """The five policies of `retry-after`, for the second refusal of one request a minute, half a minute on."""
    told = {}
    for name in ANSWERS:
        meter = Meter(only(requests=1, retry_after=name), 0.0)
        meter.take(0.0, 0, 0)
        refused = [meter.take(30.5, 0, 0) for _ in range(2)][-1]
        assert refused is not None
        told[name] = refused.retry_after

    assert told == {"absent": None, "exact": 29.5, "seconds": 30, "reset": 30, "reservation": 89.5}


def test_reservations_queue_everybody_up() -> None:
    """With reservations a herd that obeys is served at the rate of the limit, without one more refusal."""
    meter = Meter(only(requests=60, burst=1 / 60, retry_after="reservation"), 0.0)
    first = [meter.take(0.0, 0, 0) for _ in range(20)]
    times = sorted(float(refusal.retry_after or 0) for refusal in first if refusal)

    assert len(times) == 19
    assert all(meter.take(1.001 * time, 0, 0) is None for time in times)
    assert all(later - earlier == pytest.approx(1.0) for earlier, later in itertools.pairwise(times))


def test_a_ramp_doubles_every_minute() -> None:
    """Traffic that begins at six a minute may be twelve a minute on, and is refused with its own code before."""
    meter = Meter(only(requests=600, ramp=6), 0.0)
    served = [sum(meter.take(second + minute * 60, 0, 0) is None for second in range(60)) for minute in range(3)]

    assert served[0] < served[1] < served[2]
    assert isinstance(Meter(only(ramp=1), 0.0).take(0.0, 0, 0) or RampLimited(), RampLimited)


def test_twelve_headers_tell_the_state() -> None:
    """Limit, remaining and reset of four kinds; tokens are the sum, times are in UTC."""
    told = headers(((50, 49.6, 0.5), (30_000, 29_000, 2.0), (8_000, 8_000, 0.0)), 0.0)

    assert len(told) == 12
    assert told["anthropic-ratelimit-requests-remaining"] == "49"
    assert told["anthropic-ratelimit-tokens-limit"] == "38000"
    assert told["anthropic-ratelimit-tokens-reset"] == "1970-01-01T00:00:02Z"
