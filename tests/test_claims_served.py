"""The claims whose experiments serve the article's server or start a browser can come out differently too."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import lacking
from test_claims import claim_about, clients, verdict_of

FLIPS: list[tuple[str, dict[str, Any], str]] = [
    ("The key is combining", {"response": "collected"}, "does not hold"),
    ("'error': 'rate_limit'", {"seconds": 30.0}, "holds"),
    ("The sync client works", {"sync": "async"}, "holds"),
    ("With --workers 4", {"client": "sync", "count": 3}, "holds"),
    ("The practical solution", {"cut_upstream": False}, "holds"),
    ("When a client disconnects", {"leave": False}, "does not hold"),
    ("Follow that format", {"article_method": "get"}, "holds"),
    ("const lines", {"first_cut": 0}, "holds"),
    ("The useChat hook", {"path": "/chat/ui"}, "holds"),
]


@pytest.mark.parametrize(("words", "change", "expected"), FLIPS, ids=[words for words, _, _ in FLIPS])
def test_without_its_cause_a_served_verdict_is_another(words: str, change: dict[str, Any], expected: str) -> None:
    """The same for the experiments that serve the article's server or start a browser."""
    claim = claim_about(words)
    try:
        outcome = claim.experiment(**change)
    except clients.Missing as missing:
        lacking(str(missing))

    assert claim.verdict(outcome) == expected
    assert verdict_of(claim) != expected
