"""The article's own server, which benchmarks stand beside ours, is the article's."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import runpy
import sys
from pathlib import Path

import article_server
import pytest

from claude_lab.background import Portal, portal, serve
from claude_lab.crowd import Question, drive

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from canned import Upstream

DIGEST = "4b1fbc77e74b0979b10257f104de4795d3d96643e5b08da9adfdd7f8de8d2665"


def test_the_listing_is_verbatim() -> None:
    """Its lines are the article's, which lost their indentation where it was published: words and order are equal."""
    lines = article_server.LISTING.read_text("utf-8").splitlines()
    words = "\n".join(" ".join(line.split()) for line in lines if line.strip())

    assert hashlib.sha256(words.encode()).hexdigest() == DIGEST


def test_the_async_server_differs_in_three_lines() -> None:
    """The client's name and two times the word `async`, as the article says; nothing else."""
    old, new = (article_server.source(client).splitlines() for client in ("sync", "async"))

    assert len(old) == len(new)
    changed = [(before, after) for before, after in zip(old, new, strict=True) if before != after]
    assert [after.strip().removeprefix("async ") for _, after in changed[1:]] == [b.strip() for b, _ in changed[1:]]
    assert changed[0][1] == changed[0][0].replace("Anthropic(", "AsyncAnthropic(")
    assert len(changed) == 3


@pytest.mark.parametrize("client", ["sync", "async"])
def test_it_streams_from_the_upstream_of_the_environment(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ANTHROPIC_BASE_URL alone chooses what is behind it, and both kinds stream the whole answer."""

    async def upstream() -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)

    article_server.write(tmp_path, client)
    canned = portal().run(upstream())
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{canned.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "lab")
    apart = Portal()  # a sync client blocks its loop: not the one that its upstream is on
    try:
        main = runpy.run_path(str(tmp_path / "main.py"))
        with serve(main["app"], on=apart) as served:
            crowd = portal().run(drive(served.url, 2, Question({"message": "burst 30"}), health=None), timeout=20)
        close = main["client"].close
        if inspect.iscoroutinefunction(close):
            apart.run(close(), timeout=5)
        else:
            close()
    finally:
        apart.close()
        portal().loop.call_soon_threadsafe(canned.close)

    assert [(stream.events, stream.whole) for stream in crowd.streams] == [(31, True)] * 2
