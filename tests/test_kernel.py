"""The lab in a real Jupyter kernel: interrupts, re-run cells, restarts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import soon
from jupyter_client.manager import start_new_kernel

SETUP = """
from claude_lab import Lab, Scenario, faults
from claude_lab.pacing import Pace
"""
HELD = "lab = Lab(Scenario([faults.Stall(after=5, seconds=60)]))"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    """A kernel with the lab imported, shut down afterwards."""
    monkeypatch.setenv("CLAUDE_LAB_VIEW", "html")
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        assert said(client, SETUP) == ""
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def said(client: Any, code: str, *, during: Any = None) -> str:
    """Run a cell and return what it printed or raised; `during` is called once it has begun to show something."""
    found: list[str] = []

    def hear(message: Any) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            found.append(content["text"])
        elif message["msg_type"] == "error":
            found.append("\n".join(content["traceback"]))
        elif message["msg_type"] == "update_display_data" and during is not None and during not in done:
            done.append(during)
            during()

    done: list[Any] = []
    client.execute_interactive(code, timeout=30, output_hook=hear)
    return "".join(found)


def is_open(url: str) -> bool:
    """Whether something listens there."""
    parts = urlsplit(url)
    with socket.socket() as sock:
        return sock.connect_ex((parts.hostname, parts.port)) == 0


def test_an_interrupt_stops_the_upstream_and_says_one_sentence(kernel: tuple[Any, Any]) -> None:
    """The kernel's interrupt ends the cell with one line, and the fake sees its stream closed; what came is kept."""
    manager, client = kernel
    said(client, HELD)

    told = said(client, "run = lab.stream('Why is the sky blue?')", during=manager.interrupt_kernel)
    settled = "lab.runs[-1].wait(30); lab.fake.journal.settle()"
    after = said(client, f"{settled}; print(lab.runs[-1].status, lab.relay.runs.open, lab.fake.journal.open)")

    assert "the run was stopped after" in told
    assert "Traceback" not in told
    assert after.split() == ["stopped", "0", "0"]


def cell(client: Any, name: str, code: str) -> str:
    """Run a cell by its name, as JupyterLab does."""
    client.session.metadata = {"cellId": name}
    try:
        return said(client, code).strip()
    finally:
        client.session.metadata = {}


def test_an_interrupt_of_an_async_cell_is_one_sentence_too(kernel: tuple[Any, Any]) -> None:
    """The cell's task is cancelled, as `await` must be; the notebook shows a line, and the upstream is closed."""
    manager, client = kernel
    said(client, HELD)

    told = said(client, "run = await lab.astream('Why is the sky blue?')", during=manager.interrupt_kernel)
    after = said(client, "lab.runs[-1].wait(30); print(lab.runs[-1].status, lab.relay.runs.open)")

    assert "the run was stopped after" in told
    assert "Traceback" not in told
    assert len(told.strip().splitlines()) == 1
    assert after.split() == ["stopped", "0"]


KEPT = "labs = globals().setdefault('labs', []); labs.append(Lab()); print(labs[-1].url)"
TWO = "made = [Lab(), Lab()]; labs.extend(made); print(*[lab.url for lab in made])"


def test_running_the_cell_again_edited_or_not_replaces_its_labs(kernel: tuple[Any, Any]) -> None:
    """The labs of the same cell's earlier run are closed, though somebody holds them; those of one run are all open."""
    _, client = kernel

    first, second = cell(client, "a", KEPT), cell(client, "a", KEPT)
    assert [is_open(url) for url in (first, second)] == [False, True]
    edited = cell(client, "a", TWO).split()
    assert [is_open(url) for url in (second, *edited)] == [False, True, True]


def test_cells_never_close_each_others_labs(kernel: tuple[Any, Any]) -> None:
    """Cells of the same words, a function and a `with` that two cells share, and code that belongs to no cell."""
    _, client = kernel
    function = (
        "def make(name):\n    globals()[name] = Lab()\n    with Lab() as other: pass\n    return globals()[name].url"
    )
    thread = "import threading\nwork = threading.Thread(target=make, args=('late',))\nwork.start(); work.join()"
    task = "import asyncio\nasync def later(): return make('task')\nurl = await asyncio.ensure_future(later())"

    assert cell(client, "f", function) == ""
    urls = [cell(client, "a", KEPT), cell(client, "b", KEPT)]
    urls += [cell(client, "c", "print(make('c'))"), cell(client, "d", "print(make('d'))")]
    urls += [cell(client, "e", f"{code}\nprint({shown})") for code, shown in ((thread, "late.url"), (task, "url"))]

    assert [is_open(url) for url in urls] == [True] * 6


def test_a_cell_without_a_name_makes_room_on_the_port_that_it_takes_again(kernel: tuple[Any, Any]) -> None:
    """As in a console: the same words want the same port again, and get it; without a port nothing is closed."""
    _, client = kernel
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    told = [said(client, f"p = Lab(port={port}); print(p.url)").strip() for _ in range(2)]
    kept = [said(client, KEPT).strip() for _ in range(2)]

    assert told[0] != told[1]
    assert [url.split("/")[2] for url in told] == [f"127.0.0.1:{port}"] * 2
    assert [is_open(url) for url in (told[1], *kept)] == [True] * 3


def test_a_named_cell_takes_its_port_again_although_it_was_edited(kernel: tuple[Any, Any]) -> None:
    """The old lab goes before the new one takes the port; a lab that cannot be meant leaves the old one alone."""
    _, client = kernel
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    first = cell(client, "a", f"p = Lab(port={port}); print(p.url)")
    assert "ValueError" in cell(client, "a", f"p = Lab(port={port}, upstream='nobody')")
    assert is_open(first)
    second = cell(client, "a", f"p = Lab(Scenario(pace='instant'), port={port}); print(p.url)")

    assert second.startswith(f"http://127.0.0.1:{port}/")
    assert second != first


def test_nothing_is_left_when_the_kernel_ends(kernel: tuple[Any, Any]) -> None:
    """A restarted kernel leaves no server behind."""
    manager, client = kernel
    url = said(client, "lab = Lab(); print(lab.url)").strip()
    assert is_open(url)

    manager.shutdown_kernel(now=True)

    assert soon(lambda: not is_open(url))


@pytest.mark.parametrize("module", ["nest_asyncio"])
def test_the_lab_survives_nested_loops(kernel: tuple[Any, Any], module: str) -> None:
    """With the kernel's loop patched, sync and async cells stream as before."""
    _, client = kernel

    told = said(
        client,
        f"import {module}; {module}.apply()\n"
        "lab = Lab(Scenario(pace='instant'))\n"
        "one = lab.stream('hi', view='off'); two = await lab.astream('hi', view='off')\n"
        "print(one.status, two.status); lab.check()",
    )

    assert told.strip() == "complete complete"
