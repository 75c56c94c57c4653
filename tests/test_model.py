"""The model, plain and compiled."""

import math

import numpy as np
import pytest
from cases import case

from claude_lab import faults, model
from claude_lab.engine import OUTCOMES
from claude_lab.metrics import METRICS
from claude_lab.retry import Budget, Pacer, RetryPolicy
from claude_lab.scenario import Limits, Outage, Scenario
from claude_lab.traffic import Traffic

INSTANT = "instant"


def outcomes(scenario: Scenario, policy: RetryPolicy) -> list[tuple[str, int, float]]:
    """Outcome, attempts and time of settling of each call, by the plain engine."""
    return [(row.outcome, row.attempts, row.settled) for row in model.day(scenario, policy, engine="plain").rows()]


def calls(*times: float, **fields) -> Traffic:
    """Calls at these times."""
    return Traffic(shape="replay", times=times, **fields)


@pytest.mark.parametrize("number", range(60))
def test_the_compiled_engine_equals_the_plain_one_bit_for_bit(number: int):
    """Every row and every count of a generated experiment is the same."""
    pytest.importorskip("numba")
    scenario, policy = case(number)

    plain, fast = (model.day(scenario, policy, seed=number, engine=name) for name in ("plain", "compiled"))

    assert plain.rows() == fast.rows()
    assert list(plain.causes) == fast.causes.tolist()
    assert list(plain.load) == fast.load.tolist()


def test_metrics_are_the_same_from_both_engines():
    """The summary is one source too."""
    pytest.importorskip("numba")
    scenario, policy = case(3)

    plain, fast = (model.batch(scenario, [policy], [1, 2], engine=name) for name in ("plain", "compiled"))

    np.testing.assert_array_equal(plain, fast)


def test_the_generated_experiments_reach_every_outcome():
    """Otherwise the comparisons above would prove less than they say."""
    seen = {row.outcome for n in range(60) for row in model.day(*case(n), seed=n, engine="plain").rows()}

    assert seen == set(OUTCOMES)


def test_an_outage_is_waited_out():
    """Waits of 1, 2, 4, 8 s from second 0 pass an outage of ten seconds at the fifth attempt, at 15 s."""
    scenario = Scenario(pace=INSTANT, outages=[Outage(0, 10)], traffic=calls(0.0))

    assert outcomes(scenario, RetryPolicy(max_retries=9, jitter="none")) == [("ok", 5, 15.0)]
    assert outcomes(scenario, RetryPolicy(max_retries=3, jitter="none")) == [("max_retries", 4, 7.0)]


def test_a_limit_lets_through_what_its_bucket_holds():
    """Two at once, then one a second; retry-after says when."""
    limits = Limits(60, None, None, burst=2 / 60, retry_after="exact")
    scenario = Scenario(pace=INSTANT, limits=limits, traffic=calls(0.0, 0.0, 0.0))

    assert outcomes(scenario, RetryPolicy(base_delay=0)) == [("ok", 1, 0.0), ("ok", 1, 0.0), ("ok", 2, 1.0)]


def test_final_and_broken_calls_are_not_retried():
    """A 403 and a cut in the middle of an answer settle a call at its first attempt."""
    script = [faults.Forbidden(), faults.Drop(after=1)]
    scenario = Scenario(script, pace=INSTANT, traffic=calls(0.0, 1.0, 2.0))

    assert outcomes(scenario, RetryPolicy()) == [("final", 1, 0.0), ("broken", 1, 1.0), ("ok", 1, 2.0)]


def test_budgets_and_pacers_belong_to_clients():
    """With a burst of one the second failure of the same client is final, the other client's is not."""
    scenario = Scenario(pace=INSTANT, outages=[Outage(0, 3)], traffic=calls(0.0, 0.0, 0.0, clients=2))
    policy = RetryPolicy(max_retries=1, base_delay=5, jitter="none", budget=Budget(burst=1))

    assert [each[0] for each in outcomes(scenario, policy)] == ["ok", "ok", "budget"]
    paced = policy.but(budget=None, pacer=Pacer(rate=0.2))
    assert [each[2] for each in outcomes(Scenario(pace=INSTANT, traffic=scenario.traffic), paced)] == [0.0, 0.0, 5.0]


def test_a_failure_counts_as_an_infinite_wait():
    """Dropping the slow ones cannot flatter a percentile."""
    scenario = Scenario([faults.Forbidden()], pace=INSTANT, traffic=calls(0.0, 1.0))

    metrics = dict(zip(METRICS, model.batch(scenario, [RetryPolicy()], [0], "plain")[0, 0], strict=True))

    assert metrics["success"] == 0.5
    assert metrics["p50_ttft"] == 0.0
    assert metrics["p95_ttft"] == math.inf
    assert metrics["attempts_per_success"] == 2


@pytest.mark.parametrize(("fields", "word"), [
    ({"faults": [faults.Overloaded(retry_after="Wed, 21 Oct 2026 07:28:00 GMT")]}, "not a date"),
    ({"faults": [faults.Hang()]}, "does not know the fault Hang"),
    ({"limits": Limits(ramp=5)}, "ramp=5"),
])  # fmt: skip
def test_what_the_model_does_not_know_is_said(fields, word: str):
    """No silent approximation."""
    with pytest.raises(ValueError, match=word):
        model.day(Scenario(traffic=calls(0.0), **fields), RetryPolicy())


def test_a_scenario_without_traffic_is_refused():
    """The sentence says how to get some."""
    with pytest.raises(ValueError, match="has no traffic"):
        model.day(Scenario(), RetryPolicy())


def test_a_day_tells_what_its_rows_tell():
    """Served, requests, the last settling and the longest call are those of the rows."""
    scenario = Scenario(pace=INSTANT, outages=[Outage(0, 10)], traffic=calls(0.0, 8.0))

    day = model.day(scenario, RetryPolicy(max_retries=2, jitter="none"), engine="plain")

    assert (day.served, day.requests, day.ended, day.longest) == (1, 6, 11.0, 3.0)
    assert [row.outcome for row in day.rows()] == ["max_retries", "ok"]
