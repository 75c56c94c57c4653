"""Cells: in plain Python and in a terminal's IPython; the real kernels are in `test_kernel`."""

from __future__ import annotations

import subprocess
import sys

from claude_lab import cells

TERMINAL = """
from IPython.core.interactiveshell import InteractiveShell
from claude_lab import cells

class Thing:
    open = True
    def close(self):
        self.open = False

def make(port=0):
    cells.make_room(port)
    thing = Thing()
    cells.remember(thing, port)
    kept.append(thing)
    return thing

kept, shell = [], InteractiveShell.instance()
shell.push({"make": make})
for line in ("make(1)", "make(1)", "make(1), make(1)", "make(2)", "make()", "make()", "make() ", "make(1)"):
    shell.run_cell(line + ";", store_history=True)
print([thing.open for thing in kept])
"""


def test_outside_of_ipython_no_cell_runs() -> None:
    """A script or a test closes nothing behind anybody's back."""
    assert cells.running() is None


def test_in_a_terminal_the_same_words_make_room_on_their_port() -> None:
    """The same line that wants the same port again closes what held it; no other line does, and none without a port."""
    done = subprocess.run([sys.executable, "-c", TERMINAL], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.splitlines()[-1] == str([False, False, *[True] * 7])
