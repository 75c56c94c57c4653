"""A pytest plugin that asks each notebook at its end what pytest alone does not see.

A notebook passes although a thread died in it, a task failed, an upstream stayed open or a run was cut. With
`pytest -p claude_lab.pytest_plugin --nbmake notebooks` each notebook gets one more cell at its end, which calls
`check()` on every lab in it and raises what failed unseen on the portal. Notebooks without claude_lab are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest

books: Any = nbformat  # its functions are not annotated
TAG = "claude-lab-check"
CHECK = """\
import sys
labs, portals = sys.modules.get("claude_lab.lab"), sys.modules.get("claude_lab.background")
for bench in {id(value): value for value in list(globals().values()) if labs and isinstance(value, labs.Lab)}.values():
    bench.check()
if portals and portals.portal().failures:
    raise RuntimeError("Something failed unseen on the portal.") from portals.portal().failures[0]
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--no-lab-check`."""
    group = parser.getgroup("claude_lab")
    group.addoption("--no-lab-check", action="store_true", help="do not call check() at the end of each notebook")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[Any]:
    """Run a notebook of nbmake with the check at its end."""
    if not getattr(item, "nbmake", False) or item.config.getoption("no_lab_check"):
        return (yield)
    with checked(Path(item.path)) as copy:
        item.filename = str(copy)  # type: ignore[attr-defined]  # nbmake's item
        try:
            return (yield)
        finally:
            item.filename = str(item.path)  # type: ignore[attr-defined]
            if item.config.getoption("overwrite", False):
                books.write(without_check(books.read(copy, 4)), item.path)


@contextmanager
def checked(path: Path) -> Iterator[Path]:
    """Yield a copy of the notebook beside it, with the check at its end; the copy goes again."""
    notebook = books.read(path, 4)
    cell = books.v4.new_code_cell(CHECK, metadata={"tags": [TAG]})
    if notebook.nbformat_minor < 5:
        del cell["id"]
    notebook.cells.append(cell)
    copy = path.with_name(f".{path.stem}.checked.ipynb")
    books.write(notebook, copy)
    try:
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def without_check(notebook: Any) -> Any:
    """Return the notebook without the cell that `checked` added."""
    notebook.cells = [cell for cell in notebook.cells if TAG not in cell.metadata.get("tags", ())]
    return notebook
