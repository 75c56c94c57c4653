"""Write the table of floors in docs/design.md, from pyproject.toml and each module's first sentence.

python docs/make_floors.py            writes the table
python docs/make_floors.py --check    exits with 1 when the committed table is another
"""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "design.md"
BEGIN, END = "<!-- floors: made by docs/make_floors.py -->\n", "<!-- end of floors -->\n"


def purpose(module: str) -> str:
    """Return the first sentence of a module, or that it is not written yet."""
    path = ROOT / "claude_lab" / f"{module}.py"
    if not path.exists():
        return "*(to come)*"
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0].replace("|", "\\|")


def table() -> str:
    """Return the floors, highest first, one row per module."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    rows = ["| floor | module | what it is |", "|---|---|---|"]
    contract = next(each for each in tools["importlinter"]["contracts"] if each["type"] == "layers")
    floors = [[name.strip(" ()") for name in layer.split(":")] for layer in contract["layers"]]
    for height, floor in zip(range(len(floors) - 1, -1, -1), floors, strict=True):
        rows += [f"| {height} | `{module}` | {purpose(module)} |" for module in floor]
    return "\n".join(rows) + "\n"


def main() -> int:
    """Write or compare; return the exit code."""
    text = TARGET.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    made = f"{before}{BEGIN}{table()}{END}{after}"
    if "--check" not in sys.argv:
        TARGET.write_text(made, encoding="utf-8")
    elif made != text:
        print("The floors in docs/design.md are out of date; run python docs/make_floors.py.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
