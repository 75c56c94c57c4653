from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from claude_lab import palette
from e2e.jupyterlab_page import Jupyter, Page

Open = Callable[..., Page]
RACE = """
from claude_lab import Lab, Scenario
from claude_lab.lab import race
lab = Lab(Scenario(pace="slow"))
race("Why is the sky blue?", direct=lab, again=lab)
"""
SETUP = "from streams import Staircases"
LIVE, STILL = ".cl-stairs:not(.cl-still)", ".cl-stairs.cl-still"
GROWN = f"""count => [...document.querySelectorAll('{LIVE} path')].filter(
    path => (path.getAttribute('d') ?? '').split('V').length > 5).length === count"""
DRAWN = f"() => [...document.querySelectorAll('{STILL} img')].every(picture => picture.naturalWidth > 0)"


def test_a_race_is_seen_while_it_runs(open_notebook: Open, screenshots: Path) -> None:
    """Both staircases grow in the page; then one still and a short table stand there, and the widget is gone."""
    page = open_notebook(RACE)
    page.start(0)
    page.page.wait_for_function(GROWN, arg=2)
    assert page.prompt(0) == "[*]:"
    page.wait_idle(0, 90)
    page.page.wait_for_selector(STILL)
    page.page.wait_for_selector(LIVE, state="detached")
    page.page.wait_for_function(DRAWN)
    page.cell(0).screenshot(path=screenshots / "race.png")

    assert page.page.locator("img[src^='data:image/svg+xml']").count() == 2
    assert page.output(0).count("route") == 2


def test_live_and_frozen_pass_axe_in_both_themes(open_notebook: Open, axe: str, screenshots: Path) -> None:
    """No violation, and what was sent has the same gray live and still."""
    page = open_notebook(SETUP, "s = Staircases(deltas=100_000).start()", "s.stop()")
    page.run(0)
    for place, name, cell, growing in ((LIVE, "live", 1, 3), (STILL, "still", 2, 0)):
        page.run(cell)
        page.page.wait_for_selector(place)
        page.page.wait_for_function(GROWN, arg=growing)
        for theme in ("Dark", "Light"):
            page.theme(f"JupyterLab {theme}")
            page.page.locator(place).screenshot(path=screenshots / f"stairs-{name}-{theme.lower()}.png")
            assert page.violations(axe, place) == []
    assert "buffered at $1 a GB" in page.output(1)
    assert page.complaints == []


def test_a_reloaded_race_is_whole_again(open_notebook: Open) -> None:
    """After a reload in mid-race the staircases are back from their first step, go on, and stay when it ends."""
    stop = "s.stop(); s.task.result(60); print(s.traces['sent'].ttft, s.view.points('sent')[-1][0])"
    page = open_notebook(SETUP, "s = Staircases(deltas=100_000).start()", stop)
    page.run(0)
    page.run(1)
    page.page.wait_for_function(GROWN, arg=2)
    page.save()
    page.reload()
    page.page.wait_for_function(GROWN, arg=3)
    page.run(2)
    first, last = map(float, page.output(2).split())
    page.page.wait_for_selector(f"{LIVE} .cl-axis span:text-is('{last:.1f} s')")

    assert page.page.locator(f"{LIVE} path").count() == 3
    assert f"first token {first:.2f} s" in page.page.locator(f"{LIVE} .cl-status").first.inner_text()


def test_a_race_reloaded_in_a_busy_cell_is_whole_after_it(open_notebook: Open) -> None:
    """The kernel cannot tell the new page anything until the cell ends; then it does."""
    page = open_notebook(SETUP, "s = Staircases(deltas=500).run();")
    page.run(0)
    page.start(1)
    page.page.wait_for_function(GROWN, arg=2)
    page.save()
    page.reload()

    page.page.wait_for_function(GROWN, arg=3)


def test_a_race_without_anywidget_is_plain_html(open_notebook: Open, bare: Jupyter, screenshots: Path) -> None:
    """A server that lacks anywidget shows the staircases while the cell runs, and says why."""
    page = open_notebook(SETUP, "s = Staircases(deltas=100_000).run();", server=bare)
    page.run(0)
    page.start(1)
    page.page.wait_for_selector(f"{STILL} .cl-note:has-text('plain HTML')")
    during = page.page.locator(f"{STILL} img").last.get_attribute("src")
    page.page.screenshot(path=screenshots / "stairs-bare.png")
    redrawn = f"during => [...document.querySelectorAll('{STILL} img')].at(-1)?.src !== during"
    page.page.wait_for_function(redrawn, arg=during)

    assert page.prompt(1) == "[*]:"
    page.interrupt()
    page.wait_idle(1)


FIGURE = """
%matplotlib inline
from claude_lab import plots
from claude_lab.trace import Mark, Trace
plots.staircase({"buffered": Trace(0.0, [Mark(0.1, "delta", "abc"), Mark(0.2, "done", {})])}, title="A figure")
"""


def test_a_figure_is_light_or_dark_as_the_theme_is(open_notebook: Open, lab: Jupyter, screenshots: Path) -> None:
    """Paper and line have their theme's colors, and a stranger's copy, without its styles, still shows the picture."""
    page = open_notebook(FIGURE)
    page.run(0)
    image = page.page.locator("img.claude-lab-figure")
    seen = {}
    for theme, paper in (("Dark", palette.PAPER[1]), ("Light", palette.PAPER[0])):
        page.theme(f"JupyterLab {theme}")
        place = screenshots / f"figure-{theme.lower()}.png"
        image.screenshot(path=place)
        with Image.open(place) as picture:
            pixels = picture.convert("RGB")
            seen[theme] = (
                f"#{bytes(pixels.getpixel((2, 2))).hex()}" == paper,
                {color for _, color in pixels.getcolors(1 << 20)},
            )
    page.save()
    saved = lab.saved("test_a_figure_is_light_or_dark_as_the_theme_is-0.ipynb")
    saved["metadata"]["copied"] = True
    (lab.work / "stranger-figure.ipynb").write_text(json.dumps(saved))
    other = page.page.context.new_page()
    other.goto(lab.address("stranger-figure.ipynb"))
    untrusted = other.locator(".jp-OutputArea-output img")
    untrusted.wait_for()
    untrusted.screenshot(path=screenshots / "figure-untrusted.png")
    described = untrusted.get_attribute("alt")
    other.close()

    assert all(on_paper for on_paper, _ in seen.values())
    for shade, theme in zip(palette.ORANGE, ("Light", "Dark"), strict=True):
        assert tuple(bytes.fromhex(shade[1:])) in seen[theme][1]
    assert described == "Figure: A figure; buffered: first token 0.10 s; seconds; characters"
