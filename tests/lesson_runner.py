"""Runs a lesson and, at each assert, the same cells once more with the assert's cause taken away.

    python tests/lesson_runner.py notebooks/01_streaming.ipynb

Prints one JSON object: `asserts` (all there are, each with its cell), `outcomes` (one for each cause: "fails", or what
happened instead), `fallen` (asserts that fail by themselves) and `broken` (an error of the lesson itself).
A process of its own: a lesson may patch asyncio.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import itertools
import json
import linecache
import sys
import traceback
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any

from lesson_causes import CAUSES, Cause


@dataclass(frozen=True)
class Cell:
    """A code cell without its magics."""

    name: str
    source: str

    @property
    def asserts(self) -> list[str]:
        """The asserts' own text, in order."""
        found = [node for node in ast.walk(tree_of(self.source)) if isinstance(node, ast.Assert)]
        return [segment(self.source, node) for node in sorted(found, key=lambda node: node.lineno)]


def tree_of(source: str) -> ast.Module:
    """Parse a cell, which may await at its top."""
    return compile(source, "cell", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)  # type: ignore[return-value]  # of a tree


def segment(source: str, node: ast.AST) -> str:
    """Return a node's text."""
    return ast.get_source_segment(source, node) or ""


FELL = "__fell__"
FAILS = "fails"
AT_ONCE = 3
ALONE = "nest_asyncio.apply"
"""What a cell says that no replay may run beside: it changes asyncio for all."""
PAUSE = 0.05
"""Between two cells, as in a notebook."""
LEFT_OUT = frozenset({"staircase", "every_attempt", "heatmap", "figure", "RetryTuner", "check"})
"""What only draws, which costs more than all the rest, and what looks for leaks, of which replays have some."""


class Undrawn(ast.NodeTransformer):
    """Takes out what the lessons' own test runs and no assert needs."""

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        """Drop a picture, or a look for leaks."""
        called = node.value.func if isinstance(node.value, ast.Call) else None
        name = getattr(called, "attr", getattr(called, "id", ""))
        return ast.copy_location(ast.Pass(), node) if name in LEFT_OUT else node


class Watched(Undrawn):
    """Takes every assert out but some, which note that they fell and let the cell go on."""

    def __init__(self, source: str, kept: tuple[str, ...] = ()) -> None:
        self.source = source
        self.kept = kept

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        """Keep those few."""
        text = segment(self.source, node)
        if text not in self.kept:
            return ast.copy_location(ast.Pass(), node)
        (watched,) = ast.parse(f"try:\n    pass\nexcept Exception:\n    {FELL}.add({text!r})").body
        assert isinstance(watched, ast.Try)
        watched.body = [node]
        return ast.copy_location(watched, node)


def cells_of(path: Path) -> list[Cell]:
    """Return a notebook's code cells."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return [
        Cell(cell["id"], "\n".join("" if line.startswith(("%", "!")) else line for line in text_of(cell).splitlines()))
        for cell in cells
        if cell["cell_type"] == "code"
    ]


def text_of(cell: dict[str, Any]) -> str:
    """Return a cell's text, however it is stored."""
    return "".join(cell["source"])


def copied(names: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return a namespace of its own with the same values; the lesson's functions look their names up in it."""
    copy = dict(names)
    for name, value in names.items():
        if isinstance(value, FunctionType) and value.__globals__ is own:
            again = FunctionType(value.__code__, copy, value.__name__, value.__defaults__, value.__closure__)
            again.__kwdefaults__ = value.__kwdefaults__
            copy[name] = again
    return copy


async def run(cell: Cell, names: dict[str, Any], kept: Iterable[str]) -> set[str]:
    """Run one cell with some of its asserts; return those that fell."""
    await asyncio.sleep(PAUSE)
    tree = ast.fix_missing_locations(Watched(cell.source, tuple(kept)).visit(tree_of(cell.source)))
    lines = [f"{line}\n" for line in cell.source.splitlines()]
    place = f"<{cell.name} {id(names)}>"  # inspect.getsource reads it there
    linecache.cache[place] = (len(cell.source), None, lines, place)
    names[FELL] = set()
    result = eval(compile(tree, place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.isawaitable(result):
        await result
    fell: set[str] = names[FELL]
    return fell


@dataclass
class Runner:
    """A lesson under way, with a copy of its names from before each cell; the replays run beside it, in threads."""

    cells: list[Cell]
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    before: list[dict[str, Any]] = field(default_factory=list)

    def replay(self, causes: list[Cause], index: int) -> dict[str, str]:
        """Play from the first edited cell to the assert's, for causes with equal edits; return what became of each."""
        try:
            edited = self.edited(causes[0], index)
            kept = {cause.name: self.kept(cause, index, edited[index]) for cause in causes}
        except LookupError as error:
            return {cause.name: str(error.args[0]) for cause in causes}
        names, fell = copied(self.before[min(edited)], self.names), set()

        async def play() -> None:
            for place in range(min(edited), index + 1):
                cell = Cell(self.cells[place].name, edited.get(place, self.cells[place].source))
                fell.update(await run(cell, names, kept.values() if place == index else ()))

        try:
            asyncio.run(play())
            otherwise = "still holds"
        except Exception as error:
            otherwise = f"raises {type(error).__name__} before the assert: {error}"
        fell |= names.get(FELL, set())
        return {name: FAILS if text in fell else otherwise for name, text in kept.items()}

    def edited(self, cause: Cause, index: int) -> dict[int, str]:
        """Return the edited cells by place. Raises LookupError with a sentence."""
        names = [cell.name for cell in self.cells]
        texts = {index: self.cells[index].source}
        for where, old, new in cause.everywhere():
            if where not in names:
                raise LookupError(f"there is no cell {where!r}")
            place = names.index(where)
            source = texts.setdefault(place, self.cells[place].source)
            if source.count(old) != 1:
                raise LookupError(f"{old!r} is {source.count(old)} times in the cell {where!r}, not once")
            texts[place] = source.replace(old, new)
        return texts

    def kept(self, cause: Cause, index: int, source: str) -> str:
        """Return the assert's text. Raises LookupError where it is none, several, or edited."""
        found = [text for text in self.cells[index].asserts if text.startswith(cause.text)]
        if len(found) != 1 or found[0] not in Cell("", source).asserts:
            raise LookupError(f"the edit changes the assert itself, or {cause.text!r} begins {len(found)} asserts")
        return found[0]

    async def lesson(self, causes: list[Cause]) -> dict[str, Any]:
        """Run the lesson as far as it asserts; return each cause's outcome, and the asserts that fall by themselves."""
        replays: list[Future[dict[str, str]]] = []
        fallen: list[str] = []
        broken = None
        last = max(index for index, cell in enumerate(self.cells) if cell.asserts)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for index, cell in enumerate(self.cells[: last + 1]):
                if ALONE in cell.source:
                    wait(replays)
                self.before.append(dict(self.names))
                try:
                    fallen += sorted(await run(cell, self.names, cell.asserts))
                except Exception:
                    broken = traceback.format_exc()
                    break
                here = sorted((cause for cause in causes if cause.cell == cell.name), key=lambda cause: cause.edits)
                for _, group in itertools.groupby(here, key=lambda cause: cause.edits):
                    replays.append(pool.submit(self.replay, list(group), index))
            outcomes = {name: said for replay in replays for name, said in replay.result().items()}
        return {"outcomes": outcomes, "fallen": fallen, "broken": broken}


def main() -> None:
    """Run the lesson that is named."""
    path = Path(sys.argv[1])
    runner = Runner(cells_of(path))
    asserts = [[cell.name, text] for cell in runner.cells for text in cell.asserts]
    with contextlib.redirect_stdout(io.StringIO()):
        told = asyncio.run(runner.lesson([cause for cause in CAUSES if cause.lesson == path.name[:2]]))
    print(json.dumps({"asserts": asserts, **told}), flush=True)


if __name__ == "__main__":
    main()
