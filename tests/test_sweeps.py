"""Sweeps, races and recommendations."""

import math
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from claude_lab import faults, grids, model, sweep_files
from claude_lab.limits import Limits
from claude_lab.metrics import METRICS
from claude_lab.model import traffic_of
from claude_lab.racing import Goal, Race
from claude_lab.recommendation import line_of
from claude_lab.retry import Budget, Pacer, RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.sweeps import Sweep, sweep

SMALL = Scenario.bursty(rpm=50, requests=60)


@pytest.fixture(scope="module")
def swept() -> Sweep:
    """A small sweep."""
    return sweep(SMALL, max_retries=range(5), base_delay=[0.5, 2.0, 5.0], jitter=["none", "full"], seeds=8)


def test_more_retries_and_longer_waits_serve_more_calls(swept: Sweep):
    """Success grows along both axes of the grid."""
    success = swept.grid("success", jitter="full")

    assert success.shape == (5, 3)
    assert (np.diff(success, axis=0) >= 0).all()
    assert success[4, 2] > success[4, 0] > success[0, 0]


def test_a_settings_place_is_its_point_of_the_grid(swept: Sweep):
    """Rows, intervals and frames all speak of the same setting."""
    place = swept.place({"max_retries": 3, "base_delay": 2.0, "jitter": "full"})
    frame = swept.to_pandas()

    policy = swept.policies[place]
    assert (policy.max_retries, policy.base_delay, policy.jitter) == (3, 2.0, "full")
    assert frame.loc[place, "success"] == swept.interval("success", max_retries=3, base_delay=2.0, jitter="full").value
    assert len(frame) == len(swept) == 30


def test_a_sweep_shows_its_best_settings(swept: Sweep):
    """A notebook shows a table with intervals, without a kernel."""
    shown = swept._repr_html_()

    assert "30 settings x 8 days of 60 calls" in shown
    assert shown.count("<tr>") == 6


def test_broken_answers_waste_what_was_sent_and_said():
    """Each costs its input and what it said before the break, in tokens and in dollars; no retry brings it back."""
    steady = Scenario.steady(rpm=60, load=0.5, requests=200).traffic
    grid = sweep(Scenario(odds={faults.Drop(after=20): 0.2}, traffic=steady), max_retries=[0, 2], seeds=5)

    broken = (1 - grid.estimate("success")[1]) * 200
    tokens = grid.estimate("wasted_tokens")[1]
    assert broken.min() > 20
    assert tokens == pytest.approx(broken * (steady.input_tokens + 20))
    assert grid.wasted(5.0) == pytest.approx(tokens * 5 / 1e6)


@pytest.mark.parametrize("make", [lambda: ThreadPoolExecutor(2), lambda: ProcessPoolExecutor(2, get_context("spawn"))])
def test_every_executor_gives_the_same_bits(make, swept: Sweep, monkeypatch: pytest.MonkeyPatch):
    """Threads, processes and none: the order in which batches come back changes nothing."""
    monkeypatch.setattr(grids, "BATCH", 1e-6)
    executor: Executor
    with make() as executor:
        again = sweep(
            SMALL,
            max_retries=range(5),
            base_delay=[0.5, 2.0, 5.0],
            jitter=["none", "full"],
            seeds=8,
            executor=executor,
            engine="plain",
        )

    np.testing.assert_array_equal(again.metrics, swept.metrics)


def test_an_interrupt_keeps_what_is_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Settings that were not reached are NaN, and the sweep says so."""
    monkeypatch.setattr(grids, "BATCH", 1e-6)
    batch, calls = model.batch, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return batch(*args)

    monkeypatch.setattr(model, "batch", interrupted)
    partial = sweep(SMALL, max_retries=range(4), base_delay=1.0, seeds=2, engine="plain")

    assert not partial.complete
    assert 0 < np.isnan(partial.metrics[:, 0, 0]).sum() < 4
    assert "interrupted" in repr(partial)
    assert "kept" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "word"), [
    ({"max_retries": []}, "axis max_retries is empty"),
    ({"seeds": 0}, "seeds=0 leaves no day"),
    ({"base_delay": [-1.0]}, "base_delay=-1.0 is not a delay"),
    ({"base_delay": [float("nan")]}, "base_delay=nan"),
    ({"jitter": "tidal"}, "jitter='tidal'"),
    ({"color": 3}, "'color' is not a field of RetryPolicy"),
    ({"patience": float("nan")}, "patience=nan"),
    ({"max_retries": range(1000), "base_delay": [x / 10 for x in range(1000)]}, "1,000,000 settings, more than"),
    ({"engine": "steam"}, "engine='steam'"),
    ({"base_delay": "5"}, "base_delay='5' is not a delay"),
    ({"base_delays": {"overloaded": "x"}}, r"base_delays\['overloaded'\]='x'"),
    ({"max_retries": float("nan")}, "max_retries=nan is not a count"),
    ({"max_retries": range(10**12)}, "settings, more than"),
    ({"seeds": "ab"}, "seeds='ab' is no number of days"),
    ({"seeds": 1.5}, "seeds=1.5 is no number of days"),
    ({"seeds": 10**12}, "give 1 to 100,000, or a list of seeds"),
    ({"seeds": [0, -1]}, "seeds has -1, which is not a seed"),
    ({"seeds": 100_000, "base_delay": [x / 10 for x in range(60)]}, "on 100,000 days are more than 5,000,000"),
    ({"patience": "x"}, "patience='x'"),
])  # fmt: skip
def test_a_grid_that_cannot_be_meant_is_refused_at_the_door(options, word: str):
    """One clear sentence, before anything runs."""
    with pytest.raises(ValueError, match=word):
        sweep(SMALL, **options)


@pytest.mark.parametrize(("scenario", "options", "word"), [
    ("bursty", {}, "scenario='bursty' is not a Scenario; use Scenario.bursty"),
    (SMALL, {"executor": 5}, "executor=5 is no Executor; use"),
    (SMALL, {"policy": 5}, "policy=5 is not a RetryPolicy; use"),
])  # fmt: skip
def test_what_is_of_another_kind_is_refused_at_the_door(scenario, options, word: str):
    """A name in place of a scenario, a number in place of an executor or a policy."""
    with pytest.raises(TypeError, match=word):
        sweep(scenario, **options)


def test_a_point_that_is_not_of_the_grid_is_no_other_settings(swept: Sweep):
    """A misspelled axis and a value that was not swept are named, whoever asks."""
    for ask in (
        lambda: swept.interval("success", max_retry=0),
        lambda: swept.grid("success", x="delay"),
        lambda: swept.heatmap("success", y="retries"),
        lambda: swept.grid("success", jiter="full"),
    ):
        with pytest.raises(ValueError, match=r"is no axis of this sweep; use some of max_retries, base_delay, jitter"):
            ask()
    with pytest.raises(ValueError, match=r"max_retries=99 was not swept; use one of \["):
        swept.interval("success", max_retries=99)


@pytest.mark.parametrize("goal", [
    {"success": "x"},
    {"success": None},
    {"p95_ttft": "x"},
    {"p95_ttft": math.nan},
])  # fmt: skip
def test_a_goal_that_is_no_number_is_refused(swept: Sweep, goal):
    """By `recommend` too, before any day is played."""
    with pytest.raises(ValueError, match=r"give (a number|seconds) above 0"):
        swept.recommend(**goal)


@pytest.mark.parametrize("goal", [{"success": 1.5}, {"success": 0}, {"success": float("nan")}, {"p95_ttft": 0}])
def test_an_impossible_goal_is_refused(goal):
    """A share is above 0 and at most 1; a wait is positive."""
    with pytest.raises(ValueError, match=r"use|give"):
        Goal(**goal)


def test_a_long_sweep_says_how_long_it_will_take(capsys: pytest.CaptureFixture[str]):
    """The estimate comes before the work."""
    grids.announce(125.0, 1560, 20)

    assert capsys.readouterr().err == "1,560 settings on 20 days: about 125 s.\n"


def test_the_estimate_of_a_long_day_is_made_on_a_short_one():
    """It is said before the work, whatever the day: a measured part of it, times how many there are."""
    whole = Scenario.bursty(requests=grids.SAMPLE * 400)

    short, times = grids.sampled(whole)

    assert traffic_of(short).requests == grids.SAMPLE
    assert times == 400
    assert grids.sampled(SMALL) == (SMALL, 1.0)
    again, times = grids.sampled(Scenario.replay([float(at) for at in range(2 * grids.SAMPLE)]))
    assert (len(traffic_of(again).times), times) == (grids.SAMPLE, 2.0)


def test_days_that_no_memory_holds_are_refused():
    """Every setting meets the same days, so that they are kept; and each of their results."""
    with pytest.raises(ValueError, match="30 days of 1,000,000 calls are more than 20,000,000"):
        sweep(Scenario.bursty(requests=1_000_000), seeds=30)
    with pytest.raises(ValueError, match="48 settings on 200,000 days are more than 5,000,000 together"):
        grids.checked(SMALL, [RetryPolicy()] * 48, range(200_000))


def test_batches_hold_enough_work():
    """Small settings go out many at a time; every setting goes out once."""
    parts = grids.batches(1560, 0.005, 2)

    assert all((part.stop - part.start) * 0.005 >= grids.BATCH for part in parts[:-1])
    assert [place for part in parts for place in range(part.start, part.stop)] == list(range(1560))


@pytest.fixture(scope="module")
def advised():
    """A recommendation that exists, verified on the SDK."""
    grid = sweep(Scenario.steady(rpm=50, load=0.6, requests=80), max_retries=range(8), base_delay=[1.0, 5.0], seeds=3)
    return grid.recommend(success=0.99, p95_ttft=45)


def test_the_recommendation_meets_its_goal_on_fresh_days(advised):
    """Lower bounds meet the goal on days that took no part in the choice, and the real SDK agrees row by row."""
    best = advised.winner

    assert best.success.low >= 0.99
    assert best.in_time.low >= 0.95
    assert advised.verification
    assert "80 calls" in str(advised.verification)


def test_nothing_cheaper_surely_meets_the_goal(advised):
    """Every candidate of the race that is surely good and surely cheaper would have won."""
    best = advised.winner
    sure = [each for each in advised.candidates if advised.goal.met(each.success, each.in_time)]

    assert all(each.cost.high >= best.cost.low for each in sure)
    assert all(each in sure for each in advised.runner_ups)


def test_the_env_lines_say_where_they_come_from(advised):
    """The file is read by the server's settings; its comments name scenario, days and interval."""
    env = advised.to_env()

    assert f"MAX_RETRIES={advised.policy.max_retries}\n" in env
    assert f"scenario {advised.hash}" in env
    assert "MAX_RETRIES excludes the first attempt." in env
    assert "95 % intervals" in env
    assert max(map(len, (*env.splitlines(), *advised.why.splitlines()))) <= 88


def test_the_recommendation_explains_itself(advised):
    """One paragraph: against what, how sure, how robust, how verified."""
    assert "is the cheapest that meets" in " ".join(advised.why.split())
    assert "fresh days" in " ".join(advised.why.split())
    assert "more load" in advised.why or "limits" in advised.why


def test_the_recommendations_figure_shows_what_it_says(advised):
    """The star stands at the winner's values; the title says "cheapest" where nothing that meets it is left of it."""
    axes = advised.figure().axes[0]
    star, met = (
        next(line for line in axes.lines if line.get_label() == label) for label in ("chosen", "meets the goal")
    )

    assert list(star.get_xdata()) == [advised.winner.cost.value]
    assert f"{advised.winner.cost.value:.4g}" in advised.why
    assert ("is the cheapest" in axes.get_title()) == (min(met.get_xdata()) >= star.get_xdata()[0])
    assert len(met.get_xdata()) == sum(advised.meeting) >= 1


def test_no_setting_is_an_answer_too():
    """Above capacity no setting helps: the answer says what would, and measures pacing."""
    overload = Scenario.steady(rpm=50, load=1.44, requests=100)

    answer = sweep(overload, max_retries=[0, 4], base_delay=1.0, seeds=3).recommend(success=0.99, p95_ttft=45)

    assert "you need capacity or pacing" in " ".join(answer.why.split())
    assert "144%" in answer.why
    assert "paced at" in " ".join(answer.why.split())
    with pytest.raises(LookupError, match="capacity"):
        answer.to_env()
    assert answer.figure().axes[0].get_title() == "None of 2 settings is sure to meet the goal"


def test_a_race_stops_settings_that_cannot_win():
    """Settings without a chance are not run on all days."""
    race = Race(SMALL, Goal(), None, "auto")

    left = race.run([RetryPolicy(max_retries=0), RetryPolicy(max_retries=8, base_delay=5)])

    assert [each.policy.max_retries for each in left] == [8]


def test_the_policies_that_the_lab_teaches_rank_as_taught():
    """After an outage no jitter makes waves; under overload retries add attempts, not success; pacing avoids both."""
    herd = Scenario.herd()
    patient = {"max_retries": 12, "max_delay": 60.0, "honor_retry_after": False}
    lockstep, fog = ({**dict(zip(METRICS, model.batch(herd, [RetryPolicy(jitter=jitter, **patient)], range(5), "auto")
                     .mean(axis=(0, 1)), strict=True))} for jitter in ("none", "full"))  # fmt: skip
    assert fog["success"] > 1.2 * lockstep["success"]
    assert fog["recovery"] < lockstep["recovery"] / 3

    overload = Scenario.steady(rpm=50, load=1.44)
    none, article, paced = model.batch(
        overload,
        [RetryPolicy(max_retries=0), RetryPolicy.article(3, 1.0), RetryPolicy(pacer=Pacer(rate=0.95 * 50 / 60))],
        range(5),
        "auto",
    ).mean(axis=1)
    assert abs(none[0] - article[0]) < 0.05
    assert article[4] > 1.7 * none[4]
    assert paced[4] < 1.1
    assert paced[0] == 1.0


def test_the_servers_wait_without_jitter_gathers_a_herd():
    """Obeying one retry-after to the letter brings everybody back at once; jitter on top spreads them."""
    base = Scenario.herd(clients=100, rpm=300, outage=1)
    limits = Limits(300, None, None, burst=5 / 300, retry_after="reset")
    scenario = replace(base, limits=limits, outages=())

    obedient, spread = model.batch(
        scenario, [RetryPolicy.sdk(8), RetryPolicy(max_retries=8, base_delay=10)], range(5), "auto"
    ).mean(axis=1)

    assert obedient[0] < 0.7 * spread[0]


def test_an_experiment_is_read_from_a_file(tmp_path: Path):
    """The documented example runs, and recommends when it has a goal."""
    file = tmp_path / "experiment.toml"
    file.write_text(
        '[scenario]\nshape = "steady"\nrpm = 50\nload = 0.5\nrequests = 50\n'
        "[grid]\nmax_retries = [0, 2]\nbase_delay = 2.0\nseeds = 3\n[goal]\nsuccess = 0.9\np95_ttft = 60\n"
    )

    swept, answer = sweep_files.read(file).run(progress=False)

    assert len(swept) == 2
    assert "0.9 success" in " ".join(answer.why.split())


@pytest.mark.parametrize(("text", "word"), [
    ("[grid", "not an experiment"),
    ("[scenery]\n", "'scenery' is unknown"),
    ('[scenario]\nshape = "tidal"\n', "'tidal' is unknown"),
    ("[goal]\nsuccess = 2\n", "success=2"),
    ("[scenario]\ncolour = 1\n", r"'colour' means nothing in \[scenario\]; use some of rpm, load"),
    ('[scenario]\nshape = "herd"\nload = 1\n', r"'load' means nothing in \[scenario\]; use some of clients"),
    ('[scenario]\nshape = "fanout"\nburst = 5\n', "'burst' means nothing"),
    ('[scenario]\nshape = ["herd"]\n', "is unknown; use one of"),
    ('[scenario]\nshape = "replay"\n', "a replay needs times; give"),
    ("[scenario]\nrpm = 0\n", "rpm=0 is not a rate"),
    ("[scenario]\nburst = nan\n", "burst=nan makes no day"),
    ("[scenario]\nrequests = 1.5\n", "requests=1.5 makes no day"),
    ("[scenario.limits]\nrpm = 5\n", r"'rpm' means nothing in \[scenario.limits\]; use some of requests"),
    ("scenario = 5\n", r"\[scenario\] must be a table, not 5"),
    ("[scenario]\noutages = 5\n", "outages = 5 is no list"),
    ("[[scenario.outages]]\nstart = 5\n", "has no end or no beginning; give start and stop"),
    ("[[scenario.outages]]\nstart = 5\nstop = 'x'\n", "An outage from 5 to 'x' is none"),
    ("[grid]\nexecutor = 5\n", r"'executor' means nothing in \[grid\]; use some of seeds, patience, max_retries"),
    ("[grid]\nbudget = 5\n", r"\[grid.budget\] must be a table, not 5"),
    ("[grid]\nbudget = {ratio = 'x'}\n", "A budget of ratio='x'"),
    ("[grid]\npacer = {speed = 1}\n", r"'speed' means nothing in \[grid.pacer\]; use some of rate, burst"),
    ("[grid]\npacer = {burst = 2}\n", r"\[grid.pacer\] has no 'rate'; give it a value"),
    ("[goal]\nspeed = 2\n", r"'speed' means nothing in \[goal\]; use some of success, p95_ttft"),
])  # fmt: skip
def test_a_file_that_cannot_be_meant_says_why(tmp_path: Path, text: str, word: str):
    """The sentence names the file and the trouble."""
    file = tmp_path / "experiment.toml"
    file.write_text(text)

    with pytest.raises(ValueError, match=word):
        sweep_files.read(file)


def test_a_file_may_sweep_a_budget_and_a_pacer(tmp_path: Path):
    """Each is a table, several are a list of tables."""
    file = tmp_path / "experiment.toml"
    file.write_text("[grid]\nbudget = [{ratio = 0.1}, {ratio = 0.5, burst = 3}]\npacer = {rate = 1.5}\n")

    grid = sweep_files.read(file).grid

    assert grid == {"budget": [Budget(ratio=0.1), Budget(ratio=0.5, burst=3)], "pacer": [Pacer(rate=1.5)]}


def test_pictures_are_drawn_from_the_same_arrays(swept: Sweep):
    """Heat map with its contour, and the front."""
    assert swept.heatmap("success", goal=0.95, jitter="full").axes[0].get_xlabel() == "base_delay"
    assert swept.pareto().axes[0].get_ylabel().startswith("p95")
    assert math.isfinite(swept.estimate("success")[1][0])


def test_a_recommended_field_is_a_line_that_the_server_reads_or_says_that_it_is_none() -> None:
    """What only code can set stands in a comment."""
    assert line_of("deadline", 90.0) == "RETRY_DEADLINE=90.0"
    assert line_of("max_retry_after", 60.0) == "MAX_RETRY_AFTER=60.0"
    assert line_of("deadline", None) == "# in code only: deadline=None"
    assert line_of("honor_retry_after", False) == "# in code only: honor_retry_after=False"
