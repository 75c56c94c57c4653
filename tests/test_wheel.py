"""The wheel alone is enough: it carries the lessons and the browser's files, and a lesson runs from it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import lacking

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[1]
PYTHON = "python.exe" if os.name == "nt" else "python"
UNREACHABLE = ("NewConnectionError", "ConnectTimeoutError", "NameResolutionError")
RUN = """
import sys
from pathlib import Path
import nbclient, nbformat
path = Path(sys.argv[1])
notebook = nbformat.read(path, 4)
notebook.cells.append(nbformat.v4.new_code_cell("import claude_lab.trace; print(claude_lab.trace.__file__)"))
where = {"metadata": {"path": path.parent}}
client = nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=where)
print(client.execute().cells[-1].outputs[0].text)
"""


def ran(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program away from the checkout."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"CLAUDE_LAB_VIEW": "html", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=170)


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program that must succeed; return what it printed."""
    done = ran(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a venv that was empty before this wheel, and a kernel to run lessons, were installed."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    programs = Path(sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})["scripts"])
    install = ("-m", "pip", "install", "--quiet", wheel, "ipykernel", "nbclient")
    done = ran(programs / PYTHON, *install, cwd=folder)
    if any(sign in done.stderr for sign in UNREACHABLE):
        lacking("no package index can be reached")
    assert done.returncode == 0, done.stdout + done.stderr
    return programs


def test_the_wheel_has_the_lessons_and_the_browsers_files(wheel: Path) -> None:
    """Every notebook and every static file of the checkout is inside."""
    names = set(zipfile.ZipFile(wheel).namelist())
    lessons = {f"claude_lab/lessons/{path.name}" for path in ROOT.glob("notebooks/[!.]*.ipynb")}
    static = {f"claude_lab/static/{path.name}" for path in ROOT.glob("claude_lab/static/*.*")}
    assert lessons
    assert static
    assert lessons | static | {"claude_lab/py.typed", "claude_lab/cli.py"} <= names


def test_the_wheel_has_nothing_that_a_run_left_behind(wheel: Path) -> None:
    """No caches, no checkpoints, no copies that a test made."""
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if "__pycache__" in name or "/." in name or "checkpoints" in name]


def test_a_lesson_runs_from_the_wheel(programs: Path, tmp_path: Path) -> None:
    """`claude-lab lessons` writes copies, and one of them runs with the installed package."""
    run(programs / "claude-lab", "lessons", tmp_path / "mine", cwd=tmp_path)
    printed = run(programs / PYTHON, "-c", RUN, tmp_path / "mine" / "01_streaming.ipynb", cwd=tmp_path)
    assert str(programs.parent) in printed


def test_the_wheel_brings_what_its_command_needs(programs: Path, tmp_path: Path) -> None:
    """With nothing else installed the command lists its verbs, and the package says where it is from."""
    assert "lessons" in run(programs / "claude-lab", "--help", cwd=tmp_path)
    where = run(programs / PYTHON, "-c", "import claude_lab; print(claude_lab.__file__)", cwd=tmp_path)
    assert where.startswith(str(programs.parent))
