"""A real redis-server of the tests' own: a UNIX socket in a directory of its own, nothing saved, stopped by its pid."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import need

WITHIN = 10.0


@contextmanager
def redis_server() -> Iterator[str]:
    """Yield the URL of a Redis that nobody else uses."""
    program = need("redis-server")
    with tempfile.TemporaryDirectory(prefix="lab") as folder:
        path = Path(folder) / "redis.sock"
        options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no", "--dir", folder]
        process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until_there(path)
            yield f"unix://{path}"
        finally:
            process.terminate()
            process.wait(WITHIN)


def wait_until_there(path: Path) -> None:
    """Wait until the socket is there."""
    until = time.monotonic() + WITHIN
    while not path.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"There is no {path} after {WITHIN} seconds.")
        time.sleep(0.005)
