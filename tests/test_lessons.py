"""The lessons as files: their size, their shape, and the map that leads to them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
LESSONS = ("01_streaming", "02_retry_experiments", "03_nginx_buffering")


def cells(name: str) -> list[dict[str, Any]]:
    """Return a notebook's cells, their source as one string."""
    notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text("utf-8"))
    return [{**cell, "source": "".join(cell["source"])} for cell in notebook["cells"]]


def lines(cell: dict[str, Any]) -> list[str]:
    """Return a cell's lines that are not empty."""
    return [line for line in cell["source"].splitlines() if line.strip()]


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_is_short_enough_to_be_taught(name: str) -> None:
    """At most 60 cells, 2,500 words and 300 KB; no cell above 18 lines; ten to seventeen words a line of code."""
    all_cells = cells(name)
    code = [cell for cell in all_cells if cell["cell_type"] == "code"]
    words = sum(len(cell["source"].split()) for cell in all_cells if cell["cell_type"] == "markdown")

    assert len(all_cells) <= 60
    assert words <= 2500
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size <= 300_000
    assert max(len(lines(cell)) for cell in code) <= 18
    assert 10 <= words / sum(len(lines(cell)) for cell in code) <= 17


@pytest.mark.parametrize("name", LESSONS)
def test_no_code_stands_without_a_word(name: str) -> None:
    """Between two cells of code there is a sentence, and the lesson begins and ends with one."""
    kinds = [cell["cell_type"] for cell in cells(name)]

    assert ("code", "code") not in set(itertools.pairwise(kinds))
    assert kinds[0] == kinds[-1] == "markdown"


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_asks_for_predictions_and_ends_with_exercises(name: str) -> None:
    """Ten predictions at least, three exercises with a score to beat, and what to take to production."""
    text = "\n".join(cell["source"] for cell in cells(name) if cell["cell_type"] == "markdown")

    assert text.count("**Predict:**") >= 10
    assert "## Take to production" in text
    assert all(f"\n{number}. **{verb}" in text for number, verb in enumerate(("Predict", "Change", "Beat"), 1))


@pytest.mark.parametrize("name", LESSONS)
def test_the_map_tells_how_long_a_lesson_takes(name: str) -> None:
    """Read aloud at 130 words a minute, a minute and a half for a prediction, ten for an exercise, to five minutes."""
    text = "\n".join(cell["source"] for cell in cells(name) if cell["cell_type"] == "markdown")
    minutes = len(text.split()) / 130 + 1.5 * text.count("**Predict:**") + 3 * 10
    row = next(line for line in cells("00_map")[0]["source"].splitlines() if f"({name}.ipynb)" in line)

    assert f"| {5 * round(minutes / 5)} min |" in row


def test_the_map_is_the_readmes() -> None:
    """Every row of the map's table stands in the README, with the path that it has there; every notebook is on it."""
    rows = [line for line in cells("00_map")[0]["source"].splitlines() if line.startswith("|")]
    readme = (ROOT / "README.md").read_text("utf-8")

    assert all(row.replace("](0", "](notebooks/0") in readme for row in rows)
    assert {path.name for path in NOTEBOOKS.glob("0[1-9]*.ipynb")} == {
        row.split("](")[1].split(")")[0] for row in rows if "](" in row
    }
