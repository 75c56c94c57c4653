"""Sweeps, races and recommendations."""

import math
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from claude_lab import grids, model, sweep_files
from claude_lab.limits import Limits
from claude_lab.metrics import METRICS
from claude_lab.racing import Goal, Race
from claude_lab.recommendation import line_of
from claude_lab.retry import Pacer, RetryPolicy
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
])  # fmt: skip
def test_a_grid_that_cannot_be_meant_is_refused_at_the_door(options, word: str):
    """One clear sentence, before anything runs."""
    with pytest.raises(ValueError, match=word):
        sweep(SMALL, **options)


@pytest.mark.parametrize("goal", [{"success": 1.5}, {"success": 0}, {"success": float("nan")}, {"p95_ttft": 0}])
def test_an_impossible_goal_is_refused(goal):
    """A share is above 0 and at most 1; a wait is positive."""
    with pytest.raises(ValueError, match=r"use|give"):
        Goal(**goal)


def test_a_long_sweep_says_how_long_it_will_take(capsys: pytest.CaptureFixture[str]):
    """The estimate comes before the work."""
    grids.announce(125.0, 1560, 20)

    assert capsys.readouterr().err == "1,560 settings on 20 days: about 125 s.\n"


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
    ("[scenario]\ncolour = 1\n", "colour"),
])  # fmt: skip
def test_a_file_that_cannot_be_meant_says_why(tmp_path: Path, text: str, word: str):
    """The sentence names the file and the trouble."""
    file = tmp_path / "experiment.toml"
    file.write_text(text)

    with pytest.raises(ValueError, match=word):
        sweep_files.read(file)


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
