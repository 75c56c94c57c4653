"""Plans from one's own service."""

import math
import statistics
from pathlib import Path

import httpx2
import pytest

from claude_lab import chance, model
from claude_lab.limits import headers
from claude_lab.pacing import Pace
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.trace import Trace


def test_limits_are_read_from_a_responses_headers():
    """What the fake says of its limits is what the estimate finds."""
    told = headers(((50, 49, 1.0), (30_000, 30_000, 0.0), (8_000, 8_000, 0.0)), 0.0)

    scenario = Scenario.from_headers(httpx2.Response(200, headers=told))

    found = scenario.limits
    assert (found.requests, found.input_tokens, found.output_tokens) == (50, 30_000, 8_000)
    assert scenario.traffic.rpm == 37.5
    assert any("minute's worth" in said for said in scenario.assumed)


def test_a_missing_limit_is_stated():
    """An account may be told of requests alone; none at all is an error that says what to do."""
    scenario = Scenario.from_headers({"Anthropic-RateLimit-Requests-Limit": "60"})

    assert scenario.limits.input_tokens is None
    assert "no limit on input-tokens, as no header names one" in scenario.assumed
    with pytest.raises(ValueError, match="give limits=Limits"):
        Scenario.from_headers({"content-type": "text/plain"})
    with pytest.raises(TypeError, match="has no headers"):
        Scenario.from_headers(7)


def test_a_pace_is_found_again_from_its_own_waits():
    """Median and spread of a thousand drawn waits are those they were drawn from."""
    pace = Pace(0.8, 0.05, 0.4, 0.3)
    traces = []
    for number in range(300):
        trace = Trace(started=float(number))
        at = pace.first(chance.u(1, number, 0, 0))
        for index in range(4):
            trace.add("delta", "x", at=at)
            at += pace.gaps(1, lambda i, n=number, j=index: chance.u(2, n, j, i))[0]
        traces.append(trace)

    found = Scenario.from_trace(traces).pace

    assert found.ttft == pytest.approx(0.8, rel=0.1)
    assert found.ttft_spread == pytest.approx(0.4, rel=0.15)
    assert found.gap == pytest.approx(0.05, rel=0.1)


def test_a_log_becomes_a_day_of_traffic(tmp_path: Path):
    """Times, sizes and error rates are the log's; the model can play it at once."""
    log = tmp_path / "calls.jsonl"
    lines = [f'{{"at": {100 + 2 * n}, "status": {529 if n % 10 == 0 else 200}, "ttft": 0.5}}' for n in range(50)]
    log.write_text("\n".join(reversed(lines)))

    scenario = Scenario.from_log(log)

    assert scenario.traffic.arrivals(0)[:3] == [0, 2, 4]
    assert list(scenario.odds.values()) == [0.1]
    assert statistics.fmean(row.attempts for row in model.day(scenario, RetryPolicy()).rows()) >= 1
    assert any("independent" in said for said in scenario.assumed)


def test_a_csv_with_dates_is_read_too(tmp_path: Path):
    """ISO dates count from the first."""
    log = tmp_path / "calls.csv"
    log.write_text("at,input_tokens\n2026-11-23T10:00:00,10\n2026-11-23T10:01:00,30\n")

    scenario = Scenario.from_log(log)

    assert scenario.traffic.times == (0.0, 60.0)
    assert scenario.traffic.input_tokens == 20


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("at\nsoon\n", "Call 1 of calls.csv is not a call: {'at': 'soon'}; give `at` in seconds"),
        ("status\n200\n", "Call 1 of"),
        ("at,status\n1,inf\n", "Call 1 of"),
        ("at\n1\nnan\n", "Call 2 of"),
        ("at,ttft\n1,-1\n", "Call 1 of"),
        ("", "no calls"),
    ],
)
def test_a_log_that_cannot_be_read_says_where(tmp_path: Path, text: str, word: str):
    """The sentence names the line."""
    log = tmp_path / "calls.csv"
    log.write_text(text)

    with pytest.raises(ValueError, match=word):
        Scenario.from_log(log)


@pytest.mark.parametrize("text", ['{"at": 1}\n5\n', '{"at": 1}\n{"at"\n', '{"at": 1}\n{"at": [1]}\n'])
def test_a_line_of_json_that_is_no_call_is_named(tmp_path: Path, text: str):
    """Whatever stands there instead."""
    log = tmp_path / "calls.jsonl"
    log.write_text(text)

    with pytest.raises(ValueError, match=r"Call 2 of calls.jsonl is not a call: .*; give `at`"):
        Scenario.from_log(log)


def test_a_single_run_is_enough_and_says_so():
    """One trace gives its own wait, without a spread."""
    trace = Trace(started=5.0)
    trace.add("delta", "x", at=0.7)

    scenario = Scenario.from_trace([trace])

    assert math.isclose(scenario.pace.ttft, 0.7)
    assert "one run says nothing of arrivals" in scenario.assumed
