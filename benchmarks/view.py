"""What the live view costs and how fast it is, beside the ways others show tokens: python benchmarks/view.py

Real JupyterLab, real kernel, headless Chromium. `--quick` takes five seconds a row instead of twenty.
Bytes and messages are those of the kernel's WebSocket; busy is the browser's main thread (DevTools' TaskDuration);
frames are those in which the text had changed; latency is from the token's making to the frame that has it.
A line of the text ends every 60 tokens, or nowhere where the row says so.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from e2e.bare_server import environment_without  # noqa: E402
from e2e.jupyterlab_page import Jupyter, Page, browser  # noqa: E402

SETUP = """
import asyncio, time
from claude_lab.background import portal
from claude_lab.trace import Trace
from claude_lab.widgets import TokenStream

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

made, line = 0, 60

def stamp():
    global made
    made += 1
    ms, text = int(time.time() * 1000) % 36**4, ""
    for _ in range(4):
        ms, digit = divmod(ms, 36)
        text = DIGITS[digit] + text
    return text + ("\\n" if made % line == 0 else " ")

def paced(count, rate):
    start = time.perf_counter()
    for i in range(count):
        late = start + i / rate - time.perf_counter() if rate else 0
        if late > 0:
            time.sleep(late)
        yield stamp()

async def push(view, count, rate, stall=False):
    trace, loop = Trace(), asyncio.get_running_loop()
    trace.listeners.append(view.push)
    start = loop.time()
    try:
        for i in range(count):
            late = start + i / rate - loop.time() if rate else 0
            if late > 0:
                await asyncio.sleep(late)
            trace.add("delta", stamp())
        if stall:
            await asyncio.sleep(3600)
        trace.add("done", {"stop_reason": "end_turn", "usage": {"output_tokens": count}})
    except asyncio.CancelledError:
        closed.append(time.time())
        trace.add("done", {"stop_reason": "stopped", "usage": {}})

closed = []

def start(count, rate, stall=False):
    def stop():
        portal().loop.call_soon_threadsafe(task.cancel)
    view = TokenStream(on_stop=stop).show()
    async def main():
        return asyncio.create_task(push(view, count, rate, stall))
    task = portal().run(main())
    return task

def wait(*tasks):
    while not all(task.done() for task in tasks):
        time.sleep(0.02)

async def finished(task):
    while not task.done():
        await asyncio.sleep(0.05)
"""
WAYS = {
    "claude_lab, one view": ("wait(start({n}, {rate}))", ".claude-lab .cl-text[role=region]"),
    "claude_lab, three views": ("wait(*[start({n}, {rate}) for _ in range(3)])", ".claude-lab .cl-text[role=region]"),
    "claude_lab, no line ends": ("line = 10**9; wait(start({n}, {rate}))", ".claude-lab .cl-text[role=region]"),
    "print(end='')": ("for t in paced({n}, {rate}): print(t, end='')", ".jp-OutputArea-output pre"),
    "print(end='', flush=True)": (
        "for t in paced({n}, {rate}): print(t, end='', flush=True)",
        ".jp-OutputArea-output pre",
    ),
    "Markdown display.update": (
        "from IPython.display import Markdown, display\ntext = ''\nhandle = display(Markdown(''), display_id=True)\n"
        "for t in paced({n}, {rate}):\n    text += t\n    handle.update(Markdown(text))",
        ".jp-RenderedMarkdown",
    ),
    "Textarea.value": (
        "import ipywidgets\narea = ipywidgets.Textarea()\ndisplay(area)\nfor t in paced({n}, {rate}): area.value += t",
        ".widget-textarea textarea",
    ),
    "chatlas": (
        "from chatlas._display import EchoDisplayOptions, IPyMarkdownDisplay\n"
        "options = {{**dict.fromkeys(EchoDisplayOptions.__annotations__), 'css_styles': {{}}}}\n"
        "with IPyMarkdownDisplay(options) as shown:\n"
        "    for t in paced({n}, {rate}): shown.echo(t)",
        ".jp-RenderedMarkdown",
    ),
}
PROBE = """selector => {
    const probe = window.probe = {frames: 0, seen: 0, late: [], first: 0, last: 0};
    const look = () => {
        probe.waiting = false;
        const node = [...document.querySelectorAll(selector)].at(-1);
        const text = node ? node.value ?? node.textContent : "";
        if (text.length <= probe.seen) return;
        const now = Date.now() % 36**4;
        const made = text.slice(probe.seen).split(/\\s/).filter(token => token.length === 4);
        probe.late.push(...made.map(token => now - parseInt(token, 36)));
        probe.seen = text.length; probe.frames += 1; probe.last = performance.now(); probe.first ||= probe.last;
    };
    // after the frame that has the change: looking costs nothing while nothing changes
    const changed = () => probe.waiting ||= (requestAnimationFrame(() => setTimeout(look)), true);
    new MutationObserver(changed).observe(document.body, {subtree: true, childList: true, characterData: true});
    const poll = () => { changed(); probe.id = requestAnimationFrame(poll); };
    if (selector.includes("textarea")) poll(); // a value that is set is no mutation
}"""


class Meter:
    """Counts what a page receives, and how long its main thread works."""

    def __init__(self, page: Page) -> None:
        self.page = page.page
        self.cdp = self.page.context.new_cdp_session(self.page)
        self.cdp.send("Performance.enable")
        self.cdp.send("Network.enable")
        self.cdp.on("Network.webSocketFrameReceived", self.count)
        self.messages = self.size = 0

    def count(self, event: dict[str, Any]) -> None:
        """Count one frame; a binary one comes as base64."""
        payload = event["response"]["payloadData"]
        self.messages += 1
        self.size += len(payload) * 3 // 4 if event["response"]["opcode"] == 2 else len(payload)

    def busy(self) -> float:
        """Return the seconds the main thread has worked."""
        metrics = self.cdp.send("Performance.getMetrics")["metrics"]
        return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def measure(lab: Jupyter, context: Any, name: str, *, count: int, rate: int, limit: float) -> dict[str, Any]:
    """Run one way of showing tokens, and return its figures; what is not drawn after `limit` seconds is not counted."""
    cell, selector = WAYS[name]
    page = Page(context, lab.notebook(f"way-{time.time_ns()}.ipynb", SETUP, cell.format(n=count, rate=rate)))
    page.run(0)
    meter = Meter(page)
    page.page.evaluate(PROBE, selector)
    began, busy = time.time(), meter.busy()
    page.start(1)
    ended = False
    while not ended and time.time() - began < limit:
        page.page.wait_for_timeout(50)
        ended = "*" not in page.prompt(1)
    took = time.time() - began
    page.page.wait_for_timeout(1500)
    used = meter.busy() - busy
    probe = page.page.evaluate("() => (cancelAnimationFrame(probe.id), probe)")
    lengths = "nodes => nodes.map(node => (node.value ?? node.textContent).length).reduce((a, b) => a + b, 0)"
    shown = page.page.locator(selector).evaluate_all(lengths) / (3 if "three" in name else 1)
    page.shut()
    late = sorted(probe["late"])
    span = (probe["last"] - probe["first"]) / 1000
    return {
        "messages": meter.messages,
        "size": meter.size,
        "fps": probe["frames"] / span if span > 0.2 else float("nan"),
        "busy": used / (took + 1.5),
        "p50": statistics.median(late) if late else float("nan"),
        "p95": late[int(0.95 * (len(late) - 1))] if late else float("nan"),
        "shown": shown / (5 * count),
        "took": took if ended else float("inf"),
    }


def show(title: str, rows: dict[str, dict[str, Any]]) -> None:
    """Print one table."""
    print(f"\n{title}")
    print(
        f"{'':28}{'messages':>9}{'MB':>8}{'frames/s':>9}{'busy':>7}{'p50 ms':>8}{'p95 ms':>8}{'shown':>8}{'cell s':>8}"
    )
    for name, row in rows.items():
        if row:
            print(
                f"{name:28}{row['messages']:9}{row['size'] / 1e6:8.2f}{row['fps']:9.1f}{row['busy']:7.0%}"
                f"{row['p50']:8.0f}{row['p95']:8.0f}{row['shown']:8.1%}{row['took']:8.1f}"
            )


STOPS = {
    "sync cell": "task = start(2000, 50); wait(task)",
    "sync cell, stalled": "task = start(20, 50, stall=True); wait(task)",
    "async cell": "task = start(2000, 50); await finished(task)",
    "async cell, stalled": "task = start(20, 50, stall=True); await finished(task)",
    "detached": "task = start(2000, 50)",
    "detached, stalled": "task = start(20, 50, stall=True)",
    "busy kernel": "task = start(2000, 50)\nwhile not task.done(): pass",
    "busy kernel, stalled": "task = start(20, 50, stall=True)\nwhile not task.done(): pass",
}
FLOWING = "() => document.querySelector('.cl-live [role=region]')?.textContent.length > 80"
CLICK = "() => { const now = Date.now(); document.querySelector('.cl-live .cl-stop').click(); return now / 1000; }"


def stops(lab: Jupyter, context: Any, repeats: int) -> None:
    """Print how long after the click the source is closed, in each state of the kernel."""
    print("\nStop button to source closed, ms (worst of", f"{repeats})")
    page = Page(context, lab.notebook("stops.ipynb", SETUP, *STOPS.values(), "print(closed.pop())"))
    page.run(0)
    for index, name in enumerate(STOPS, 1):
        delays = []
        for _ in range(repeats):
            page.start(index)
            page.page.wait_for_function(FLOWING)
            page.page.wait_for_timeout(300)
            clicked = page.page.evaluate(CLICK)
            page.page.wait_for_selector(".cl-live", state="detached")
            page.wait_idle(index, 10)
            page.run(len(STOPS) + 1)
            delays.append(1000 * (float(page.output(len(STOPS) + 1)) - clicked))
            page.page.keyboard.press("Control+a")
        print(f"{name:28}{max(delays):8.0f}")
    page.shut()


INTERRUPTED = """
from claude_lab.watched import Watched
async def silent():
    yield "one"
    try:
        await asyncio.sleep(3600)
    finally:
        closed.append(time.time())
"""


def interrupts(lab: Jupyter, context: Any, repeats: int) -> None:
    """Print how long after the kernel's interrupt a stalled await ends."""
    delays = []
    cells = (SETUP + INTERRUPTED, "async for _ in Watched(silent()): pass", "print(closed.pop())")
    page = Page(context, lab.notebook("interrupts.ipynb", *cells))
    page.run(0)
    for _ in range(repeats):
        page.start(1)
        page.page.wait_for_selector(".cl-live [role=region]")
        page.page.wait_for_timeout(500)
        began = time.time()
        page.interrupt()
        page.wait_idle(1, 10)
        page.run(2)
        delays.append(1000 * (float(page.output(2)) - began))
    print(f"\ninterrupt to a stalled await closed, ms (worst of {repeats}){max(delays):8.0f}")
    page.shut()


TURN = """([label, value]) => new Promise(resolve => {
    const root = document.querySelector(".cl-tuner"), began = performance.now();
    const find = name => document.getElementById([...root.querySelectorAll("label")].find(l => l.textContent === name)
        .getAttribute("for"));
    const input = find(label), before = Number(root.dataset.answered ?? 0);
    new MutationObserver((_, seer) => {
        if (Number(root.dataset.answered) === before) return; // a sharper picture of the last turn
        seer.disconnect();
        requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)));
    }).observe(root, {attributes: true, attributeFilter: ["data-answered"]});
    input.value = value;
    input.dispatchEvent(new Event("input"));
})"""
TURNS = [(name, value) for value in range(13) for name in ("MAX_RETRIES", "BASE_DELAY")]
DEAR = [("limit", 50), ("load", 2), ("JITTER", "decorrelated"), ("BASE_DELAY", 0), ("MAX_RETRIES", 3)]


def knobs(lab: Jupyter, context: Any, repeats: int) -> None:
    """Print how long after a turned knob its pictures are painted: with each engine, then on the dearest setting."""
    cells = ("from claude_lab.tuner import RetryTuner\nt = RetryTuner(); t", "t.engine = 'plain'")
    page = Page(context, lab.notebook("knobs.ipynb", *cells))
    page.run(0)
    page.page.wait_for_timeout(12_000)
    turns = [(name, -7 + value * 0.75 if name == "BASE_DELAY" else value) for name, value in TURNS][:repeats]
    for name, asked in (
        ("compiled engine", turns),
        ("plain engine", turns),
        ("plain engine, overloaded", DEAR * (repeats // 5)),
    ):
        if name == "plain engine":
            page.run(1)
        took = sorted(page.page.evaluate(TURN, turn) for turn in asked)
        print(f"\nknob to picture, ms, {name}: median {took[len(took) // 2]:.0f}, worst {took[-1]:.0f}")
    page.shut()


PLAIN = "print(time.time())\nwait(start(250, 50));"


def without_anywidget(home: Path, context: Any, path: str, repeats: int) -> None:
    """Print how long after it was asked for a view is plain HTML, where the server's environment lacks anywidget."""
    python = environment_without("anywidget", home / "environment")
    with Jupyter(home / "bare", python=python, PYTHONPATH=path) as lab:
        page = Page(context, lab.notebook("bare.ipynb", SETUP, *[PLAIN] * repeats))
        page.run(0)
        took = []
        for index in range(1, repeats + 1):
            page.start(index)
            page.cell(index).locator(".cl-still .cl-note").wait_for()
            took.append(time.time() - float(page.output(index).split()[0]))
            page.wait_idle(index, 30)
        page.shut()
    print(f"\nwithout anywidget, cell busy: plain HTML after, s (worst of {repeats}){max(took):8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="five seconds a row")
    parser.add_argument("--only", choices=("paced", "burst", "stop", "knob", "bare"), help="one part")
    parser.add_argument("--ways", default="", help="only the ways with this in their name")
    parser.add_argument("--path", default="", help="a folder before the kernels' own packages: an older ipykernel, say")
    given = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    seconds = 5 if given.quick else 20
    ways = [name for name in WAYS if given.ways in name and (name != "chatlas" or installed(name, given.path))]
    home = Path(tempfile.mkdtemp(prefix="claude-lab-view-"))
    path = os.pathsep.join(filter(None, [given.path, str(ROOT)]))
    with Jupyter(home / "lab", PYTHONPATH=path) as lab, browser(home / "profile") as context:
        if given.only in (None, "paced"):
            paced = {n: measure(lab, context, n, count=500 * seconds, rate=500, limit=3 * seconds) for n in ways}
            show(f"{500 * seconds:,} tokens at 500 a second", paced)
        if given.only in (None, "burst"):
            burst = {n: measure(lab, context, n, count=10_000, rate=0, limit=20) for n in ways}
            show("a burst of 10,000 tokens, Jupyter's default limits", burst)
            name = "claude_lab, one view"
            show("a burst of 100,000 tokens", {name: measure(lab, context, name, count=100_000, rate=0, limit=20)})
        if given.only in (None, "stop"):
            stops(lab, context, 2 if given.quick else 5)
            interrupts(lab, context, 2 if given.quick else 5)
        if given.only in (None, "knob"):
            knobs(lab, context, 10 if given.quick else 26)
        if given.only in (None, "bare"):
            without_anywidget(home, context, path, 2 if given.quick else 5)


def installed(name: str, path: str) -> bool:
    """Return whether the kernels can import a package."""
    return bool(PathFinder.find_spec(name, [*filter(None, [path]), *sys.path]))


if __name__ == "__main__":
    main()
