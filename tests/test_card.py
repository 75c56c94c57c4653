from __future__ import annotations

import pytest

from claude_lab import card

FACTS = {"url": "http://127.0.0.1:8123/s3cret", "upstream": "fake <Claude>", "spent": card.spent(0.01234, 0.25)}


def test_the_card_tells_its_facts() -> None:
    """Every fact stands in the HTML, escaped, and in the text."""
    page, lines = card.html("Lab", FACTS, url=FACTS["url"]), card.text("Lab", FACTS)

    assert "fake &lt;Claude&gt;" in page
    assert "$0.0123 of at most $0.25" in page
    assert lines.splitlines()[1] == "  url       http://127.0.0.1:8123/s3cret"


def test_behind_a_hub_the_links_go_through_its_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser on another machine reaches the kernel's port under the user's prefix."""
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/")

    assert 'href="/user/ada/proxy/8123/s3cret/docs"' in card.html("Lab", FACTS, url=FACTS["url"])


def test_on_a_laptop_the_links_are_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a hub the link is the lab's own URL."""
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)

    assert 'href="http://127.0.0.1:8123/s3cret/docs"' in card.html("Lab", FACTS, url=FACTS["url"])
