from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat

FAILS = """
import asyncio
from claude_lab.background import portal
async def die():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
portal().run(die())
"""


def run(path: Path, source: str, *options: str) -> str:
    """Run one notebook with one cell under pytest, and return what it prints."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(notebook, path / "lesson.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "claude_lab.pytest_plugin", "--nbmake", *options]
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=60, check=False, env=here)
    return done.stdout


def test_what_failed_unseen_fails_the_notebook(tmp_path: Path) -> None:
    """A callback that dies on the portal leaves every cell green; the check at the end does not."""
    said = run(tmp_path, FAILS)

    assert "1 failed" in said
    assert "failed unseen on the portal" in said


def test_a_notebook_without_the_package_passes_and_keeps_its_cells(tmp_path: Path) -> None:
    """Overwriting stores the outputs, and not the check."""
    said = run(tmp_path, "print(6 * 7)", "--overwrite")
    kept = nbformat.read(tmp_path / "lesson.ipynb", 4)

    assert "1 passed" in said
    assert [cell.source for cell in kept.cells] == ["print(6 * 7)"]
    assert kept.cells[0].outputs[0].text == "42\n"
    assert [path.name for path in tmp_path.glob("*.ipynb")] == ["lesson.ipynb"]
