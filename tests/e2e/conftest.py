"""One JupyterLab and one browser for all browser tests: each start costs seconds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.bare_server import environment_without
from e2e.jupyterlab_page import Jupyter, Page, browser

ALWAYS = {"test_text_grows_and_stop_stops"}
HERE = Path(__file__).parent
PATIENT = {"CLAUDE_LAB_READY_WITHIN": "30"}
"""What a kernel is told where live views must come up, however slow the machine."""
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"


def missing(reason: str) -> None:
    """Skip, or fail where CI must have installed everything."""
    if os.environ.get("CLAUDE_LAB_NEED_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run one browser test everywhere, and all of them in CI or when asked: together they take minutes."""
    if {"CLAUDE_LAB_NEED_ALL", "CLAUDE_LAB_E2E"} & set(os.environ):
        return
    for item in items:
        if HERE in item.path.parents and item.name not in ALWAYS:
            item.add_marker(pytest.mark.skip(reason="set CLAUDE_LAB_E2E=1 to run all the browser tests"))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for servers and profiles."""
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="session")
def lab(home: Path) -> Iterator[Jupyter]:
    """A JupyterLab as users have it."""
    if not Path("/usr/bin/chromium").exists():
        missing("chromium is not installed; apt-get install chromium")
    with Jupyter(home / "lab", PYTHONPATH=f"{HERE}{os.pathsep}{HERE.parents[1]}", **PATIENT) as server:
        yield server


@pytest.fixture(scope="session")
def bare(home: Path) -> Iterator[Jupyter]:
    """A JupyterLab whose own environment has no anywidget; its kernel's has."""
    python = environment_without("anywidget", home / "bare-environment")
    with Jupyter(home / "bare", python=python, PYTHONPATH=f"{HERE}{os.pathsep}{HERE.parents[1]}") as server:
        yield server


@pytest.fixture(scope="session")
def chromium(home: Path) -> Iterator[Any]:
    """A browser with a fresh profile."""
    with browser(home / "profile") as context:
        yield context


@pytest.fixture
def open_notebook(lab: Jupyter, chromium: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """Return a function that writes a notebook of the given cells and opens it."""
    pages: list[Page] = []

    def open_one(*cells: str, server: Jupyter = lab) -> Page:
        page = Page(chromium, server.notebook(f"{request.node.name}-{len(pages)}.ipynb", *cells))
        pages.append(page)
        return page

    yield open_one
    for page in pages:
        page.shut()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    if not AXE.exists():
        missing("axe-core is not installed; npm ci --prefix tests/e2e")
    return AXE.read_text()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures go."""
    place = HERE / "screenshots"
    place.mkdir(exist_ok=True)
    return place
