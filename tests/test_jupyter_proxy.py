"""The doctor behind the real jupyter-server-proxy."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from conftest import lacking

from claude_lab import background
from claude_lab.causes import Cause
from claude_lab.diagnosis import doctor
from claude_lab.probe import Probe
from claude_lab.program import free_port, listens


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Jupyter server's URL, up to the port of what it passes on; it asks for no token."""
    if find_spec("jupyter_server_proxy") is None:
        lacking("jupyter-server-proxy is not installed")
    home, port = tmp_path_factory.mktemp("hub"), free_port()
    places = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "RUNTIME", "DATA")}
    options = {"ServerApp.port": port, "ServerApp.ip": "127.0.0.1", "ServerApp.root_dir": home}
    options |= {"IdentityProvider.token": "", "ServerApp.open_browser": False}
    command = [sys.executable, "-m", "jupyter_server", *(f"--{name}={value}" for name, value in options.items())]
    with (
        (home / "log").open("w") as log,
        subprocess.Popen(
            [*command, *(["--allow-root"] if os.getuid() == 0 else [])],
            env=os.environ | places,
            cwd=home,
            stdout=log,
            stderr=log,
        ) as server,
    ):
        try:
            until = time.monotonic() + 30
            while not listens(port):
                assert server.poll() is None, (home / "log").read_text()
                assert time.monotonic() < until, "the Jupyter server does not listen"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}/proxy"
        finally:
            server.terminate()


def test_the_doctor_names_jupyters_own_proxy(hub: str) -> None:
    """It streams for one Accept header alone: that is the finding, and the cure says which."""
    with background.serve(Probe(), protocol=background.TransportProtocol) as app:
        report = doctor(f"{hub}/{app.port}", hops=[f"{hub}/{app.port}"])

    assert Cause.ACCEPT in [finding.cause for finding in report.findings]
    assert "text/event-stream" in str(report)
