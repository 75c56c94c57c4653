"""Cells: which notebook cell runs, so that what its earlier run left behind makes room for the new.

A front end that names its cells (`cellId` in the request, as JupyterLab and VS Code send it) tells them apart whatever
they say: what a cell made before is closed when it makes something again. Where none is named, as under nbclient or in
a terminal, cells of one text may be one or two: only what holds the very port that is wanted is closed.
Only what a cell's own code makes, itself or by what it calls, counts as made there: a thread, a task or a widget's
callback may run at any time, and belongs to no cell.
"""

from __future__ import annotations

import linecache
import sys
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol
from weakref import WeakKeyDictionary


class Closing(Protocol):
    """What can be closed."""

    def close(self) -> None:
        """Close it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The running cell: its name or text, whether that is a name, and what tells this run of it from the next."""

    key: str
    named: bool
    run: object


@dataclass(slots=True)
class Made:
    """What a run of a cell made, each with the port that was asked for; 0 for any."""

    run: object
    things: WeakKeyDictionary[Any, int] = field(default_factory=WeakKeyDictionary)


_made: dict[str, Made] = {}


def make_room(port: int = 0) -> None:
    """Close what earlier runs of the running cell made; outside of IPython nothing. Call it before taking a port."""
    cell = running()
    made = None if cell is None else _made.get(cell.key)
    if cell is None or made is None or made.run == cell.run:
        return
    for thing, held in list(made.things.items()):
        if cell.named or (port and held == port):
            del made.things[thing]
            thing.close()


def remember(thing: Closing, port: int = 0) -> None:
    """Keep in mind, without keeping it alive, that the running cell made this."""
    cell = running()
    if cell is not None:
        made = _made.setdefault(cell.key, Made(cell.run))
        made.run, made.things[thing] = cell.run, port


def running() -> Cell | None:
    """Return the cell whose own code called, by whatever way; None outside of IPython, in a thread and in a task."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return None
    top = outermost(sys._getframe(1), shell.user_global_ns)
    if top is None or top.f_code.co_name != "<module>":
        return None
    request = (shell.get_parent() if hasattr(shell, "get_parent") else None) or {}
    run = request.get("header", {}).get("msg_id") or shell.execution_count
    if name := request.get("metadata", {}).get("cellId"):
        return Cell(f"name {name}", named=True, run=run)
    file = top.f_code.co_filename
    return Cell("text " + ("".join(linecache.getlines(file)) or file), named=False, run=run)


def outermost(frame: FrameType | None, names: dict[str, Any]) -> FrameType | None:
    """Return the outermost frame that runs over these global names, or None."""
    found = None
    while frame is not None:
        found, frame = frame if frame.f_globals is names else found, frame.f_back
    return found
