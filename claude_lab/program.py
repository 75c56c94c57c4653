"""A real nginx as a process: found, started in milliseconds in a directory of its own, and never left behind.

It runs as whoever runs Python, in one process, and ends with its parent: a shell waits on a pipe from this process
and stops nginx when the pipe closes, also when the kernel dies without a word.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

# nginx becomes the shell's child; when the pipe to the shell closes, nginx and its directory go.
KEEPER = 'folder=$1; shift; "$@" & child=$!; read line; kill -TERM $child 2>/dev/null; wait $child; rm -rf "$folder"'
MAIN = """\
daemon off;
master_process off;
pid nginx.pid;
error_log error.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    client_max_body_size 8m;
    keepalive_requests 1000000;
{http}
}}
"""


class NginxError(RuntimeError):
    """nginx is not installed, refuses its configuration, or did not start."""


@dataclass(frozen=True, slots=True)
class Build:
    """One nginx program: where it is, its version, and what it was built with (the text of `nginx -V`)."""

    path: str
    version: tuple[int, ...]
    text: str

    @property
    def http2(self) -> bool:
        """Whether it speaks HTTP/2."""
        return "--with-http_v2_module" in self.text

    @property
    def tls(self) -> bool:
        """Whether it speaks TLS."""
        return "--with-http_ssl_module" in self.text


def find() -> Build | None:
    """Return the nginx named by NGINX_BIN, else the one on the path or in the usual places, else None."""
    named = os.environ.get("NGINX_BIN")
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"])
    path = shutil.which(named or "nginx", path=places)
    if path is None:
        return None
    text = subprocess.run([path, "-V"], capture_output=True, text=True, timeout=10, check=False).stderr
    found = re.search(r"nginx/(\d+(?:\.\d+)*)", text)
    return Build(path, tuple(map(int, found[1].split("."))), text.strip()) if found else None


class Program:
    """A running nginx with the text of an `http` block, and the files it names beside it; a context manager.

    Raises NginxError when there is none, when `nginx -t` refuses the configuration (with its own words), or when it
    does not listen within `patience` seconds on the port given.
    """

    def __init__(
        self,
        http: str,
        *,
        port: int,
        build: Build | None = None,
        files: Mapping[str, bytes] | None = None,
        patience: float = 20.0,
    ) -> None:
        self.build = build or find() or none_installed()
        self.port = port
        self.prefix = Path()
        self._files = {"nginx.conf": MAIN.format(http=http).encode(), **(files or {})}
        self._patience = patience
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> list[str]:
        """How it is called."""
        return [self.build.path, "-p", str(self.prefix), "-c", "nginx.conf", "-e", "error.log"]

    @property
    def conf(self) -> str:
        """The configuration it runs with."""
        return self._files["nginx.conf"].decode()

    @property
    def log(self) -> str:
        """Its error log so far."""
        path = self.prefix / "error.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def alive(self) -> bool:
        """Whether the process that its pid file names exists."""
        try:
            os.kill(int((self.prefix / "nginx.pid").read_text()), 0)
        except (OSError, ValueError):
            return False
        return True

    def start(self) -> Self:
        """Check the configuration, start, and return once it listens."""
        self.prefix = Path(tempfile.mkdtemp(prefix="claude-lab-nginx-"))
        try:
            (self.prefix / "temp").mkdir()
            for name, data in self._files.items():
                (self.prefix / name).write_bytes(data)
            self._check()
            keeper = ["/bin/sh", "-c", KEEPER, "nginx", str(self.prefix), *self.command]
            self._keeper = subprocess.Popen(
                keeper,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def _check(self) -> None:
        done = subprocess.run([*self.command, "-t"], capture_output=True, text=True, timeout=10, check=False)
        if done.returncode:
            complaint = done.stderr.strip().splitlines()
            raise NginxError(f"nginx refuses its configuration: {complaint[0] if complaint else 'no reason given'}.")

    def _wait(self) -> None:
        deadline = time.monotonic() + self._patience
        while not self.alive or not listens(self.port):
            if time.monotonic() > deadline or "[emerg]" in self.log:
                raise NginxError(f"nginx did not listen on port {self.port}: {self.log.strip()[-300:] or 'no log'}.")
            time.sleep(0.002)

    def stop(self) -> None:
        """Stop it and remove its directory; twice is fine."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            assert keeper.stdin is not None
            keeper.stdin.close()
            try:
                keeper.wait(timeout=3)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(OSError):
                    os.killpg(keeper.pid, signal.SIGKILL)
                keeper.wait(timeout=3)
        if self.prefix != Path():
            shutil.rmtree(self.prefix, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def none_installed() -> Build:
    """Say how to get one."""
    raise NginxError("No nginx is installed; install one (apt install nginx, brew install nginx) or set NGINX_BIN.")


def free_port() -> int:
    """Return a port that is free at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def listens(port: int) -> bool:
    """Whether something accepts connections on 127.0.0.1 at this port."""
    with socket.socket() as sock:
        sock.settimeout(0.2)
        return sock.connect_ex(("127.0.0.1", port)) == 0
