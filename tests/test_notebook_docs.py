"""The page about notebooks: its cells run, in their order, in a real kernel."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

books: Any = nbformat  # its functions are not annotated
PAGE = Path(__file__).parents[1] / "docs" / "notebooks.md"


def test_the_pages_cells_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell of the page ends without an error, and the ones that show something show it."""
    monkeypatch.setenv("CLAUDE_LAB_VIEW", "html")
    sources = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    book = books.v4.new_notebook(cells=[books.v4.new_code_cell(source.rstrip()) for source in sources])

    nbclient.NotebookClient(book, timeout=60, kernel_name="python3").execute()

    shown = {cell.source.split("\n")[0]: str(cell.outputs) for cell in book.cells}
    assert len(sources) >= 8
    assert "127.0.0.1" in shown["from claude_lab import Lab"]
    assert "Sunlight" in shown['%%claude --system "Answer in one sentence." --max-tokens 80 --into run']
    assert "first token" in shown["from claude_lab.comparison import compare"]
