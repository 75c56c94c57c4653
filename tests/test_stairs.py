from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from claude_lab import faces, plots
from claude_lab.lab import Lab, race
from claude_lab.stairs import StaircaseView, still, table
from claude_lab.trace import Mark, Trace

SENT = Trace(0.0, [Mark(0.1, "delta", "abc"), Mark(0.2, "delta", "de"), Mark(0.3, "done", {})])


def test_marks_become_points() -> None:
    """Each delta is a point, (seconds, characters so far), the same as the figure draws; other marks are none."""
    view, trace = StaircaseView(view="off").show(), Trace()
    view.watch("a", trace)

    for mark in SENT.marks:
        trace.add(mark.kind, mark.value, at=mark.at)

    assert view.points("a") == [(0.1, 3), (0.2, 5)]
    assert view.points("a") == list(zip(*plots.stairs(trace), strict=True))


def test_the_still_has_a_picture_and_a_table() -> None:
    """The drawing is an image in a data URL, and no inline svg is left for a sanitizer to take out."""
    bundle = still({"sent": SENT, "seen": Trace()})
    source = bundle["text/html"].partition("base64,")[2].partition('"')[0]

    assert "<svg" in b64decode(source).decode()
    assert "<svg" not in bundle["text/html"]
    assert bundle["text/plain"].splitlines()[1:] == ["sent        0.10 s       2", "seen          none       0"]


def test_labels_are_escaped() -> None:
    """A label with markup in it stays text, in the table and in the picture's description."""
    html = still({'<b onclick="x">': SENT})["text/html"]

    assert "<b" not in html
    assert "&lt;b onclick=&quot;x&quot;&gt;" in html


@pytest.mark.parametrize("kind", ["live", "html"])
def test_frozen_under_the_same_display_id(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The still replaces the display that was opened, once, and holds no widget."""
    sent: list[tuple[dict[str, Any], str, bool]] = []
    monkeypatch.setattr(faces, "publish", lambda bundle, name, *, update: sent.append((bundle, name, update)))
    view = StaircaseView(view=kind).show()
    view.watch("sent", SENT)

    view.freeze()
    view.freeze()

    assert view.failure is None
    assert len({name for _, name, _ in sent}) == 1
    assert [update for *_, update in sent] == [False, True]
    assert sent[-1][0] == still({"sent": SENT})


def test_a_race_in_plain_python_prints_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With text a race prints its table once, with the view off nothing; both return a trace for each route."""
    with Lab() as lab:
        monkeypatch.setenv("CLAUDE_LAB_VIEW", "text")
        traces = race("Hi", direct=lab, again=lab)
        assert capsys.readouterr().out == table(traces) + "\n"

        monkeypatch.setenv("CLAUDE_LAB_VIEW", "off")
        quiet = race("Hi", direct=lab)

    assert capsys.readouterr().out == ""
    assert list(traces) == ["direct", "again"]
    assert quiet["direct"].text == traces["again"].text != ""
