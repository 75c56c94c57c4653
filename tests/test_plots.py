from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from test_strip import flaky

from claude_lab import palette, plots
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
    """Before anyone has asked for matplotlib inline, IPython finds a PNG, and an image that follows the theme."""
    from IPython.core.formatters import DisplayFormatter

    bundle, _ = DisplayFormatter().format(plots.timeline(flaky(), title="<one> run"))

    assert bundle["image/png"].startswith(b"\x89PNG")
    assert 'alt="Figure: &lt;one&gt; run; seconds"' in bundle["text/html"]
    assert sorted(bundle) == ["image/png", "text/html", "text/plain"]


def test_a_figure_is_light_or_dark_as_the_page_is() -> None:
    """The drawing names no color of the light page outside its table, which has another one for a dark page."""
    drawing = plots.markup(plots.staircase({"buffered": flaky(), "direct": flaky()}, title="Two"))
    head, _, shapes = drawing.partition("</style>")

    assert "@media(prefers-color-scheme:dark)" in head
    for light, dark in palette.FOLLOWS:
        assert light in head
        assert dark in head
        assert light not in shapes
    assert ET.fromstring(drawing).tag.endswith("svg")
    assert "DejaVu" not in shapes


def test_what_a_figure_says_is_not_rounded() -> None:
    """Places lose digits in the markup, words do not."""
    drawing = plots.markup(plots.timeline(flaky(), title="1.23456 at (0.98765)"))

    assert "1.23456 at (0.98765)" in drawing
    assert not any(re.search(r"\d\.\d\d", tag) for tag in re.findall(r"<[^>]*>", drawing))


def test_paths_are_shorter_and_the_same() -> None:
    """Level, upright and other lines are steps from the end before, and end where they did: nothing adds up."""
    assert plots.shorter("M 0 5 L 3 5 L 3 1 L 4 0 M 4.2 0 L 4.2 0") == "M0 5h3v-4l1 -1M4.2 0l0 0"
    assert [plots.short(number) for number in (-0.01, 0.5, -0.5, -10.0, 100.24)] == ["0", ".5", "-.5", "-10", "100.2"]

    places = [f"{number / 10:.1f}" for number in range(0, 4000, 7)]
    steps = plots.shorter("M 0 0 " + " ".join(f"L {place} 0" for place in places)).split("h")[1:]
    assert sum(map(float, steps)) == pytest.approx(float(places[-1]))


def test_both_staircases_are_seen_where_they_coincide() -> None:
    """Two in one frame: the upper one is thin, the lower one wide and pale."""
    lower, upper = plots.staircase({"predicted": flaky(), "run": flaky()}, together=True).axes[0].lines[::2]

    assert lower.get_linewidth() > 3 * upper.get_linewidth()
    assert lower.get_alpha() < 1 == upper.get_alpha()


def test_nothing_to_draw_is_an_error() -> None:
    """Without a trace there is no picture, and the message says what to give."""
    with pytest.raises(ValueError, match="at least one trace"):
        plots.staircase({})


def test_a_figure_is_the_same_svg_twice() -> None:
    """The markup has no date and no random ids, so that a saved notebook changes only when the run does."""
    trace = flaky()

    assert plots.markup(plots.timeline(trace)) == plots.markup(plots.timeline(trace))
