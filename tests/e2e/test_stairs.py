from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

RACE = """
from claude_lab import Lab
from claude_lab.lab import race
lab = Lab()
traces = race("Why is the sky blue?", direct=lab, again=lab)
"""


def test_a_race_is_seen_while_it_runs(open_notebook: Callable[..., Any], screenshots: Path) -> None:
    """Both staircases grow in the page; afterwards an image and a table stand there and the widget is gone."""
    page = open_notebook(RACE)
    page.start(0)
    paths = "[...document.querySelectorAll('.cl-stairs path')]"
    page.page.wait_for_function(
        f"() => {paths}.filter(p => (p.getAttribute('d') ?? '').split('V').length > 5).length === 2"
    )
    page.page.locator(".cl-stairs").screenshot(path=screenshots / "stairs-live.png")
    page.wait_idle(0)
    page.page.wait_for_selector("img[src^='data:image/svg+xml;base64']")
    page.cell(0).screenshot(path=screenshots / "stairs-still.png")

    assert page.page.locator(".cl-stairs").count() == 0
    assert "direct" in page.output(0)
