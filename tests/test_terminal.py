"""How a command ends: at any moment, and soon."""

import subprocess
import sys

STOPPED_AT_EVERY_LINE = """
import signal, sys
from types import SimpleNamespace
from claude_lab import terminal

def stopped_at(line):
    \"\"\"Serve, and be told to stop in that line of the wait; return whether it got there.\"\"\"
    left = line

    def trace(frame, event, _):
        nonlocal left
        left -= event == "line"
        if event == "line" and left == 0:
            signal.raise_signal(signal.SIGTERM)
        return trace

    terminal.click.echo = lambda text: sys.settrace(trace)
    terminal.serve_until_stopped(lambda: SimpleNamespace(url="here", stop=lambda: sys.settrace(None)))
    return left <= 0

for line in range(1, 21):
    print(stopped_at(line), flush=True)
"""


def test_a_signal_ends_a_server_whatever_it_is_doing():
    """Also in the middle of its wait, where a lock is held that the handler must not ask for."""
    command = [sys.executable, "-c", STOPPED_AT_EVERY_LINE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert said == "True\n" * 20
    assert process.returncode == 0
