from __future__ import annotations

import pytest
from test_strip import flaky

from claude_lab import plots
from claude_lab.trace import Trace


def test_the_staircase_ends_at_the_length_of_the_text() -> None:
    """The last step is as high as the answer is long."""
    times, heights = plots.stairs(flaky())

    assert heights[-1] == len(flaky().text)
    assert len(times) == 20


def test_runs_stand_one_above_the_other_on_one_clock() -> None:
    """Each run has its frame; they share the axis of seconds."""
    figure = plots.staircase({"direct": flaky(), "buffered": flaky()})
    first, second = figure.axes

    assert first.get_xlim() == second.get_xlim()
    assert [axes.get_title(loc="left").split(":")[0] for axes in figure.axes] == ["direct", "buffered"]


def test_runs_may_share_one_frame() -> None:
    """Drawn together they are two lines, named where they end."""
    figure = plots.staircase({"direct": flaky(), "empty": Trace()}, together=True)

    assert len(figure.axes) == 1
    assert {text.get_text() for text in figure.axes[0].texts} == {"direct", "empty"}


def test_a_cell_shows_a_figure_without_further_ado() -> None:
    """Before anyone has asked for matplotlib inline, IPython finds a PNG, once."""
    from IPython.core.formatters import DisplayFormatter

    bundle, _ = DisplayFormatter().format(plots.timeline(flaky()))

    assert bundle["image/png"].startswith(b"\x89PNG")
    assert sorted(bundle) == ["image/png", "text/plain"]


def test_nothing_to_draw_is_an_error() -> None:
    """Without a trace there is no picture, and the message says what to give."""
    with pytest.raises(ValueError, match="at least one trace"):
        plots.staircase({})


def test_a_figure_is_the_same_svg_twice() -> None:
    """The markup has no date and no random ids, so that a saved notebook changes only when the run does."""
    trace = flaky()

    assert plots.markup(plots.timeline(trace)) == plots.markup(plots.timeline(trace))
