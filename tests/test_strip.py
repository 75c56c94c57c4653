from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from claude_lab import strip
from claude_lab.trace import Trace


def flaky() -> Trace:
    """A run that waited once, paused once, and was resumed."""
    trace = Trace()
    trace.add("retry", {"error": "rate_limit", "attempt": 1, "wait": 2.0}, at=0.5)
    for i in range(20):
        trace.add("delta", "word ", at=3 + 0.05 * i + (4 if i > 9 else 0))
    trace.add("reset", {"keep_chars": 100, "reason": "dropped"}, at=8.0)
    trace.add("done", {"stop_reason": "end_turn"}, at=8.5)
    return trace


def test_a_retry_is_an_attempt_a_wait_and_an_attempt() -> None:
    """The lane shows the failed attempt, the wait of the retry frame, and the attempt after it."""
    lane = [(span.kind, span.start, span.end) for span in strip.attempts(flaky())]

    assert lane == [("attempt", 0.0, 0.5), ("wait", 0.5, 2.5), ("attempt", 2.5, 8.5)]


def test_a_long_gap_stands_out() -> None:
    """A pause far above the usual gap is shaded, the usual gaps are not."""
    (gap,) = strip.gaps(flaky())

    assert (gap.start, gap.end) == pytest.approx((3.45, 7.5))


@pytest.mark.parametrize(
    ("marks", "ending"),
    [
        ([], "cut"),
        ([("delta", "a")], "cut"),
        ([("done", {"stop_reason": "end_turn"})], "done"),
        ([("done", {"stop_reason": "stopped"})], "stopped"),
        ([("error", {"error": "timeout"})], "error"),
    ],
)
def test_every_ending_has_its_name(marks: list[tuple[str, object]], ending: str) -> None:
    """A trace without a final frame was cut; it never looks done."""
    trace = Trace()
    for kind, value in marks:
        trace.add(kind, value)

    assert strip.ending(trace) == ending


def test_columns_hold_every_delta_once() -> None:
    """However many deltas there are, the columns are few and their sum is whole."""
    trace = Trace()
    for i in range(10_000):
        trace.add("delta", "x", at=i * 0.0021)

    columns = strip.columns(trace, 48)

    assert len(columns) == 48
    assert sum(deltas for _, _, deltas in columns) == 10_000


def test_the_drawing_is_well_formed_and_small() -> None:
    """The SVG of ten thousand deltas is XML of a few kilobytes, and tells its times in words."""
    trace = flaky()
    for i in range(10_000):
        trace.add("delta", "<&>", at=9 + i * 0.001)

    drawing, picture = strip.svg(trace), strip.picture(trace)

    assert ET.fromstring(drawing).tag.endswith("svg")
    assert len(picture) < 30_000
    assert 'title="waited 2.00 s before attempt 2"' in picture


def test_without_its_tags_the_picture_leaves_no_words() -> None:
    """A viewer that takes out unknown elements leaves nothing of the strip in the text."""
    assert re.sub(r"<[^>]*>", "", strip.picture(flaky())) == ""


@pytest.mark.parametrize("duration", [0.0, 0.004, 0.9, 1.0, 59.0, 1234.5])
def test_the_axis_is_round_and_short(duration: float) -> None:
    """The axis starts at zero, never passes the end, and has at most seven labels."""
    labels = strip.axis(duration)

    assert labels[0] == 0
    assert len(labels) <= 7
    assert labels[-1] <= duration + 1e-9


def test_a_connection_that_was_lost_is_flagged_where_it_was() -> None:
    """A resume stands on the strip like a seam, and says what happened and how long was waited."""
    trace = Trace()
    trace.add("delta", "a", at=1.0)
    trace.add("resume", {"error": "truncated", "attempt": 1, "wait": 0.4, "after": "1-2"}, at=2.0)
    trace.add("done", {"stop_reason": "end_turn"}, at=3.0)

    (point,) = [point for point in strip.points(trace) if point.kind == "reset"]

    assert (point.at, point.label) == (2.0, "connection lost at 2.00 s (truncated), asked for the rest 0.40 s later")
    assert point.label in strip.described(trace)


def resumed() -> Trace:
    """A run that lost its connection, waited 0.3 s, and got forty deltas at once."""
    trace = Trace()
    for i in range(20):
        trace.add("delta", "word ", at=1 + 0.01 * i)
    trace.add("resume", {"error": "truncated", "attempt": 1, "wait": 0.25, "after": "1-20"}, at=1.2)
    for i in range(40):
        trace.add("delta", "word ", at=1.5 + 0.00005 * i)
    trace.add("done", {"stop_reason": "end_turn"}, at=1.502)
    return trace


def test_a_reconnection_is_shaded_however_short_it_is() -> None:
    """From the last delta of the lost connection to the first of the next, once."""
    (gap,) = strip.gaps(resumed())

    assert (gap.start, gap.end) == pytest.approx((1.19, 1.5))
    assert gap.label == "reconnecting: nothing for 0.31 s from 1.19 s on"


def test_a_long_reconnection_is_shaded_once() -> None:
    """It is the long gap that it would be without the resume, under its own name."""
    trace = flaky()
    trace.add("resume", {"error": "truncated", "attempt": 1, "wait": 1.0, "after": "1-9"}, at=5.0)

    assert [gap.label.partition(":")[0] for gap in strip.gaps(trace)] == ["reconnecting"]


def test_the_end_covers_no_arrival() -> None:
    """The end's mark stands above the highest column, so that what arrives last is seen."""
    top, height = map(int, re.findall(r"m-2 (\d+)h4v(\d+)", strip.svg(resumed()))[0])

    assert top + height <= 37 - strip.tick_height(10**9)


def test_much_at_once_is_wide() -> None:
    """Forty deltas in one column of pixels are three lines side by side, one delta is one line."""
    assert strip.tick(9, 1).count("M") == 1
    assert strip.tick(9, 40).count("M") == 3


def test_a_wait_ends_where_the_next_answer_begins() -> None:
    """A retry that the reader was told of late is over when text comes."""
    trace = Trace()
    trace.add("retry", {"error": "overloaded", "attempt": 1, "wait": 0.5}, at=1.0)
    trace.add("delta", "a", at=1.1)
    trace.add("done", {}, at=2.0)

    assert [(span.start, span.end) for span in strip.attempts(trace)] == [(0.0, 1.0), (1.0, 1.1), (1.1, 2.0)]
