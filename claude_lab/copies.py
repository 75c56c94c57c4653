"""The student's copies of the lessons, and JupyterLab opened on them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from claude_lab.terminal import Refused, one_sentence

HERE = Path(__file__).parent
FOLDER = "claude_lab_lessons"
FIRST = "00_map.ipynb"


def open_lessons(folder: Path, *, no_browser: bool) -> None:
    """Run JupyterLab on a copy of the lessons, opened on their map, until it ends."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise Refused("JupyterLab is not installed; run: pip install 'claude_lab[lab]'.")
    with one_sentence():
        copy_lessons(folder)
    options = ["--no-browser"] if no_browser else []
    if getattr(os, "geteuid", lambda: 1)() == 0:  # in a container there is often nobody but root
        options.append("--allow-root")
    options += [f"--ServerApp.root_dir={folder.resolve()}", f"--LabApp.default_url=/lab/tree/{FIRST}"]
    command = [sys.executable, "-m", "jupyterlab", *options]
    if os.name == "posix":
        os.execv(sys.executable, command)  # so that Ctrl-C and signals are JupyterLab's own
    raise SystemExit(subprocess.call(command))


def copy_lessons(folder: Path) -> dict[Path, bool]:
    """Copy the lessons without outputs; each target with whether it is new. A file that is there stays as it is."""
    source = HERE / "lessons" if (HERE / "lessons").is_dir() else HERE.parent / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    return {
        folder / path.name: copy_lesson(path, folder / path.name)
        for path in sorted(source.glob("*.ipynb"))
        if not path.name.startswith(".")
    }


def copy_lesson(source: Path, target: Path) -> bool:
    """Copy one notebook without outputs, unless the target exists; return whether it was copied."""
    notebook = json.loads(source.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    except FileExistsError:
        return False
    return True
