"""Figures of experiments."""

import math

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from claude_lab import model, palette, sweep_plots
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Outage, Scenario
from claude_lab.traffic import Traffic

X, Y = ("base_delay", [0.5, 1.0, 2.0]), ("max_retries", [0, 1])
VALUES = np.array([[0.5, 0.8, 0.95], [0.7, 0.99, math.inf]])


def test_a_heat_map_writes_every_value_and_names_its_axes():
    """Infinite cells are dashes."""
    axes = sweep_plots.heatmap(VALUES, x=X, y=Y, name="success").axes[0]

    assert [text.get_text() for text in axes.texts] == ["0.5", "0.8", "0.95", "0.7", "0.99", "-"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("base_delay", "max_retries")


def test_undecided_cells_are_hatched():
    """A cell whose interval holds the goal needs more days."""
    low, high = VALUES - 0.06, VALUES + 0.06

    axes = sweep_plots.heatmap(VALUES[:, :2], x=X, y=Y, name="s", goal=0.75, bounds=(low[:, :2], high[:, :2])).axes[0]

    hatched = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_hatch()]
    assert [patch.get_xy() for patch in hatched] == [(0.5, -0.5), (-0.5, 0.5)]


def test_the_goals_contour_runs_between_met_and_missed():
    """Each side of a cell that meets the goal is drawn where its neighbor does not, or there is none."""
    axes = sweep_plots.heatmap(np.array([[0.0, 1.0]]), x=("x", [0, 1]), y=("y", [0]), name="s", goal=0.5).axes[0]

    assert len(axes.lines) == 4
    assert any(list(line.get_xdata()) == [0.5, 0.5] for line in axes.lines)


def test_the_front_is_what_nothing_beats():
    """By comparing every pair."""
    rand = np.random.default_rng(1)
    cost, wait = rand.random(60).round(1), rand.random(60)

    on = sweep_plots.front(cost, wait)

    for place in range(60):
        beaten = ((cost <= cost[place]) & (wait <= wait[place]) & ((cost < cost[place]) | (wait < wait[place]))).any()
        assert on[place] == (not beaten)


def test_settings_without_a_wait_are_counted_not_drawn():
    """A setting that fails too often has no 95th percentile: the picture says how many."""
    cost, wait, success = np.array([1.0, 2.0]), np.array([3.0, math.inf]), np.array([1.0, 0.5])

    figure = sweep_plots.pareto(cost, wait, success, chosen=(1, 3, "it"))

    said = [text.get_text() for text in figure.axes[0].texts]
    assert "it" in said
    assert any(text.startswith("1 settings are not shown") for text in said)


def test_the_choice_joins_what_meets_the_goal_and_leaves_the_rest_hollow():
    """A cheaper setting that misses the goal is not on the line; the star stands at the chosen one's own values."""
    cost, wait = np.array([1.0, 2.0, 3.0, 4.0, 2.5]), np.array([1.0, 5.0, 2.0, 3.0, math.inf])
    meets = np.array([False, True, True, True, False])

    line, met, missed, star = (
        sweep_plots.choice(cost, wait, meets, chosen=1, axes=("cost", "wait"), title="this one", note="all of them")
        .axes[0]
        .lines
    )

    assert list(zip(*line.get_data(), strict=True)) == [(2.0, 5.0), (3.0, 2.0)]
    assert (list(met.get_xdata()), met.get_fillstyle()) == ([2.0, 3.0, 4.0], "full")
    assert (list(missed.get_xdata()), missed.get_fillstyle()) == ([1.0, 2.5], "none")
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([2.0], [5.0])


def test_a_choice_of_nothing_is_drawn_too():
    """Where no setting meets the goal all are hollow, and no star stands."""
    figure = sweep_plots.choice(
        np.array([1.0]), np.array([2.0]), np.array([False]), chosen=None, axes=("cost", "wait"), title="none"
    )

    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [0, 0, 1]


def test_every_attempt_is_a_dot():
    """Failed and served attempts keep their colors."""
    axes = sweep_plots.raster([[0.0, 1.0], [0.5]], [True, False], outage=0.8).axes[0]

    failed, won = axes.lines
    assert list(failed.get_xdata()) == [0.0, 0.5]
    assert list(won.get_xdata()) == [1.0]
    assert failed.get_color() == palette.ORANGE[0]


def test_a_days_rows_are_drawn_as_they_are():
    """Each row's attempts stand in its line, the last one of a served call in blue."""
    scenario = Scenario(pace="instant", outages=[Outage(0, 10)], traffic=Traffic(shape="replay", times=(0.0, 9.5)))
    day = model.day(scenario, RetryPolicy(max_retries=1, jitter="none"), engine="plain")

    failed, won = sweep_plots.every_attempt(day.rows(), outage=10).axes[0].lines

    assert list(failed.get_xdata()) == [0.0, 1.0, 9.5]
    assert list(won.get_xdata()) == [10.5]


def test_failures_never_leave_the_survival_curve():
    """Half of the calls fail: the curve ends at one half."""
    line = sweep_plots.survival({"a": [1.0, 2.0, math.inf, math.inf]}, limit=3).axes[0].lines[0]

    assert list(line.get_ydata()) == [1.0, 0.75, 0.5]


def test_the_pulse_has_a_frame_a_policy_and_the_line_of_capacity():
    """Attempts per second, above each other on one clock."""
    figure = sweep_plots.pulse({"none": [5, 0, 3], "full": [2, 2, 2]}, capacity=2.5, outage=1, title="after an outage")

    assert len(figure.axes) == 2
    assert [patch.get_height() for patch in figure.axes[0].patches[:3]] == [5, 0, 3]
    assert list(figure.axes[1].lines[0].get_ydata()) == [2.5, 2.5]


@pytest.mark.parametrize("draw", [
    lambda: sweep_plots.raster([], []),
    lambda: sweep_plots.survival({"none": [math.inf]}),
    lambda: sweep_plots.pulse({"none": []}),
])  # fmt: skip
def test_nothing_is_drawn_as_nothing(draw):
    """An empty day is no error."""
    assert draw().axes


def test_a_wait_meets_its_goal_from_below():
    """Of a cost or a wait less is better: the contour lies on the other side."""
    table = np.array([[1.0, 9.0]])

    axes = sweep_plots.heatmap(table, x=("x", [0, 1]), y=("y", [0]), name="p95", goal=5, lower=True).axes[0]

    assert sorted(min(line.get_xdata()) for line in axes.lines) == [-0.5, -0.5, -0.5, 0.5]
