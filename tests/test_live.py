"""The live face's half in the kernel: what its model says after the end, and for how long."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from conftest import soon

from claude_lab import doorbell, faces
from claude_lab.background import portal
from claude_lab.live import LiveFace, StreamModel
from claude_lab.trace import Trace


class Told(list[dict[str, Any]]):
    """What a model has sent, and whether it is closed."""

    closed = False


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Models that note what they send, before no front end."""
    told = Told()
    monkeypatch.setattr(faces, "publish", lambda bundle, name, *, update: None)
    monkeypatch.setattr(StreamModel, "send", lambda self, message: told.append(message))
    monkeypatch.setattr(StreamModel, "close", lambda self: setattr(told, "closed", True))
    return told


def finished(*pages: str) -> LiveFace:
    """Return a face that was shown on these pages until its end."""
    trace = Trace()
    face = LiveFace(trace, stop_url=None, stoppable=False, ring=lambda word: None, lock=threading.RLock())
    face.show()
    for page in pages:
        face._hear("ready", page)
    face.take([trace.add("delta", "One two", at=0.1)])
    trace.add("done", {"stop_reason": "end_turn"}, at=0.2)
    face.finish()
    return face


def test_a_view_that_lost_the_last_frame_is_told_everything_again(told: Told) -> None:
    """A snapshot asked for after the end comes, with the end in it."""
    face = finished("page")

    face._hear("snapshot", "page")

    assert (told[-1]["kind"], told[-1]["text"]) == ("all", "One two")
    assert told[-1]["end"]["units"] == 7
    face.give_up()


def test_the_model_is_closed_a_while_after_the_end(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left in the kernel of a view whose still stands in the notebook."""
    monkeypatch.setattr(doorbell, "LINGER", 0.1)
    bells = doorbell.bells()
    finished("page")

    assert doorbell.bells() == bells + 1
    assert soon(lambda: told.closed)
    assert soon(lambda: doorbell.bells() == bells)


def test_a_page_loaded_again_at_the_end_keeps_its_model(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes up after the end, reads how it ended, and its view stays."""
    monkeypatch.setattr(doorbell, "LINGER", 0.2)
    face = finished("page")

    face._hear("ready", "the page again")
    portal().run(asyncio.sleep(0.5))

    assert not told.closed
    assert face._read()["end"]["summary"]
    face.give_up()
