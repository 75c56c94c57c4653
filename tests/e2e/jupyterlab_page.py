"""A real JupyterLab and a real Chromium for the tests that need them; everything started is stopped by its pid."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP lab.example 127.0.0.1",
]
KERNEL_IDLE = """() => {
    const panel = window.jupyterapp?.shell.currentWidget;
    return panel?.sessionContext?.session?.kernel?.status === "idle" && panel.sessionContext.isReady;
}"""
WIDGETS = """() => {
    const {rendermime} = window.jupyterapp.shell.currentWidget.content;
    const factory = rendermime.getFactory("application/vnd.jupyter.widget-view+json");
    return factory?.createRenderer({})._manager.promise;
}"""
"""What keeps a notebook's widgets; until it is restored they wait, and it cannot be restored while a cell runs."""


class Jupyter:
    """A JupyterLab server in `home`, with its own configuration, kernels and port."""

    def __init__(self, home: Path, *, python: str = sys.executable, **environment: str) -> None:
        self.home = home
        self.work = home / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        self.token = secrets.token_hex(16)
        self.python = python
        self.environment = environment

    def __enter__(self) -> Jupyter:
        """Start the server and wait until it says where it listens."""
        places = {f"JUPYTER_{name}_DIR": str(self.home / name.lower()) for name in ("CONFIG", "RUNTIME", "DATA")}
        settings = self.home / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
        keep = {k: v for k, v in os.environ.items() if not k.startswith("CLAUDE_LAB_")}
        env = {**keep, **places, "IPYTHONDIR": str(self.home / "ipython"), "PYTHONPATH": str(ROOT)}
        env |= {"JUPYTERLAB_SETTINGS_DIR": str(self.home / "settings"), **self.environment}
        options = {
            "ServerApp.port": 0,
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.root_dir": self.work,
            "IdentityProvider.token": self.token,
            "ServerApp.open_browser": False,
            "ServerApp.allow_remote_access": True,
            "LabApp.expose_app_in_browser": True,
            "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        if os.getuid() == 0:
            arguments.append("--allow-root")
        self.process = subprocess.Popen(
            [self.python, "-m", "jupyterlab", *arguments],
            env=env,
            cwd=self.work,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.url = self._wait_for_url()
        self._wait_until_it_listens()
        return self

    def _wait_for_url(self) -> str:
        log = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            log.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                self._drain = threading.Thread(target=self.process.stderr.read, daemon=True)
                self._drain.start()
                return found[0]
        raise RuntimeError("JupyterLab did not start:\n" + "".join(log))

    def _wait_until_it_listens(self) -> None:
        """It says its address a moment before it listens."""
        port = int(self.url.rpartition(":")[2])
        for _ in range(200):
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                return
            time.sleep(0.05)
        raise RuntimeError(f"JupyterLab does not listen at {self.url}.")

    def __exit__(self, *error: object) -> None:
        """Stop the server and the kernels it started: they are one process group."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(8)
                break
        self._drain.join(2)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def notebook(self, name: str, *cells: str) -> str:
        """Write a notebook of code cells and return its URL."""
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(book, self.work / name)
        return self.address(name)

    def address(self, name: str) -> str:
        """Return the URL at which a page opens this notebook alone, in simple mode."""
        return f"{self.url}/doc/tree/{name}?reset&token={self.token}"

    def saved(self, name: str) -> dict[str, Any]:
        """Return a notebook as it stands on the disk."""
        return json.loads((self.work / name).read_text())


@contextlib.contextmanager
def browser(profile: Path, **options: Any) -> Iterator[Any]:
    """Yield a Chromium context with a fresh profile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path="/usr/bin/chromium",
            args=FLAGS,
            viewport={"width": 1100, "height": 820},
            **options,
        )
        context.set_default_timeout(30_000)
        try:
            yield context
        finally:
            context.close()


class Page:
    """One notebook open in a page of JupyterLab."""

    def __init__(self, context: Any, url: str) -> None:
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._hear)
        self.page.goto(url)
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        self.page.wait_for_function(KERNEL_IDLE)
        self.page.wait_for_function(f"() => Boolean(({WIDGETS})())")
        widgets = self.page.evaluate_handle(WIDGETS)
        self.page.wait_for_function("widgets => widgets.restoredStatus", arg=widgets)

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def cell(self, index: int) -> Any:
        """Return the locator of a code cell."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(index)

    def start(self, index: int) -> None:
        """Run a cell without waiting for its end."""
        self.cell(index).locator(".cm-content").click()
        handle, before = self.cell(index).locator(".jp-InputPrompt").element_handle(), self.prompt(index)
        self.page.keyboard.press("Control+Enter")
        self.page.wait_for_function("([prompt, before]) => prompt.innerText !== before", arg=[handle, before])

    def prompt(self, index: int) -> str:
        """Return a cell's prompt, such as "[*]:" or "[3]:"."""
        return str(self.cell(index).locator(".jp-InputPrompt").inner_text())

    def wait_idle(self, index: int, seconds: float = 30) -> None:
        """Wait until a cell has a number."""
        handle = self.cell(index).locator(".jp-InputPrompt").element_handle()
        self.page.wait_for_function("p => /\\[\\d+\\]/.test(p.innerText)", arg=handle, timeout=seconds * 1000)

    def run(self, index: int, seconds: float = 30) -> None:
        """Run a cell and wait for its end."""
        self.start(index)
        self.wait_idle(index, seconds)

    def output(self, index: int) -> str:
        """Return the text of a cell's output."""
        return str(self.cell(index).locator(".jp-Cell-outputArea").inner_text())

    def interrupt(self) -> None:
        """Press the toolbar's interrupt button."""
        self.page.locator("[data-jp-item-name='interrupt']").first.click()

    def save(self) -> None:
        """Save the notebook, and wait until it is on the disk."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")

    def theme(self, name: str) -> None:
        """Change the theme, "JupyterLab Dark" or "JupyterLab Light"."""
        command = "([name]) => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})"
        self.page.evaluate(command, [name])
        dark = "false" if "Light" not in name else "true"
        self.page.wait_for_selector(f"[data-jp-theme-light='{dark}']", state="attached")
        self.page.wait_for_timeout(400)

    def reload(self) -> None:
        """Reload the page, and wait for its kernel."""
        self.page.reload()
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell")

    def shut(self) -> None:
        """Shut the kernel down and close the page."""
        with contextlib.suppress(Exception):
            self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.page.close()

    def violations(self, axe: str, selector: str) -> list[str]:
        """Return what axe-core finds wrong under `selector`."""
        if not self.page.evaluate("() => Boolean(window.axe)"):
            self.page.evaluate(f"() => {{ const module = undefined; {axe} }}")
        found = self.page.evaluate("selector => window.axe.run(selector)", selector)
        return [f"{rule['id']}: {rule['help']}" for rule in found["violations"]]
