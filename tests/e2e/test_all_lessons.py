"""The lessons from top to bottom in a real JupyterLab, with live views, as a student runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import need

from e2e.jupyterlab_page import ROOT, Jupyter, Page

WITHIN = 150
RUN_ALL = "() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }"
LAST_RAN = r"""number => {
    const prompts = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')];
    return prompts.length === number && prompts.every(prompt => /\[\d+\]/.test(prompt.innerText));
}"""
SIZED = "() => [...document.querySelectorAll('.jp-RenderedImage img')].every(picture => picture.naturalWidth > 0)"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ["00_map", "01_streaming", "02_retry_experiments", "03_nginx_buffering"])
def test_a_lesson_runs_in_the_browser(name: str, lab: Jupyter, chromium: Any, screenshots: Path) -> None:
    """Every cell runs, none shows an error, every picture is there, and no view complains in the console."""
    need("chromium")
    book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(book, lab.work / f"{name}.ipynb")
    code = sum(cell.cell_type == "code" for cell in book.cells)
    page = Page(chromium, lab.address(f"{name}.ipynb"))
    try:
        # All cells are needed in the page to be looked at; JupyterLab draws only those near the view.
        page.page.set_viewport_size({"width": 1100, "height": 30_000})
        page.page.evaluate(RUN_ALL)
        page.page.wait_for_function(LAST_RAN, arg=code, timeout=WITHIN * 1000)
        page.page.wait_for_function(SIZED)
        page.page.screenshot(path=screenshots / f"lesson-{name}.png")
        errors = page.page.locator("[data-mime-type='application/vnd.jupyter.error'], [data-mime-type*='stderr']")

        assert errors.all_inner_texts() == []
        assert [told for told in page.complaints if "claude" in told.lower()] == []
    finally:
        page.page.set_viewport_size({"width": 1100, "height": 820})
        page.shut()
