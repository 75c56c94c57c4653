"""Make `live_view.png`, the picture of the README: python docs/make_picture.py (needs JupyterLab and Chromium)."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from e2e.jupyterlab_page import Jupyter, Page, browser  # noqa: E402

CELL = '''
import asyncio
from claude_lab.background import portal
from claude_lab.trace import Trace
from claude_lab.widgets import TokenStream

ANSWER = """Sunlight is a mixture of all colors. On its way through the air it meets molecules far smaller than its
waves, and these send blue light, whose waves are short, in all directions about five times as strongly as red.
So wherever you look, away from the sun, it is mostly the scattered blue that reaches your eye. 🌤

At sunset the light takes the long way: by the time it arrives the blue has gone elsewhere, and what is left is red.
"""

async def stream():
    trace = Trace()
    trace.listeners.append(view.push)
    trace.add("retry", {"error": "overloaded", "attempt": 1, "wait": 0.8}, at=0.2)
    await asyncio.sleep(1.3)
    for i, word in enumerate(ANSWER.split(" ")):
        trace.add("delta", word + " ")
        await asyncio.sleep(0.9 if i == 55 else 0.03)

view = TokenStream(title="Why is the sky blue?", on_stop=print).show()
portal().submit(stream());
'''


def main() -> None:
    """Show a stream that was retried once and paused once, and photograph it a moment before its end."""
    home = Path(tempfile.mkdtemp(prefix="claude-lab-picture-"))
    with (
        Jupyter(home / "lab", PYTHONPATH=str(ROOT)) as lab,
        browser(home / "profile", device_scale_factor=2) as context,
    ):
        page = Page(context, lab.notebook("picture.ipynb", CELL))
        page.start(0)
        page.page.wait_for_function("() => document.querySelector('.cl-live')?.textContent.includes('gone elsewhere')")
        page.page.locator(".claude-lab").screenshot(path=ROOT / "docs" / "live_view.png")
        page.shut()


if __name__ == "__main__":
    main()
