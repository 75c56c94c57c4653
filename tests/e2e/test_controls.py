from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from e2e.conftest import missing
from e2e.jupyterlab_page import Jupyter, Page

Open = Callable[..., Page]
TUNER = "from claude_lab.tuner import RetryTuner\nt = RetryTuner(); t"
CLIENT = """
from claude_lab import background
from claude_lab.browser import BrowserClient
from streams import chat
client = BrowserClient(background.serve(chat).url, cut_bytes={cut}); client
"""


def test_the_tuner_follows_mouse_and_keyboard(open_notebook: Open, axe: str, screenshots: Path) -> None:
    """A turned knob redraws the pictures, the policy follows in the kernel, and axe finds nothing."""
    page = open_notebook(TUNER, "print(t.to_env(), t.policy.max_retries)", "t")
    page.run(0)
    page.page.wait_for_selector(".cl-tuner svg")
    slider = page.page.get_by_label("MAX_RETRIES")
    before = page.page.locator(".cl-told").inner_text()
    slider.focus()
    for _ in range(4):
        page.page.keyboard.press("ArrowRight")
    page.page.get_by_label("JITTER").select_option("decorrelated")
    page.page.wait_for_function("() => document.querySelector('.cl-tuner').dataset.answered === '5'")
    page.page.get_by_role("button", name="Copy as .env").click()
    for theme in ("Dark", "Light"):
        page.theme(f"JupyterLab {theme}")
        page.page.locator(".cl-tuner").screenshot(path=screenshots / f"tuner-{theme.lower()}.png")
        assert page.violations(axe, ".cl-tuner") == []
    page.run(1)
    page.run(2)
    page.page.wait_for_function("() => document.querySelectorAll('.cl-tuner').length === 2")
    page.page.get_by_label("MAX_RETRIES").last.fill("9")
    page.page.wait_for_function("() => document.querySelector('.cl-tuner input').value === '9'")
    page.page.wait_for_function("() => document.querySelector('.cl-told').innerText.includes('6 days')")

    assert page.page.locator(".cl-told").first.inner_text() != before
    assert "MAX_RETRIES=7" in page.output(1)
    assert "JITTER=decorrelated" in page.output(1)


def test_the_chunk_bug_happens_before_your_eyes(open_notebook: Open, axe: str, screenshots: Path) -> None:
    """With chunks cut to 40 bytes the one client breaks and the other does not; uncut they agree."""
    page = open_notebook(CLIENT.format(cut=40), "print(client.relay.cut_bytes)")
    page.run(0)
    page.page.get_by_role("button", name="Send").click()
    page.page.wait_for_selector(".cl-browser[data-done=true]")
    page.page.locator(".cl-browser").screenshot(path=screenshots / "browser.png")
    first, second = page.page.locator(".cl-browser .cl-text").all_inner_texts()

    assert second.count("Rayleigh") == 8
    assert len(first) < len(second)
    assert "SyntaxError" in page.page.locator(".cl-browser .cl-error").first.inner_text()
    assert page.violations(axe, ".cl-browser") == []

    page.page.get_by_label("cut into").fill("0")
    page.page.keyboard.press("Tab")
    page.run(1)
    assert page.output(1).strip() == "None"
    page.page.get_by_role("button", name="Send").click()
    page.page.wait_for_selector(".cl-browser[data-done=true]")
    first, second = page.page.locator(".cl-browser .cl-text").all_inner_texts()
    assert first == second


def test_a_remote_browser_comes_in_through_the_proxy(lab: Jupyter, chromium: Any) -> None:
    """From another host's name Stop reaches a busy kernel, and the browser clients their relay."""
    if find_spec("jupyter_server_proxy") is None:
        missing("jupyter-server-proxy is not installed")
    busy = "s = Stream(20, stall=True).start()\nimport time\nend = time.time() + 300\n"
    busy += "while not s.task.done() and time.time() < end: pass"
    cells = "from streams import Stream", busy, "print('stopped:', s.stopped)", CLIENT.format(cut=40)
    page = Page(chromium, lab.notebook("remote.ipynb", *cells).replace("127.0.0.1", "lab.example"))
    page.run(0)
    page.start(1)
    page.page.wait_for_function(
        "() => document.querySelector('.cl-live [role=region]')?.textContent.includes('w00019')"
    )
    page.page.click(".cl-live .cl-stop")
    page.wait_idle(1)
    page.run(2)
    page.run(3)
    page.page.get_by_role("button", name="Send").click()
    page.page.wait_for_selector(".cl-browser[data-done=true]")
    answer = page.page.locator(".cl-browser .cl-text").last.inner_text()
    stopped = page.output(2)
    page.shut()

    assert "stopped: True" in stopped
    assert answer.count("Rayleigh") == 8
