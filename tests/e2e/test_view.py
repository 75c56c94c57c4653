from __future__ import annotations

import functools
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from e2e.jupyterlab_page import Jupyter, Page

SETUP = "from streams import Stream"
TEXT = ".cl-live .cl-text[role=region]"
STILL = ".cl-still"
SAMPLE = (
    """# Streaming

A reader who sees the **first words** after half a second does not wait.

- each event is a block of lines 🙂 👩‍👩‍👧
- <script>alert(1)</script> stays text

"""
    + "And so it goes on, word after word, until the whole story is told. " * 8
)
EQUAL = f"""() => {{
    const [first, second] = [...document.querySelectorAll('{TEXT}')].map(node => node.textContent);
    return first === second && first.length > 100;
}}"""

Open = Callable[..., Page]


def lengths(page: Page, times: int, every: float = 0.25) -> list[int]:
    """Return the length of the live text, looked at several times."""
    seen = []
    for _ in range(times):
        time.sleep(every)
        found = page.page.query_selector(TEXT)
        seen.append(len(found.inner_text()) if found else 0)
    return seen


def test_text_grows_and_stop_stops(open_notebook: Open, axe: str, screenshots: Path) -> None:
    """The answer grows in several steps while its cell runs; Stop ends it; live and still pass axe, in both themes."""
    page = open_notebook(SETUP, f"s = Stream(text={SAMPLE!r} * 40, gap=.02).run()")
    page.run(0)
    page.start(1)
    page.page.wait_for_selector(TEXT)
    steps = lengths(page, 8)
    for theme in ("Light", "Dark"):
        page.theme(f"JupyterLab {theme}")
        page.page.locator(".claude-lab").screenshot(path=screenshots / f"live-{theme.lower()}.png")
        assert page.violations(axe, ".claude-lab") == []

    assert page.prompt(1) == "[*]:"
    page.page.focus(".cl-stop")
    page.page.keyboard.press("Enter")
    page.wait_idle(1)
    page.page.wait_for_selector(STILL)

    assert len(set(steps)) >= 4
    assert steps == sorted(steps)
    for theme in ("Dark", "Light"):
        page.theme(f"JupyterLab {theme}")
        page.page.locator(".claude-lab").screenshot(path=screenshots / f"still-{theme.lower()}.png")
        assert page.violations(axe, ".claude-lab") == []
    assert "Stopped here." in page.output(1)
    assert page.complaints == []


def test_a_finished_view_is_readable_without_kernel(open_notebook: Open, lab: Jupyter, screenshots: Path) -> None:
    """Saved and reopened as a stranger's file, with no kernel, the answer is there; the file holds no widget."""
    page = open_notebook(SETUP, f"s = Stream(text={SAMPLE!r}, gap=.003).run(); s.view.show(); s.view.show();")
    page.run(0)
    page.run(1)
    page.page.wait_for_selector(STILL)
    page.page.locator(".claude-lab").first.screenshot(path=screenshots / "still-markdown.png")
    page.save()
    name = "test_a_finished_view_is_readable_without_kernel-0.ipynb"
    saved = lab.saved(name)
    outputs = saved["cells"][1]["outputs"]

    assert "widgets" not in saved["metadata"]
    assert [sorted(output["data"]) for output in outputs] == [["text/html", "text/plain"]] * 3
    saved["metadata"]["copied"] = True
    (lab.work / "stranger.ipynb").write_text(json.dumps(saved))
    other = page.page.context.new_page()
    other.goto(lab.address("stranger.ipynb"))
    other.wait_for_selector(".jp-OutputArea-output")
    shown = other.locator(".jp-OutputArea-output").first
    shown.filter(has_text="first words").wait_for()
    shown.screenshot(path=screenshots / "still-untrusted.png")
    assert "first words" in shown.inner_text()
    assert " s: " not in shown.inner_text()  # what areas of the strip say on hover
    other.close()


def test_a_burst_arrives_whole(open_notebook: Open) -> None:
    """Ten thousand deltas at once pass Jupyter's message limits: all of the text, and no warning."""
    page = open_notebook(SETUP, "s = Stream(10_000, gap=0).run()")
    page.run(0)
    page.run(1)
    page.page.wait_for_selector(STILL)

    shown = page.page.locator(f"{STILL} .cl-text").first.evaluate("node => node.textContent")
    assert shown == "".join(f"w{i:05d} " for i in range(10_000))
    assert "rate exceeded" not in page.output(1)


def test_views_stay_equal_and_whole(open_notebook: Open) -> None:
    """A second view shown in mid-stream has all the text; the browser finds length and hash right at the end."""
    watch = """() => { window.verdicts = []; new MutationObserver(records => records.forEach(r => r.target.dataset.whole
        && window.verdicts.push(r.target.dataset.whole))).observe(document.body,
        {subtree: true, attributes: true, attributeFilter: ["data-whole"]}); }"""
    page = open_notebook(SETUP, f"s = Stream(text={SAMPLE!r} * 100, gap=.01).start()", "s.view.show();", "s.stop()")
    page.run(0)
    page.page.evaluate(watch)
    page.start(1)
    page.page.wait_for_function(f"() => document.querySelector('{TEXT}')?.textContent.length > 100")
    page.run(2)
    page.page.wait_for_function(EQUAL)
    assert page.page.locator(".cl-live").count() == 2
    page.run(3)
    page.page.wait_for_function(f"() => document.querySelectorAll('{STILL}').length === 2")

    assert set(page.page.evaluate("() => window.verdicts")) <= {"true"}


def test_a_reloaded_page_is_whole_again(open_notebook: Open) -> None:
    """After a reload in mid-stream the text is back from its first word, and goes on."""
    page = open_notebook(SETUP, "s = Stream(100_000, gap=.01).start()", "s.stop()")
    page.run(0)
    page.run(1)
    page.page.wait_for_selector(TEXT)
    page.save()
    page.reload()
    page.page.wait_for_function(f"() => document.querySelector('{TEXT}')?.textContent")
    first = page.page.locator(TEXT).text_content()
    longer = f"length => document.querySelector('{TEXT}').textContent.length > length"
    page.page.wait_for_function(longer, arg=len(first))
    page.run(2)

    assert first.startswith("w00000 w00001 ")
    page.page.wait_for_function("() => document.querySelector('.cl-live')?.dataset.whole === 'true'")


def test_the_bare_server_lacks_anywidget(bare: Jupyter, lab: Jupyter) -> None:
    """Its interpreter cannot import anywidget, it serves none of its files and names it on no page; another does."""
    imported = subprocess.run([bare.python, "-c", "import jupyterlab, anywidget"], capture_output=True, text=True)
    get = functools.partial(httpx.get, follow_redirects=True, timeout=60)
    served = [get(f"{each.url}/lab/extensions/anywidget/package.json").status_code for each in (bare, lab)]
    pages = [get(f"{each.url}/lab?token={each.token}").text for each in (bare, lab)]

    assert "No module named 'anywidget'" in imported.stderr
    assert served == [404, 200]
    assert ["anywidget" in page for page in pages] == [False, True]
    assert "@jupyter-widgets" in pages[0]


@pytest.mark.parametrize("way", ["sync", "async", "detached"])
def test_without_anywidget_the_view_is_plain_html(
    open_notebook: Open, bare: Jupyter, screenshots: Path, way: str
) -> None:
    """A server that lacks anywidget shows the stream also while the cell runs, says why, and can stop it."""
    cell = {"sync": "s.run();", "async": "await s.arun();", "detached": "s.start();"}[way]
    page = open_notebook(SETUP, f"s = Stream(100_000, gap=.01)\n{cell}", server=bare)
    page.run(0)
    page.start(1)
    page.page.wait_for_selector(".cl-still .cl-note")
    early = page.page.locator(".cl-still .cl-text").first.text_content()
    longer = "length => document.querySelector('.cl-still .cl-text')?.textContent.length > length"
    page.page.wait_for_function(longer, arg=len(early))
    during = page.prompt(1)
    page.page.screenshot(path=screenshots / f"bare-{way}.png")
    page.page.click(".cl-stop")
    page.wait_idle(1)
    page.page.wait_for_selector("text=Stopped here.")

    assert (during == "[*]:") is (way != "detached")
    assert "did not come up" in page.output(1)


def test_a_megabyte_leaves_the_page_small(open_notebook: Open) -> None:
    """A long answer keeps a bounded number of nodes in the page, live and frozen, and says what is left out."""
    long = "from streams import Stream\nline = 'word ' * 15 + '\\n'\ns = Stream(text=line * 14_000, gap=.0001)\n"
    page = open_notebook(long + "s.start();", "s.task.cancel()")
    page.start(0)
    page.page.wait_for_function("() => document.querySelector('.cl-live .cl-note')?.textContent", timeout=30_000)
    blocks = page.page.evaluate(f"() => document.querySelector('{TEXT}').childElementCount")
    page.page.wait_for_selector(STILL, timeout=60_000)

    assert blocks <= 65
    assert page.page.evaluate(f"() => document.querySelectorAll('{STILL} *').length") < 200
    assert "more characters" in page.page.locator(f"{STILL} .cl-text").first.evaluate("node => node.textContent")


def test_a_paragraph_without_end_is_laid_out_in_pieces(open_notebook: Open) -> None:
    """However long a line, no piece of it grows; none is lost or shown twice, and a resized page breaks it anew."""
    page = open_notebook(SETUP, "s = Stream(4000, gap=.001, stall=True).start()", "s.stop()")
    page.run(0)
    page.run(1)
    whole = "".join(f"w{i:05d} " for i in range(4000))
    page.page.wait_for_function(
        "length => document.querySelector('" + TEXT + "')?.textContent.length === length", arg=len(whole)
    )
    pieces = page.page.locator(f"{TEXT} > div").evaluate_all("nodes => nodes.map(node => node.textContent)")
    page.page.set_viewport_size({"width": 700, "height": 820})
    again = f"before => [...document.querySelectorAll('{TEXT} > div')].some((n, i) => n.textContent !== before[i])"
    page.page.wait_for_function(again, arg=pieces)
    narrow = page.page.locator(f"{TEXT} > div").evaluate_all("nodes => nodes.map(node => node.textContent)")
    page.page.set_viewport_size({"width": 1100, "height": 820})
    page.run(2)

    assert "".join(pieces) == "".join(narrow) == whole
    assert max(map(len, pieces + narrow)) <= 3000
    assert len(pieces) >= 10


def test_a_paragraph_shown_late_is_laid_out_in_pieces(open_notebook: Open) -> None:
    """A view that begins with all of it, before it stands in the page, breaks it as soon as it does."""
    page = open_notebook(SETUP, "s = Stream(4000, gap=0, stall=True).start()", "s.view.show();", "s.stop()")
    for cell in range(3):
        page.run(cell)

    page.page.wait_for_function(f"() => document.querySelectorAll('{TEXT}')[1]?.childElementCount >= 10")
    page.run(3)
