"""Write docs/faults.md: what the SDK, an httpx loop and a browser's reader do with every kind of fault at every place.

    python docs/make_faults.py            writes the table
    python docs/make_faults.py --check    exits with 1 and a diff when the committed table is not what happens now

Needs node for the browser's column.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anthropic
import httpx

from claude_lab import faults
from claude_lab.fake import FakeClaude
from claude_lab.faults import Break, Fault, Refusal
from claude_lab.scenario import Scenario

HERE = Path(__file__).parent
TARGET = HERE / "faults.md"
ANSWER = "Air scatters short waves more than long ones — that is why the sky is blue 🌤️ at noon, and red at night."
ASK: dict[str, Any] = {
    "model": "claude-opus-4-6",
    "max_tokens": 300,
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}
SILENCE = 0.4
HEADERS = {"authorization": "Bearer lab", "anthropic-version": "2026-10-21", "content-type": "application/json"}
INTRO = """\
# What readers make of each fault

Written by `docs/make_faults.py` and checked in CI; do not edit.
One answer is streamed to each reader, and one thing goes wrong, after three text deltas where a place needs a number.

- **SDK**: anthropic {version}, `messages.stream()`, its text and its final message.
- **httpx**: a loop over `response.iter_lines()` that parses what follows `data: `.
- **browser**: `fetch`, a streaming `TextDecoder`, whole blocks (`PerEvent` in `static/browser.js`).

*whole* means that the text arrived as it was; *cut* that it is too short, *changed* that it is something else,
*nothing* that none came, each without any error: the reader believes it.
"""
NODE = """
import { PerEvent } from %s;
import { createInterface } from "node:readline";
for await (const line of createInterface({ input: process.stdin })) {
  const { url, headers, body, answer, silence } = JSON.parse(line);
  let text = "", error = "";
  try {
    const controller = new AbortController();
    let timer = setTimeout(() => controller.abort(), silence);
    const response = await fetch(url, { method: "POST", headers, body, signal: controller.signal });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const reader = new PerEvent((event) => {
      if (event.type === "error") throw new Error(event.error.type);
      if (event.delta?.type === "text_delta") text += event.delta.text;
    });
    for await (const chunk of response.body) {
      clearTimeout(timer);
      timer = setTimeout(() => controller.abort(), silence);
      reader.feed(chunk);
    }
    clearTimeout(timer);
  } catch (problem) {
    error = problem.name === "AbortError" ? "waits" : problem.message.startsWith("HTTP") ? problem.message
      : ["TypeError", "SyntaxError"].includes(problem.name) ? problem.name : problem.message;
  }
  console.log(JSON.stringify({ text, error }));
}
"""


def judged(text: str) -> str:
    """Return what has become of the text."""
    if text == ANSWER:
        return "*whole*"
    return "*cut*" if text and ANSWER.startswith(text) else "*changed*" if text else "*nothing*"


def named(error: BaseException) -> str:
    """Return an error's class, as one writes it in an except clause."""
    module = type(error).__module__.split(".")[0]
    name = type(error).__name__ if module == "builtins" else f"{module}.{type(error).__name__}"
    if isinstance(error, anthropic.APIStatusError) and error.status_code == 200:
        return f"`{name}`, status 200, type {error.type}"
    return f"`{name}`"


def by_sdk(fake: FakeClaude) -> str:
    """Read with the SDK."""
    text = ""
    timeout = anthropic.Timeout(SILENCE, connect=2)
    with anthropic.Anthropic(base_url=fake.url, api_key="lab", max_retries=0, timeout=timeout) as client:
        try:
            with client.messages.stream(**ASK) as stream:
                for piece in stream.text_stream:
                    text += piece
                reason = stream.get_final_message().stop_reason
        except Exception as error:
            return named(error)
    return judged(text) + ("" if reason else ", `stop_reason` None")


def by_httpx(fake: FakeClaude) -> str:
    """Read with the usual loop."""
    text = ""
    try:
        with httpx.stream(
            "POST", f"{fake.url}/v1/messages", json={**ASK, "stream": True}, headers=HEADERS, timeout=SILENCE
        ) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                if line.startswith("data: "):
                    event = json.loads(line[6:])
                    text += event.get("delta", {}).get("text", "")
    except Exception as error:
        return named(error)
    return judged(text)


class Browser:
    """Node, with the browser's reader, answering one line for each line."""

    def __init__(self) -> None:
        reader = json.dumps((HERE.parent / "claude_lab/static/browser.js").as_uri())
        self.node = subprocess.Popen(
            ["node", "--no-warnings", "--input-type=module", "-e", NODE % reader],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def read(self, fake: FakeClaude) -> str:
        """Read one answer."""
        assert self.node.stdin is not None
        assert self.node.stdout is not None
        body = json.dumps({**ASK, "stream": True})
        told = {"url": f"{fake.url}/v1/messages", "headers": HEADERS, "body": body, "silence": SILENCE * 1000}
        self.node.stdin.write(json.dumps(told) + "\n")
        self.node.stdin.flush()
        got = json.loads(self.node.stdout.readline())
        return f"`{got['error']}`" if got["error"] else judged(got["text"])

    def close(self) -> None:
        """Let node go."""
        assert self.node.stdin is not None
        assert self.node.stdout is not None
        self.node.stdin.close()
        self.node.wait(5)
        self.node.stdout.close()


QUICK: dict[str, dict[str, Any]] = {
    "Stall": {"seconds": 0.15, "pings": 0.05},
    "Trickle": {"size_bytes": 64, "gap": 0.001},
}


def breaks() -> Iterator[Break]:
    """Yield every kind of break at every place it can happen."""
    for name, kind in faults.kinds(Break).items():
        if name != "Insert":
            for place in kind.PLACES:
                yield kind(at=place, **QUICK.get(name, {}))


def refusals() -> Iterator[Refusal]:
    """Yield every kind of refusal, and the statuses that have a class of their own in the SDK."""
    for kind in faults.kinds(Refusal).values():
        yield kind()
    for status in (400, 404, 408, 409, 413, 422, 501, 520):
        yield Refusal(status=status, message="As scripted")


def read_all(fake: FakeClaude, browser: Browser, fault: Fault) -> list[str]:
    """Show one fault to each reader."""
    cells = []
    for read in (by_sdk, by_httpx, browser.read):
        fake.put(Scenario(faults=[fault], pace="instant", answer=ANSWER))
        cells.append(read(fake))
    return cells


def retried(fake: FakeClaude, fault: Refusal) -> str:
    """Tell whether the SDK tries again by itself."""
    fake.put(Scenario(faults=[replace(fault, retry_after_ms=1)], pace="instant", answer=ANSWER))
    before = len(fake.journal)
    with anthropic.Anthropic(base_url=fake.url, api_key="lab", max_retries=1) as client:
        with contextlib.suppress(anthropic.APIStatusError):
            client.messages.create(**ASK)
    return "yes" if len(fake.journal) - before == 2 else "no"


def row(*cells: str) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(cells)} |"


def table(fake: FakeClaude, browser: Browser) -> Iterator[str]:
    """Yield the lines of the document."""
    yield INTRO.format(version=re.match(r"\d+\.\d+", anthropic.__version__)[0])  # type: ignore[index]  # it has two
    yield "## Breaks\n"
    yield row("kind", "place", "SDK", "httpx", "browser")
    yield row(*["---"] * 5)
    last = ""
    for fault in breaks():
        kind = type(fault).__name__
        yield row(kind if kind != last else "", fault.at, *read_all(fake, browser, fault))
        last = kind
    yield "\n## Refusals\n"
    yield row("kind", "status", "SDK", "retried by the SDK", "httpx", "browser")
    yield row(*["---"] * 6)
    for refusal in refusals():
        by, *others = read_all(fake, browser, refusal)
        yield row(type(refusal).__name__, str(refusal.status), by, retried(fake, refusal), *others)


def main() -> int:
    """Write the document, or compare it."""
    browser = Browser()
    try:
        with FakeClaude() as fake:
            made = "\n".join(table(fake, browser)) + "\n"
    finally:
        browser.close()
    if "--check" not in sys.argv:
        TARGET.write_text(made)
        return 0
    kept = TARGET.read_text() if TARGET.exists() else ""
    sys.stdout.writelines(difflib.unified_diff(kept.splitlines(True), made.splitlines(True), "committed", "now"))
    return int(kept != made)


if __name__ == "__main__":
    raise SystemExit(main())
