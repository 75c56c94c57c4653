"""Keep the saved notebooks clean: no errors, no widget state, no execution times, pictures of few colors.

python tests/clean_notebooks.py            cleans them in place, and fails where an output is an error
python tests/clean_notebooks.py --check    changes nothing; exits with 1 and a line for each fault
"""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

COLORS = 128
WIDGET = "application/vnd.jupyter.widget-view+json"
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def faults_of(notebook: dict[str, Any]) -> Iterator[str]:
    """Yield what must not be saved in a notebook."""
    if "widgets" in notebook["metadata"]:
        yield "has widget state"
    for number, cell in enumerate(notebook["cells"]):
        if "execution" in cell["metadata"]:
            yield f"cell {number} has execution times"
        if any(WIDGET in output.get("data", {}) for output in cell.get("outputs", ())):
            yield f"cell {number} shows a widget that no kernel holds any more"
        if any(output["output_type"] == "error" for output in cell.get("outputs", ())):
            yield f"cell {number} ended with an error"


def small(picture: str) -> str:
    """Return a base64 PNG with a palette of 128 colors, which is all that a figure needs."""
    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    if image.mode == "P":
        return picture
    page = io.BytesIO()
    image.convert("RGB").quantize(COLORS).save(page, "PNG", optimize=True)
    return base64.b64encode(page.getvalue()).decode() + "\n"


def clean(notebook: dict[str, Any]) -> None:
    """Remove what changes from run to run and says nothing."""
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        cell["metadata"].pop("execution", None)
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            data.pop(WIDGET, None)
            if "image/png" in data:
                data["image/png"] = small(data["image/png"])


def main() -> int:
    """Go through the notebooks; return the exit code."""
    found = 0
    for path in sorted(NOTEBOOKS.glob("[!.]*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if "--check" not in sys.argv:
            clean(notebook)
            path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for fault in faults_of(notebook):
            print(f"{path.name}: {fault}")
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
