from __future__ import annotations

import base64
import xml.etree.ElementTree as ET

from claude_lab import palette, plots
from claude_lab.arrivals import holds, rows, still, svg
from claude_lab.trace import Mark, Trace

SENT = Trace(0.0, [Mark(0.1, "delta", "abc"), Mark(0.2, "delta", "de"), Mark(0.3, "done", {})])
SEEN = Trace(0.0, [Mark(0.25, "delta", "abcd")])


def test_the_still_has_pictures_and_a_table() -> None:
    """Each drawing is an image in a data URL, and no inline svg is left for a sanitizer to take out."""
    bundle = still({"sent": SENT, "seen": Trace()})
    parts = bundle["text/html"].split("data:image/svg+xml;base64,")[1:]
    sources = [base64.b64decode(part.partition('"')[0]) for part in parts]

    assert [ET.fromstring(source).tag for source in sources] == ["{http://www.w3.org/2000/svg}svg"] * 2
    assert "<svg" not in bundle["text/html"]
    assert bundle["text/plain"].splitlines()[1].split() == ["sent", "0.10", "s", "33%", "2"]


def test_lateness_and_losses_are_counted_against_what_was_sent() -> None:
    """The first delta came 0.15 s late, the second not in full: one of its characters is lost."""
    assert holds(SENT, SEEN) == [0.15]
    assert rows({"sent": SENT, "seen": SEEN, "none": Trace()})[1:] == [
        ("sent", "0.10 s", "33%", "2", "", ""),
        ("seen", "0.25 s", "100%", "1", "0.15 s", "1"),
        ("none", "none", "", "0", "none came", "5"),
    ]


def test_without_a_sent_trace_nothing_is_late() -> None:
    """Routes alone have their own times and no more."""
    assert rows({"a": SENT})[0] == ("route", "first token", "of its time", "bursts")


def test_a_route_that_failed_says_why() -> None:
    """In a last column, in the picture's description and escaped; without a failure there is no such column."""
    error = {"error": "network_error", "message": "<b> does not answer."}
    failed = {"a": SENT, "b": Trace(0.0, [Mark(0.1, "error", error)])}

    assert [line[-1] for line in rows(failed)] == ["error", "", "network_error: <b> does not answer."]
    assert still(failed)["text/plain"].splitlines()[2].endswith("network_error: <b> does not answer.")
    assert "first token none; network_error: &lt;b&gt; does not answer." in still(failed)["text/html"]


def test_labels_are_escaped() -> None:
    """A label with markup in it stays text, in the table and in the picture's description."""
    html = still({'<b onclick="x">': SENT})["text/html"]

    assert "<b" not in html
    assert "&lt;b onclick=&quot;x&quot;&gt;" in html


def test_dollars_in_labels_are_no_formulas() -> None:
    """A price in a label or a title stays as it is, also where matplotlib draws."""
    page = plots.markup(plots.staircase({"$1 or $\\nothing$": SENT}, title="$a$ and $\\b$"))

    assert "$1 or $\\nothing$: first token 0.10 s" in page
    assert "$1 or $\\nothing$" in still({"$1 or $\\nothing$": SENT})["text/plain"]


def test_what_was_sent_is_gray_everywhere() -> None:
    """Live view, still and figure take its color from one place, whatever its row."""
    gray = palette.shades_of(["a", "sent"])["sent"]
    lines = plots.staircase({"a": SENT, "sent": SENT}).axes[1].lines

    assert gray == palette.GRAY
    assert all(color in svg(SENT, gray, end=0.3, most=5) for color in palette.GRAY)
    assert {line.get_color() for line in lines} == {palette.GRAY[0]}
