from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from conftest import need

from claude_lab import utf16
from claude_lab.trace import Mark, Trace
from claude_lab.wire import Wire

SCRIPT = Path(__file__).parents[1] / "claude_lab" / "static" / "store.js"
RUN = """
import { readFileSync } from "node:fs";
const source = readFileSync(process.argv[1]).toString("base64");
const { Store, crc } = await import(`data:text/javascript;base64,${source}`);
const { messages, snapshot } = JSON.parse(readFileSync(0));
const sent = [];
const known = { snapshot: null, bell: "" };
const model = { get: (name) => known[name], on() {}, off() {}, send: (message) => sent.push(message.word) };
const store = new Store(model);
for (const message of messages) store.take(message);
const before = store.whole;
if (sent.includes("snapshot")) store.take(snapshot);
const { text, deltas, whole, last, status, thinking } = store;
console.log(JSON.stringify({ text, deltas, before, whole, sent, last, status, thinking, crc: crc(text, 0) }));
"""


def heard(messages: list[Any], snapshot: Any = None) -> dict[str, Any]:
    """Let the browser's half take the messages, under Node."""
    given = json.dumps({"messages": messages, "snapshot": snapshot})
    command = [need("node"), "--input-type=module", "-e", RUN, str(SCRIPT)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=20, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def told(pieces: list[str]) -> tuple[Trace, list[Any], Any]:
    """A run of these pieces, the messages about it, and the snapshot at its end."""
    trace, wire = Trace(), Wire()
    messages = []
    for i, piece in enumerate(pieces):
        messages += wire.feed([trace.add("delta", piece, at=i / 10)])
    trace.add("done", {"stop_reason": "end_turn"}, at=len(pieces) / 10)
    return trace, [*messages, wire.end(trace)], wire.snapshot()


def test_the_browser_reads_what_the_kernel_wrote() -> None:
    """Emoji, a pair cut in two, and right-to-left text arrive whole: length and hash agree."""
    trace, messages, _ = told(["a🙂b", "\ud83d", "\ude42", "👩‍👩‍👧", "שלום", "\u2028", "e\u0301"])

    found = heard(messages)

    assert found["text"] == utf16.whole(trace.text)
    assert found["whole"] is True
    assert found["crc"] == utf16.crc(utf16.whole(trace.text))
    assert found["sent"] == []


def test_a_lost_message_is_noticed_and_made_good() -> None:
    """When one frame is dropped on the way the view asks for a snapshot, and is whole with it."""
    trace, messages, snapshot = told([f"word{i} " for i in range(20)])
    del messages[7]

    found = heard(messages, snapshot)

    assert found["before"] is False
    assert "snapshot" in found["sent"]
    assert (found["text"], found["whole"], found["deltas"]) == (trace.text, True, 20)


def test_a_page_that_comes_up_after_the_end_reads_the_end() -> None:
    """The state that a loaded page begins with says how the run ended."""
    trace, _, snapshot = told(["One ", "two"])

    found = heard([snapshot])

    assert (found["text"], found["whole"], found["sent"]) == (trace.text, True, [])
    assert found["status"].startswith("done")


def test_a_restart_takes_words_back() -> None:
    """After a seam the view shows what is kept, and what came after it."""
    trace, wire = Trace(), Wire()
    trace.add("delta", "One two 🙂 three", at=0.1)
    trace.add("reset", {"keep_chars": 9, "reason": "dropped"}, at=0.2)
    trace.add("delta", "!", at=0.3)

    found = heard([*wire.feed(trace.marks), wire.end(trace)])

    assert found["text"] == trace.text == "One two 🙂!"
    assert found["whole"] is True


def test_the_wait_counts_down_in_the_status() -> None:
    """While a retry waits the status says for what, and before which attempt."""
    wire = Wire()
    marks = [Mark(0.5, "retry", {"error": "overloaded", "attempt": 1, "wait": 9.0})]

    status = heard(wire.feed(marks))["status"]

    assert status.startswith("overloaded · waiting ")
    assert status.endswith(" s before attempt 2")
