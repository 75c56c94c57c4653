"""Every assert of a lesson has a cause: without it the assert fails, so it could not have held by itself."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lesson_causes import CAUSES, TABLES, Cause
from lesson_runner import FAILS

HERE = Path(__file__).parent
LESSONS = {path.name[:2]: path for path in sorted((HERE.parent / "notebooks").glob("0*.ipynb"))}
COMMAND = [sys.executable, str(HERE / "lesson_runner.py")]
QUIET = {"CLAUDE_LAB_VIEW": "off", "MPLBACKEND": "agg", "PYTHONWARNINGS": "ignore"}
PATIENCE = 180.0
Told = dict[str, Any]


def start(lesson: str) -> subprocess.Popen[str]:
    """Start a lesson with its replays in a process of its own."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*COMMAND, str(LESSONS[lesson])], stdout=pipe, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **QUIET}
    )


@pytest.fixture(scope="module")
def started() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All lessons at once: most of their time is waiting."""
    processes = {lesson: start(lesson) for lesson in LESSONS}
    yield processes
    for process in processes.values():
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def told(started: dict[str, subprocess.Popen[str]]) -> Any:
    """Return a function that gives what a lesson's process told; one that a busy machine disturbed is run once more.

    An assert has a cause when it fails without it in one of the two.
    """

    @functools.cache
    def ask(lesson: str) -> Told:
        said: Told = json.loads(started[lesson].communicate(timeout=PATIENCE)[0])
        failing = {name: outcome for name, outcome in said["outcomes"].items() if outcome == FAILS}
        if said["broken"] or said["fallen"] or failing != said["outcomes"]:
            started[lesson] = start(lesson)
            said = json.loads(started[lesson].communicate(timeout=PATIENCE)[0])
        return said | {"outcomes": said["outcomes"] | failing}

    return ask


@pytest.mark.parametrize("lesson", LESSONS)
@pytest.mark.timeout(400)
def test_a_lesson_holds_as_it_is(lesson: str, told: Any) -> None:
    """The lesson runs as far as it asserts, and no assert fails by itself."""
    said = told(lesson)

    assert said["broken"] is None
    assert said["fallen"] == []


@pytest.mark.parametrize("lesson", LESSONS)
@pytest.mark.timeout(400)
def test_every_assert_has_a_cause_and_every_cause_an_assert(lesson: str, told: Any) -> None:
    """A new assert needs a row that says what takes its cause away."""
    asserts = [tuple(pair) for pair in told(lesson)["asserts"]]
    rows = [(cell, text) for cell, text, _, _ in TABLES.get(lesson, [])]

    bare = [pair for pair in asserts if not any(pair[0] == cell and pair[1].startswith(text) for cell, text in rows)]
    idle = [row for row in rows if not any(row[0] == cell and text.startswith(row[1]) for cell, text in asserts)]
    assert [
        f"`{text}` in the cell {cell!r} of {LESSONS[lesson].name} has no cause: add a row to tests/lesson_causes.py."
        for cell, text in bare
    ] == []
    assert [f"No assert in the cell {cell!r} begins with `{text}`: take the row away." for cell, text in idle] == []


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
@pytest.mark.timeout(400)
def test_without_its_cause_an_assert_fails(cause: Cause, told: Any) -> None:
    """The fault, the buffer or the policy is taken away, and the assert falls."""
    assert told(cause.lesson)["outcomes"].get(cause.name) == FAILS, f"Taken away was {cause.removed}."
