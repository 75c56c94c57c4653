from __future__ import annotations

import threading
from typing import Any

import pytest

from claude_lab import doorbell, faces, plots
from claude_lab.arrivals import still, table
from claude_lab.lab import Lab, race
from claude_lab.stairs import Race, StaircaseView
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


@pytest.mark.parametrize("kind", ["live", "html"])
def test_frozen_under_the_same_display_id(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The still replaces the display that was opened, once, and holds no widget."""
    sent: list[tuple[dict[str, Any], str, bool]] = []
    monkeypatch.setattr(faces, "publish", lambda bundle, name, *, update: sent.append((bundle, name, update)))
    view = StaircaseView(view=kind).show()

    with view._lock:  # nothing is drawn between the two
        view.watch("sent", SENT)
        view.freeze()
    view.freeze()

    assert view.failure is None
    assert len({name for _, name, _ in sent}) == 1
    assert [update for *_, update in sent] == [False, True]
    assert sent[-1][0] == still({"sent": SENT})


def test_a_silent_front_end_gets_plain_html(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word from the browser the picture is plain HTML before the end, says why, and no bell hangs."""
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(faces, "publish", lambda bundle, name, *, update: sent.append(bundle))
    monkeypatch.setattr(doorbell, "READY_WITHIN", 0.01)
    before = doorbell.bells()
    view, plain = StaircaseView(view="live"), threading.Event()
    turn = view._turn_plain
    view._turn_plain = lambda reason: (turn(reason), plain.set())  # type: ignore[method-assign]
    view.show().watch("sent", SENT)

    assert plain.wait(5)
    assert view.failure is None
    assert "so this is plain HTML" in sent[-1]["text/html"]
    assert doorbell.bells() == before
    view.freeze()
    assert "so this is plain HTML" in sent[-1]["text/html"]


def test_a_front_end_that_rang_keeps_its_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that said it is ready is not taken away, and a page that is loaded again reads everything."""
    monkeypatch.setattr(faces, "publish", lambda bundle, name, *, update: None)
    view = StaircaseView(view="live").show()
    view.watch("sent", Trace())
    view._hear("ready", "page")
    for mark in SENT.marks:
        view.traces["sent"].add(mark.kind, mark.value, at=mark.at)

    view.freeze()

    assert [row["points"] for row in view._read()["rows"]] == [[(0.1, 3), (0.2, 5)]]
    assert view._read()["over"]
    view._drop_model()


def test_what_was_shown_is_not_drawn_again() -> None:
    """A race whose view stands above is a short table as a cell's result; one that nobody saw is drawn."""
    assert Race({"sent": SENT}, shown=True)._repr_html_() is None
    assert "<img" in (Race({"sent": SENT})._repr_html_() or "")
    assert repr(Race({"sent": SENT})) == table({"sent": SENT})


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
