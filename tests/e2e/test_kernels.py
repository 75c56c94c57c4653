"""Stop and interrupt, on the newest ipykernel and on 6.29, which runs comm messages and async cells differently."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.conftest import PATIENT, missing
from e2e.jupyterlab_page import ROOT, Jupyter, Page

SETUP = "from streams import Stream\nimport time"
TEXT = ".cl-live .cl-text[role=region]"
OLD = ROOT / ".ipykernel-6.29"
WAYS = {
    "sync": "s.run();",
    "async": "await s.arun();",
    "detached": "s.start();",
    "busy": "s.start()\nend = time.time() + 300\nwhile not s.task.done() and time.time() < end: pass",
}
CASES = [
    f"s = Stream({deltas}, gap=.01, stall={stall})\n{cell}"
    for cell in WAYS.values()
    for deltas, stall in ((4000, False), (20, True))
]
SILENT = """
import asyncio
from claude_lab.watched import Watched
async def silent():
    yield 'one'
    await asyncio.sleep(3600)
"""


@pytest.fixture(scope="module", params=["newest", "6.29"])
def kernel(request: pytest.FixtureRequest, home: Path) -> Iterator[Jupyter]:
    """A JupyterLab with this ipykernel."""
    if request.param == "newest":
        yield request.getfixturevalue("lab")
        return
    if not OLD.exists():
        missing(f"no {OLD.name}; .venv/bin/python -m pip install --no-deps --target {OLD.name} ipykernel==6.29.5")
    path = os.pathsep.join(map(str, (OLD, Path(__file__).parent, ROOT)))
    with Jupyter(home / "old", PYTHONPATH=path, **PATIENT) as server:
        yield server


def test_stop_reaches_a_stream_in_every_state_of_the_kernel(
    open_notebook: Callable[..., Page], kernel: Jupyter
) -> None:
    """Sync, async, detached, busy, each flowing and stalled: the stream is closed and its view says so."""
    version = "import ipykernel\nprint(ipykernel.__version__)"
    page = open_notebook(
        SETUP, *CASES, "print('stopped:', s.stopped, s.task is None or s.task.done())", version, server=kernel
    )
    for cell in (0, len(CASES) + 2):
        page.run(cell)
    told = []
    for index in range(1, len(CASES) + 1):
        page.start(index)
        page.page.wait_for_function(f"() => document.querySelector('{TEXT}')?.textContent.includes('w00019')")
        page.page.click(".cl-stop")
        page.wait_idle(index)
        page.page.wait_for_selector(".cl-live", state="detached")
        page.run(len(CASES) + 1)
        told.append((page.output(len(CASES) + 1).strip(), "Stopped here." in page.output(index)))

    assert told == [("stopped: True True", True)] * len(CASES)
    assert page.output(len(CASES) + 2).startswith("6.29" if "old" in str(kernel.home) else "7.")


def test_an_interrupt_reaches_a_silent_watched_source(open_notebook: Callable[..., Page], kernel: Jupyter) -> None:
    """The kernel's interrupt ends an await on a source that says nothing, which plain ipykernel never does."""
    page = open_notebook(SILENT, "async for t in Watched(silent()): pass", server=kernel)
    page.run(0)
    page.start(1)
    page.page.wait_for_function(f"() => document.querySelector('{TEXT}')?.textContent.includes('one')")
    page.interrupt()
    page.wait_idle(1)

    page.page.wait_for_selector(".cl-still")
    assert "Stopped here." in page.output(1)
