"""The claims whose experiments serve the article's server or start a browser can come out differently too."""

from __future__ import annotations

from typing import Any

import pytest
from test_claims import CLAIMS, comes_out
from test_claims import FLIPS as QUICK

# The claim, by the beginning of its quote; the change that takes its cause away; and the verdict then.
FLIPS: list[tuple[str, dict[str, Any], str]] = [
    ("This guide covers", {"model": "claude-haiku-5-5"}, "agrees"),
    ("Defining the request", {"ranges": True}, "holds"),
    ("Defining the request", {"least": -9}, "does not hold"),
    ("As you can see", {"server": "lab"}, "holds"),
    ("Running uvicorn", {"server": "lab"}, "holds"),
    ("Testing with curl", {"mended": True}, "holds"),
    ("The key is combining", {"response": "collected"}, "does not hold"),
    ("SSE keeps connections", {"response": "collected"}, "does not hold"),
    ("'error': 'rate_limit'", {"seconds": 30.0}, "holds"),
    ("To avoid blocking", {"sync": "async"}, "does not hold"),
    ("The sync client works", {"sync": "async"}, "holds"),
    ("Restarting", {"after": 0}, "does not hold"),
    ("Restarting", {"recovery": "fail"}, "holds"),
    ("It's simpler", {"question": False}, "does not hold"),
    ("Server-Sent Events", {"ids": False}, "does not hold"),
    ("In container", {"sync": "async"}, "speaks against it"),
    ("For K8s", {"sync": "async"}, "holds"),
    ("With AsyncAnthropic", {"other": "sync"}, "does not hold"),
    ("With --workers 4", {"client": "sync", "count": 3}, "holds"),
    ("When real traffic", {"client": "sync", "count": 3}, "holds"),
    ("You'll need horizontal", {"client": "sync", "count": 3}, "holds"),
    ("If you need massive", {"client": "sync", "count": 3}, "agrees"),
    ("The practical solution", {"cut_upstream": False}, "holds"),
    ("When a client disconnects", {"leave": False}, "does not hold"),
    ("Follow that format", {"article_method": "get"}, "holds"),
    ("EventSource is GET-only", {"asker": "fetching"}, "does not hold"),
    ("Also check", {"kind": "text/event-stream"}, "does not hold"),
    ("const lines", {"first_cut": 0}, "holds"),
    ("The useChat hook", {"path": "/chat/ui"}, "holds"),
]


@pytest.mark.parametrize(("words", "change", "expected"), FLIPS, ids=[f"{words}: {kind}" for words, _, kind in FLIPS])
def test_without_its_cause_a_served_verdict_is_another(words: str, change: dict[str, Any], expected: str) -> None:
    """The same for the experiments that serve the article's server or start a browser."""
    comes_out(words, change, expected)


def test_no_verdict_is_certain_beforehand() -> None:
    """Every claim of the article has a change under which its experiment comes out differently."""
    changed = [words for words, _, _ in [*QUICK, *FLIPS]]

    assert [claim.quote for claim in CLAIMS if not claim.quote.startswith(tuple(changed))] == []
