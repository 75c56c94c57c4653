from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = [
    f"import sys; sys.path.insert(0, {str(Path(__file__).parent / 'e2e')!r})\nfrom streams import Stream",
    "one = Stream(40, gap=.002).run()",
    "two = Stream(40, gap=.002).start()\nthree = Stream(40, gap=.002).start()",
    "two.task.result(); three.task.result(); print('all done')",
    "import asyncio\nfour = await Stream(40, gap=.002).arun()",
    "one.view.show();",
    "late = Stream(40, gap=0)\nfrom claude_lab.background import portal\nportal().run(late.play())\nlate.view.show();",
]


@pytest.mark.parametrize("mode", ["live", "html"])
def test_every_saved_stream_is_readable(mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run without a browser, as CI does: each stream, awaited or not, is saved as its still, in its own cell."""
    monkeypatch.setenv("CLAUDE_LAB_VIEW", mode)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])

    NotebookClient(notebook, timeout=30, kernel_name=kernel(tmp_path, monkeypatch)).execute()

    outputs = [output for cell in notebook.cells for output in cell.outputs if output.output_type == "display_data"]
    assert len(outputs) == 6
    for output in outputs:
        assert sorted(output.data) == ["text/html", "text/plain"]
        assert "w00039 " in output.data["text/html"]
        assert re.search(r"w00039 \n\[done", output.data["text/plain"])
    assert [output.get("text") for output in notebook.cells[3].outputs] == ["all done\n"]


def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Register a kernel of this very Python, and return its name."""
    from ipykernel.kernelspec import write_kernel_spec

    write_kernel_spec(tmp_path / "kernels" / "here", overrides={"argv": [sys.executable, *ARGUMENTS]})
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    return "here"


ARGUMENTS = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
