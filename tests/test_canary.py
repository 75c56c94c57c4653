"""A key that shows nowhere: a canary in its place, and a search of all that is left behind."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from test_saved import kernel
from test_server import ANSWER, CANARY, INSTANT, bench, frames

from claude_lab import faults
from claude_lab.fake import FakeClaude
from claude_lab.faults import Fault, StreamError
from claude_lab.refusals import Unauthorized
from claude_lab.scenario import Scenario

SAID_BACK = f"invalid x-api-key: {CANARY}"
TELLTALES = [
    Unauthorized(message=SAID_BACK),
    StreamError(type="authentication_error", message=SAID_BACK, after=3),
    Unauthorized(body=SAID_BACK),
    faults.Raw(status=400, headers={"request-id": CANARY, "content-type": "application/json"}, chunks=(b"{}",)),
]


@pytest.mark.parametrize("fault", TELLTALES)
@pytest.mark.parametrize("path", ["/chat/stream", "/chat/ui"])
def test_a_key_that_the_upstream_says_back_goes_no_further(
    caplog: pytest.LogCaptureFixture, fault: Fault, path: str
) -> None:
    """Neither the error that a client gets nor the log has it; what else the upstream said is there."""
    caplog.set_level(logging.DEBUG, "claude_lab")
    message = {"role": "user", "parts": [{"type": "text", "text": "Hello"}]}
    body = {"message": "Hello"} if path == "/chat/stream" else {"id": "chat", "messages": [message]}
    with bench() as made:
        made.follow(Scenario(faults=[fault], voice=INSTANT.voice, pace="instant"))
        response = made.http.post(path, json=body)
        kept = repr(list(made.relay.runs.runs.values()))

    assert "x-api-key: [redacted]" in response.text or fault in TELLTALES[2:]
    assert CANARY not in response.text + str(response.headers) + caplog.text + kept


def test_a_redirect_does_not_carry_the_key_away() -> None:
    """Where the upstream points elsewhere the answer is an error, and elsewhere nobody asks."""
    with FakeClaude(INSTANT) as elsewhere, bench() as made:
        away = {"location": f"{elsewhere.url}/v1/messages"}
        made.follow(Scenario(faults=[faults.Raw(status=307, headers=away, chunks=())], pace="instant"))
        response = made.ask()

        assert (len(elsewhere.journal), len(made.fake.journal)) == (0, 1)
    assert frames(response.text)[-1]["type"] == "error"


CELLS = [
    "from claude_lab import Lab\nlab = Lab(upstream='anthropic', max_cost=0.01)\nlab",
    "run = lab.stream('Hello', max_tokens=100)\nrun",
    "refused = lab.stream('Hello', max_tokens=100)\nrefused",
    "dear = lab.stream('Hello', max_tokens=60_000)\ndear",
    "print(repr(lab), lab.facts, lab.settings, vars(lab), run.to_json(), refused.to_json(), vars(run), vars(refused))\n"
    "print(refused.trace.marks, vars(run.view), vars(refused.view), lab.ledger)",
    "try:\n    lab.check()\nexcept Exception as error:\n    print(repr(error))\nlab.close()",
]


def test_a_notebook_holds_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs, views and their state, traces, errors: saved with all of them, the file does not have the key."""
    with FakeClaude(Scenario(faults=[faults.Ok(), TELLTALES[0]], voice=INSTANT.voice, pace="instant")) as fake:
        for name, value in {
            "ANTHROPIC_API_KEY": CANARY,
            "ANTHROPIC_BASE_URL": fake.url,
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "CLAUDE_LAB_VIEW": "live",
        }.items():
            monkeypatch.setenv(name, value)
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
        client: Any = NotebookClient(
            notebook, timeout=30, kernel_name=kernel(tmp_path, monkeypatch), store_widget_state=True
        )
        client.execute()
        asked = [entry.status for entry in fake.journal]
    saved = nbformat.writes(notebook) + json.dumps(client.widget_state, default=repr)

    assert asked == [200, 401]
    assert ANSWER[:20] in saved
    assert "invalid x-api-key" in saved
    assert "max_cost" in saved
    assert CANARY not in saved
