"""The first lesson in a real browser: text grows while you look, and Stop in the view stops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
from conftest import need

from e2e.jupyterlab_page import Page

LESSON = Path(__file__).parents[2] / "notebooks" / "01_streaming.ipynb"
TEXT = ".cl-live .cl-text[role=region]"
ASK = """
hanging = Lab(Scenario(faults=[faults.Hang(after=20)]))
run = hanging.stream("How does streaming work?", wait=False)
"""
TELL = 'await run\nprint(run.status, "|", hanging.fake.journal[-1].ended)\nhanging.check()'
WATCH = f"""prompt => {{
    window.steps = [];
    const look = () => {{
        const text = document.querySelector('{TEXT}');
        if (text && prompt.innerText === '[*]:') window.steps.push(text.textContent.length);
    }};
    new MutationObserver(look).observe(document.body, {{childList: true, characterData: true, subtree: true}});
}}"""
"""Keeps each length of the live text that was seen while the cell with this prompt ran."""


def lesson_until_first_stream() -> list[str]:
    """Return the lesson's code cells up to the one that streams first."""
    cells = [cell.source for cell in nbformat.read(LESSON, 4).cells if cell.cell_type == "code"]
    first = next(index for index, source in enumerate(cells) if "lab.stream(" in source)
    return cells[: first + 1]


def test_the_first_lesson_streams_and_stops(open_notebook: Callable[..., Page], screenshots: Path) -> None:
    """The lesson's first answer grows in several steps before its end; Stop in a view ends the run and its upstream."""
    need("chromium")
    cells = lesson_until_first_stream()
    first = len(cells) - 1
    page = open_notebook(*cells, ASK, TELL)
    for index in range(first):
        page.run(index)
    page.page.evaluate(WATCH, page.cell(first).locator(".jp-InputPrompt").element_handle())
    page.start(first)
    page.page.wait_for_function("() => window.steps.length")
    page.page.screenshot(path=screenshots / "lesson-streams.png")
    page.wait_idle(first)
    steps = page.page.evaluate("() => window.steps")

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
