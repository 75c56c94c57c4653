"""The article's own clients, changed in nothing but the URL, read a lab's whole answer."""

from __future__ import annotations

import asyncio
import json
import runpy
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import need

from claude_lab import Lab, Scenario

ARTICLE = Path(__file__).parent / "article"
ANSWER = "Bits in a row, one by one 🌊: naïve, and “quoted”.\n\ndata: not a frame\n\nThe end."


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where the article's server would be."""
    with Lab(Scenario(answer=ANSWER, pace="instant")) as lab:
        yield f"{lab.url}/chat/stream"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The article's clients obey the environment's proxies; none stands before this machine itself."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


def client(name: str, there: str, url: str) -> str:
    """Return a client of the article with its URL replaced; it must have been there once."""
    source = (ARTICLE / name).read_text("utf-8")
    assert source.count(there) == 1
    return source.replace(there, url)


def output(*command: str, stdin: str | None = None) -> str:
    """Run a program and return what it printed."""
    return subprocess.run(command, input=stdin, capture_output=True, check=True, timeout=20, encoding="utf-8").stdout


def test_the_curl_line_shows_frames_that_hold_the_whole_answer(url: str) -> None:
    """Lines that begin with `data: ` hold JSON, and the deltas among them the whole answer, up to `done`."""
    need("curl")

    lines = output("sh", "-c", client("ask.sh", "http://localhost:8000/chat/stream", url)).split("\n")

    frames = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data:")]
    assert "".join(frame["text"] for frame in frames if frame["type"] == "delta") == ANSWER
    assert frames[-1]["type"] == "done"


def test_the_httpx_loop_prints_the_whole_answer(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The Python client prints every delta."""
    (tmp_path / "ask.py").write_text(client("ask.py", "http://localhost:8000/chat/stream", url), "utf-8")

    asyncio.run(runpy.run_path(str(tmp_path / "ask.py"))["stream_chat"]("Hello!"))

    assert capsys.readouterr().out == ANSWER


def test_the_browser_loop_collects_the_whole_answer(url: str) -> None:
    """The JavaScript client, run by Node, puts every delta into its element."""
    node = need("node", "nodejs")
    element = "const outputElement = { textContent: '' };\n"
    shown = "\nprocess.stdout.write(outputElement.textContent);\n"

    text = output(
        node, "--input-type=module", "-", stdin=element + client("ask.js", "'/chat/stream'", f"'{url}'") + shown
    )

    assert text == ANSWER
