"""A Node.js program that is told a line of JSON and answers with one: the real npm packages, asked from Python."""

from __future__ import annotations

import json
import os
import select
import subprocess
from typing import Any


class NodeProgram:
    """A running program; whoever starts it calls `close`."""

    def __init__(self, *command: str, **environment: str) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, **environment})

    def tell(self, line: dict[str, Any]) -> dict[str, Any]:
        """Say a line and return the answer, which must come within 20 seconds."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], 20)[0], "the program said nothing for 20 seconds"
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return told

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        self.process.stdout.close()
