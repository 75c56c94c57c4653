"""A server in a process of its own that can be killed and started again: what a crash does to its streams.

Where redis-server and the `redis` package are installed its runs live in a Redis beside it, and survive it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from claude_lab.program import free_port
from claude_lab.recovery import Strategy

WITHIN = 20.0
STEP = 0.005


class CrashError(RuntimeError):
    """The server or its Redis did not start, and why."""


def has_redis() -> bool:
    """Whether a Redis can be started, and spoken to."""
    return shutil.which("redis-server") is not None and importlib.util.find_spec("redis") is not None


@contextmanager
def redis() -> Iterator[str]:
    """Yield the URL of a Redis that nobody else uses: a UNIX socket in a directory of its own, nothing saved.

    Raises CrashError when it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="lab") as folder:
        path = Path(folder) / "redis.sock"
        options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no", "--dir", folder]
        process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + WITHIN
            while not path.exists():
                if process.poll() is not None or time.monotonic() > until:
                    raise CrashError(f"redis-server did not open {path} within {WITHIN:g} seconds; start it by hand.")
                time.sleep(STEP)
            yield f"unix://{path}"
        finally:
            process.terminate()
            process.wait(WITHIN)


class Server:
    """`claude-lab serve` before an upstream, on one port for all its lives; a context manager.

    `keeps_runs` says whether a Redis holds its runs; `lease` is how long, in seconds, a dead server's run waits for
    another, and `recovery` what that one does with it. Raises CrashError when the server does not start.
    """

    def __init__(
        self, upstream: str, *, recovery: Strategy = "continue", lease: float = 0.5, keeps_runs: bool | None = None
    ) -> None:
        self.keeps_runs = has_redis() if keeps_runs is None else keeps_runs
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._stack = ExitStack()
        self._process: subprocess.Popen[str] | None = None
        kept = {name: value for name, value in os.environ.items() if name not in ("TOKEN", "REDIS_URL")}
        settings = {"ANTHROPIC_API_KEY": "none", "LEASE": str(lease), "RECOVERY": recovery}
        self._environment = {**kept, "ANTHROPIC_BASE_URL": upstream, **settings}

    def start(self) -> Self:
        """Begin a life, and wait until it listens."""
        command = [sys.executable, "-m", "claude_lab", "serve", "--port", str(self.port)]
        self._process = subprocess.Popen(
            command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline().startswith("listening on "):
            self.kill()
            raise CrashError(f"No server started on port {self.port}; try `{' '.join(command[1:])}` by hand.")
        return self

    def kill(self) -> None:
        """End this life as nobody could expect: kill -9. Twice is fine."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(WITHIN)
            if process.stdout is not None:
                process.stdout.close()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self.keeps_runs:
                self._environment["REDIS_URL"] = stack.enter_context(redis())
            stack.callback(self.kill)
            self.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()
