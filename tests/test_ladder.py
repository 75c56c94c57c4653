"""The fidelity ladder: one experiment, the same rows on every rung."""

import math

import pytest
from cases import case

from claude_lab import faults, ladder
from claude_lab.model import Row
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.traffic import Traffic

CASES = 56


@pytest.mark.parametrize("layer", ["coroutine", "sdk"])
def test_fifty_generated_experiments_agree_with_the_model(layer: str):
    """Outcome and attempts are equal and times within a nanosecond, call by call, over every rule of the model."""
    for number in range(CASES):
        scenario, policy = case(number, requests=30)

        assert str(ladder.verify(scenario, policy, layer=layer, seed=number)).startswith("All 30 calls")


@pytest.mark.parametrize("layer", ["asgi", "uds"])
def test_the_whole_fake_agrees_with_the_model(layer: str):
    """The fake's app, in memory and behind uvicorn on a UNIX socket, gives the same rows to the real SDK."""
    for number in range(10):
        scenario, policy = case(number, requests=12)

        assert str(ladder.verify(scenario, policy, layer=layer, seed=number)).startswith("All 12 calls")


@pytest.mark.parametrize("layer", ["coroutine", "sdk", "asgi"])
def test_a_millisecond_is_found_at_its_attempt(layer: str):
    """One wait of one rung is 1 ms longer (the base for its kind of failure is): the attempt after it is named."""
    script = [faults.ok] * 7 + [faults.Overloaded()]
    scenario = Scenario(script, pace="instant", traffic=Traffic(shape="steady", rpm=60, requests=20))
    policy = RetryPolicy(max_retries=6, jitter="none")

    rows = ladder.rows("model", scenario, policy)
    late = ladder.rows(layer, scenario, policy.but(base_delays={"overloaded": 1.001}))
    found = ladder.compare(("model", layer), rows, late)

    assert found.differing == 1
    assert "first call 7 " in str(found)
    assert "attempt 2:" in str(found)


def test_in_real_time_the_rows_agree_where_no_limit_binds():
    """A second over TCP: the same outcomes and attempts, times to within the machine's noise."""
    traffic = Traffic(shape="steady", rpm=3000, requests=40, output_tokens=12, input_tokens=30)
    scenario = Scenario(pace="instant", odds={faults.Overloaded(): 0.1}, traffic=traffic)
    policy = RetryPolicy(base_delay=0.02)

    real, model = (ladder.rows(layer, scenario, policy) for layer in ("wall", "model"))

    agreeing = [(a.outcome, a.attempts) == (b.outcome, b.attempts) for a, b in zip(real, model, strict=True)]
    assert sum(agreeing) / len(agreeing) >= 0.9


def test_a_difference_in_the_outcome_is_said():
    """When every attempt is at its time, the outcomes are compared."""
    one = Row(0, 1.0, "ok", 1, 2.0, 2.0, (1.0,))
    other = Row(0, 1.0, "final", 1, math.inf, 1.0, (1.0,))

    said = str(ladder.compare(("model", "sdk"), [one], [other]))

    assert said.startswith("1 of 1 calls differ between 'model' and 'sdk'; first call 0")
    assert "ok after 1" in said
    assert "final after 1" in said


def test_an_unknown_layer_is_refused():
    """The sentence lists the rungs."""
    with pytest.raises(ValueError, match="layer='moon' is unknown; use one of model, coroutine"):
        ladder.rows("moon", Scenario.bursty(), RetryPolicy())
