"""Scenarios and the world: pure decisions, in the order that requests arrive."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_lab import faults, presets, tokens
from claude_lab.limits import Limits
from claude_lab.pacing import PROFILES, Pace
from claude_lab.replies import Voice
from claude_lab.scenario import Outage, Request, Scenario

NAMED = {"anthropic-ratelimit-requests-limit": "50"}
BODY = {"model": "claude-opus-4-6", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


def statuses(scenario: Scenario, *times: float) -> list[int]:
    """The status of a request at each time."""
    world = scenario.world()
    return [world.admit(time, Request(call=str(index))).status for index, time in enumerate(times)]


def test_a_script_is_used_up_in_the_order_of_arrival() -> None:
    """The first requests get the scripted faults, `ok` among them, and the rest are answered."""
    script = [faults.RateLimited(), faults.ok, faults.Overloaded()]

    assert statuses(Scenario(faults=script), 0, 1, 2, 3) == [429, 200, 529, 200]


def test_an_outage_has_a_beginning_and_an_end() -> None:
    """Between its times everybody is refused; times count from the first request."""
    scenario = Scenario(outages=[Outage(1, 3, faults.Unavailable())])

    assert statuses(scenario, 100, 101, 102.9, 103) == [200, 503, 503, 200]


def test_odds_are_kept_in_the_long_run() -> None:
    """Over 4,000 calls a fault with odds of one in four comes about a thousand times."""
    world = Scenario(odds={faults.Overloaded(): 0.25}).world()
    met = sum(world.admit(0, Request(call=str(index))).status == 529 for index in range(4_000))

    assert 900 < met < 1_100


def test_a_call_meets_the_same_fate_in_any_order() -> None:
    """What a named call draws does not depend on who came before it."""
    scenario = Scenario(odds={faults.Overloaded(): 0.5}, pace="jittery")
    names = [str(index) for index in range(200)]

    def fates(order: list[str]) -> dict[str, Any]:
        world = scenario.world()
        return {name: world.admit(0, Request(call=name)) for name in order}

    assert fates(names) == fates(names[::-1])


def test_attempts_of_a_call_draw_anew() -> None:
    """The second attempt of a call has other numbers than the first."""
    world = Scenario(pace="jittery").world()
    first, second = (world.admit(0, Request(call="a", attempt=attempt)) for attempt in (1, 2))

    assert first.ttft != second.ttft
    assert first.request_id != second.request_id


def test_seeds_differ() -> None:
    """Another seed is another world."""
    drawn = {Scenario(seed=seed, pace="jittery").world().admit(0, Request(call="a")).ttft for seed in range(20)}

    assert len(drawn) == 20


def test_limits_refuse_with_a_time_to_come_back() -> None:
    """The third of two requests a minute is a 429 whose `retry_after` is half a minute."""
    world = Scenario(limits=Limits(requests=2, input_tokens=None, output_tokens=None)).world()
    decided = [world.admit(0.0, Request(call=str(index))) for index in range(3)]

    assert [each.status for each in decided] == [200, 200, 429]
    assert decided[2].refusal is not None
    assert decided[2].refusal.retry_after == 30


def test_a_refused_request_uses_no_limit() -> None:
    """A scripted refusal takes nothing from the buckets."""
    limits = Limits(requests=1, input_tokens=None, output_tokens=None)

    assert statuses(Scenario(faults=[faults.Overloaded()], limits=limits), 0, 0, 0) == [529, 200, 429]


def test_bodies_get_replies_and_experiments_get_none() -> None:
    """With a body there is a reply, without one only its times."""
    with_body, without = (Scenario().world().admit(0, Request(body=each)) for each in (BODY, {}))

    assert with_body.reply is not None
    assert without.reply is None
    assert len(without.gaps(7)) == 7


@pytest.mark.parametrize("name", presets.NAMED)
def test_named_scenarios_survive_json(name: str) -> None:
    """Each named scenario, written as JSON and read back, is the same."""
    scenario = presets.named(name)

    assert presets.read(json.dumps(presets.write(scenario))) == scenario


def test_faults_survive_json() -> None:
    """Every fault, written as JSON and read back, is the same."""
    kinds = [kind() for name, kind in faults.KINDS.items() if name != "Refusal"]
    made = Scenario(faults=[*kinds, faults.Raw(chunks=(b"a", b"b"), end="rst"), faults.Drop(after=9)])

    assert presets.read(json.dumps(presets.write(made))) == made


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Scenario(pace="sluggish"), "There is no pace 'sluggish'"),
        (lambda: Scenario(odds={faults.Overloaded(): 2}), "give a probability between 0 and 1"),
        (lambda: Scenario(odds={faults.Overloaded(): 0.6, faults.Drop(): 0.6}), "may reach 1"),
        (lambda: Scenario(odds={faults.Overloaded(): "x"}), "are 'x'; give a probability"),
        (lambda: Scenario(seed=math.nan), "seed=nan is not a seed; give a whole number"),
        (lambda: Scenario(seed=1.5), "seed=1.5 is not a seed"),
        (lambda: Scenario(pace=[1]), "There is no pace [1]"),
        (lambda: Outage(0, "x"), "An outage from 0 to 'x' is none"),
        (lambda: Outage(math.nan, 5), "An outage from nan to 5 is none"),
        (lambda: Pace(ttft="1"), "ttft='1' is not a length of time"),
        (lambda: Pace(burst=True), "burst=True must be 1 or more"),
        (lambda: Limits(requests="50"), "requests='50' is not a limit"),
        (lambda: Scenario.bursty(rpm=0), "rpm=0 is not a rate; give calls a minute, above 0"),
        (lambda: Scenario.herd(rpm=0), "rpm=0 is not a rate"),
        (lambda: Scenario.bursty(load=math.nan), "load=nan is no factor"),
        (lambda: Scenario.bursty(depth=0), "depth=0 is no factor"),
        (lambda: Scenario.from_headers(NAMED, load="x"), "load='x' is no factor"),
        (lambda: Scenario.from_headers({**NAMED, "anthropic-ratelimit-requests-limit": "x"}), "says 'x', which is no"),
        (lambda: Outage(5, 5), "An outage from 5 to 5 is none"),
        (lambda: Limits(requests=0), "requests=0 is not a limit"),
        (lambda: Limits(retry_after="soon"), "retry_after='soon' is not known"),
        (lambda: Pace(ttft=-1), "ttft=-1 is not a length of time"),
        (lambda: Pace(burst=0), "burst=0 must be 1 or more"),
        (lambda: Voice(overlap=-1), "overlap=-1"),
        (lambda: Voice(stop_reason="bored"), "stop_reason='bored' is not known"),
        (lambda: presets.read("[1]"), "A scenario is a name or an object"),
        (lambda: presets.read('{"speed": 1}'), "A scenario has no field 'speed'"),
    ],
)
def test_impossible_plans_are_refused_at_the_door(make: Any, said: str) -> None:
    """A plan that cannot be raises one sentence that names the value."""
    with pytest.raises(ValueError) as raised:
        make()

    assert said in str(raised.value)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(sorted(faults.KINDS)),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["kind", "after", "seconds", "ttft", "fault", "requests", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(presets.READ)), JSON_VALUES, max_size=3))
def test_any_json_is_a_scenario_or_one_sentence(value: dict[str, Any]) -> None:
    """Whatever is put as a scenario is taken, or refused with a ValueError that says why."""
    with contextlib.suppress(ValueError):
        presets.read(json.dumps(value)).world().admit(0.0, Request(body=BODY))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Scenario(limits=5), "limits=5 cannot be meant; use Limits"),
        (lambda: Scenario(voice=5), "voice=5 cannot be meant"),
        (lambda: Scenario(traffic="x"), "traffic='x' cannot be meant"),
        (lambda: Scenario(odds=[1]), "cannot be meant; use {faults.Overloaded(): 0.1}"),
        (lambda: Scenario(faults=5), "5 is not a fault"),
        (lambda: Scenario(outages=[5]), "5 is not an outage; use values such as Outage(start=60, stop=120)"),
        (lambda: Outage(1, 2, fault="x"), "'x' is not a fault"),
        (lambda: Scenario.bursty(foo=1), "'foo' means nothing in traffic; use some of load, depth"),
        (lambda: Scenario.from_trace(5), "5 is neither a run nor a trace"),
    ],
)
def test_what_is_of_another_kind_is_refused_at_the_door(make: Any, said: str) -> None:
    """Nothing is kept to fail later, inside of an engine or a fake."""
    with pytest.raises(TypeError) as raised:
        make()

    assert said in str(raised.value)


def test_a_single_fault_is_a_script_of_one() -> None:
    """The brackets may be left out; the same goes for an outage."""
    assert Scenario(faults=faults.Overloaded()).faults == (faults.Overloaded(),)  # type: ignore[arg-type]  # the claim
    assert Scenario(outages=Outage(1, 2)).outages == (Outage(1, 2),)  # type: ignore[arg-type]  # the claim


def test_what_is_no_fault_is_refused() -> None:
    """A class in place of a value is a likely slip, and is named."""
    with pytest.raises(TypeError, match="is not a fault; use values such as"):
        Scenario(faults=[faults.Overloaded])  # type: ignore[list-item]  # that is the slip


def test_profiles_have_their_shape() -> None:
    """Medians are what the profile says, bursts come together, and the instant one waits for nothing."""
    uniform = [(index + 0.5) / 1_001 for index in range(1_001)]
    lively = sorted(PROFILES["lively"].gaps(1_001, lambda index: uniform[index]))
    bursty = PROFILES["bursty"].gaps(120, lambda index: uniform[index])

    assert lively[500] == pytest.approx(PROFILES["lively"].gap, rel=0.01)
    assert sum(gap > 0 for gap in bursty) == 10
    assert PROFILES["instant"].gaps(3, lambda index: 0.5) == [0.0, 0.0, 0.0]


def test_a_longer_prompt_waits_longer() -> None:
    """Prefill adds its seconds per thousand tokens that no cache remembers."""
    pace = Pace(ttft=1, ttft_spread=0, prefill=0.5)

    assert pace.first(0.5, 4_000) - pace.first(0.5, 0) == pytest.approx(2.0)


def test_what_the_cache_remembers_is_not_waited_for() -> None:
    """The second request with a long marked prefix has its first delta sooner, and is not charged for what it read."""
    marked = {"type": "text", "text": "A long manual. " * 2_000, "cache_control": {"type": "ephemeral"}}
    body = {**BODY, "system": [marked]}
    limits = Limits(requests=None, input_tokens=20_000, output_tokens=None)
    world = Scenario(pace=Pace(ttft=1, ttft_spread=0, prefill=0.5), limits=limits).world()
    size = tokens.count_request(body)
    first, second = (world.admit(0.0, Request(model="claude-opus-4-6", input_tokens=size, body=body)) for _ in "ab")

    assert first.ttft - second.ttft > 2
    assert first.levels is not None
    assert second.levels is not None
    assert first.levels[1][1] - second.levels[1][1] < 50
