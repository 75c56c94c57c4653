"""The first lesson in a real browser: text grows while you look, and Stop in the view stops."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import nbformat
from conftest import need

from e2e.jupyterlab_page import Page

LESSON = Path(__file__).parents[2] / "notebooks" / "01_streaming.ipynb"
TEXT = ".cl-live .cl-text[role=region]"
ASK = 'run = lab.stream("How does streaming work?", wait=False)'
TELL = 'await run\nprint(run.status, "|", lab.fake.journal[-1].ended)\nlab.check()'


def lesson_until_first_stream() -> list[str]:
    """Return the lesson's code cells up to the one that streams first."""
    cells = [cell.source for cell in nbformat.read(LESSON, 4).cells if cell.cell_type == "code"]
    first = next(index for index, source in enumerate(cells) if "lab.stream(" in source)
    return cells[: first + 1]


def grown(page: Page, times: int, every: float = 0.2) -> list[int]:
    """Return the lengths of the live text, looked at several times."""
    seen = []
    for _ in range(times):
        seen.append(len(page.page.locator(TEXT).first.inner_text()))
        time.sleep(every)
    return seen


def test_the_first_lesson_streams_and_stops(open_notebook: Callable[..., Page], screenshots: Path) -> None:
    """The lesson's first answer grows in several steps before its end; Stop in a view ends the run and its upstream."""
    need("chromium")
    cells = lesson_until_first_stream()
    first = len(cells) - 1
    page = open_notebook(*cells, ASK, TELL)
    for index in range(first):
        page.run(index)
    page.start(first)
    page.page.wait_for_selector(TEXT)
    steps = grown(page, 7)
    page.page.screenshot(path=screenshots / "lesson-streams.png")
    assert page.prompt(first) == "[*]:", "it is not over yet"
    page.wait_idle(first)

    page.run(first + 1)
    view = page.cell(first + 1)
    page.page.wait_for_function(f"() => (document.querySelector('{TEXT}')?.textContent.length ?? 0) > 40")
    view.locator(".cl-stop").click()
    view.locator(".cl-still").wait_for()
    page.run(first + 2)
    page.page.screenshot(path=screenshots / "lesson-stopped.png")

    assert steps == sorted(steps)
    assert len(set(steps)) >= 3
    assert "Stopped here." in page.output(first + 1)
    assert "stopped | client left" in page.output(first + 2)
