from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from claude_lab.trace import Trace
from claude_lab.widgets import TokenStream, mode


def test_outside_a_kernel_deltas_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a front end the same calls print, and the last line says how it ended."""
    trace, view = Trace(), TokenStream()
    view.show()
    trace.listeners.append(view.push)

    for piece in ("Hello", ", ", "world"):
        trace.add("delta", piece)
    trace.add("done", {"stop_reason": "end_turn", "usage": {"output_tokens": 3}})

    assert capsys.readouterr().out.startswith("Hello, world\n[done · 3 tokens")
    assert view.text == "Hello, world"
    assert view.frozen


def test_half_an_emoji_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """A surrogate pair cut between two deltas is printed once it is whole."""
    trace, view = Trace(), TokenStream().show()
    trace.listeners.append(view.push)

    trace.add("delta", "\ud83d")
    trace.add("delta", "\ude42!")
    view.freeze()

    assert capsys.readouterr().out.startswith("🙂!")


def test_the_wrong_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelled CLAUDE_LAB_VIEW is an error that names the four values."""
    monkeypatch.setenv("CLAUDE_LAB_VIEW", "lvie")

    with pytest.raises(ValueError, match="'lvie'; set it to one of live, html, text, off"):
        mode()


def test_off_shows_nothing_and_keeps_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    """With the view off the trace is still there to read."""
    trace, view = Trace(), TokenStream(view="off").show()
    trace.listeners.append(view.push)

    trace.add("delta", "quiet")

    assert capsys.readouterr().out == ""
    assert view.trace.text == "quiet"


def test_marks_from_many_threads_all_arrive() -> None:
    """Four threads push at once; no mark is lost."""
    trace, view = Trace(), TokenStream(view="off").show()
    trace.listeners.append(view.push)
    workers = [threading.Thread(target=lambda: [trace.add("delta", "x") for _ in range(500)]) for _ in range(4)]

    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert len(view.text) == 2000


def test_what_comes_after_the_end_is_not_shown() -> None:
    """A frozen view takes no more marks; freezing twice is fine."""
    trace, view = Trace(), TokenStream(view="off").show()
    trace.listeners.append(view.push)

    trace.add("done", {"stop_reason": "end_turn"})
    view.freeze()
    trace.add("delta", "late")

    assert view.text == ""


def test_without_a_front_end_nothing_heavy_is_imported() -> None:
    """Printing a stream costs neither ipywidgets nor matplotlib, and starts no thread."""
    code = (
        "import sys, threading\n"
        "from claude_lab.widgets import TokenStream\n"
        "from claude_lab.trace import Mark\n"
        "view = TokenStream().show(); view.push(Mark(0, 'delta', 'x')); view.freeze()\n"
        "heavy = {'ipywidgets', 'anywidget', 'matplotlib', 'IPython', 'anthropic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert threading.active_count() == 1\n"
    )

    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0


def test_pushing_is_cheap() -> None:
    """A push draws nothing itself where the pump draws: ten thousand take less than one drawing each would."""
    trace, view = Trace(), TokenStream(view="html")
    trace.listeners.append(view.push)
    before = time.thread_time()

    for _ in range(10_000):
        trace.add("delta", "x")

    assert time.thread_time() - before < 2


def test_a_view_shown_after_the_end_prints_it_all(capsys: pytest.CaptureFixture[str]) -> None:
    """What came before the view was shown is not lost, also when the run is over."""
    trace, view = Trace(), TokenStream()
    trace.listeners.append(view.push)
    trace.add("delta", "all of it")
    trace.add("done", {"stop_reason": "end_turn"})

    view.show()

    assert capsys.readouterr().out.startswith("all of it\n[done")


def test_a_front_end_that_fails_does_not_break_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """When printing raises, the stream goes on, the record is whole, and the view says why it went dark."""
    trace, view = Trace(), TokenStream().show()
    trace.listeners.append(view.push)

    class Broken:
        def write(self, text: str) -> None:
            raise BrokenPipeError("nobody reads")

    monkeypatch.setattr("sys.stdout", Broken())
    trace.add("delta", "still ")
    trace.add("delta", "here")

    assert view.text == "still here"
    assert isinstance(view.failure, BrokenPipeError)
