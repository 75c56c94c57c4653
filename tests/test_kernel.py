"""The lab in a real Jupyter kernel: interrupts, re-run cells, restarts."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from jupyter_client.manager import start_new_kernel

SETUP = """
from claude_lab import Lab, Scenario, faults
from claude_lab.pacing import Pace
"""


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
    said(client, "lab = Lab()")

    told = said(client, "run = lab.stream('Why is the sky blue?')", during=manager.interrupt_kernel)
    after = said(client, "print(lab.runs[-1].status, lab.relay.runs.open, lab.fake.journal.open)")

    assert "the run was stopped after" in told
    assert "Traceback" not in told
    assert after.split() == ["stopped", "0", "0"]


def test_running_the_cell_again_replaces_its_lab(kernel: tuple[Any, Any]) -> None:
    """The lab of the same cell's earlier run is closed, although IPython may still hold it."""
    _, client = kernel
    cell = "lab = Lab(); labs = globals().setdefault('labs', []); labs.append(lab); print(lab.url)"

    first, second = said(client, cell).strip(), said(client, cell).strip()

    assert not is_open(first)
    assert is_open(second)


def test_nothing_is_left_when_the_kernel_ends(kernel: tuple[Any, Any]) -> None:
    """A restarted kernel leaves no server behind."""
    manager, client = kernel
    url = said(client, "lab = Lab(); print(lab.url)").strip()
    assert is_open(url)

    manager.shutdown_kernel(now=True)
    until = time.monotonic() + 5
    while is_open(url) and time.monotonic() < until:
        time.sleep(0.05)

    assert not is_open(url)


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
