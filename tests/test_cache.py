"""The prompt cache: prefixes, lifetimes, minimum, and what each costs."""

from __future__ import annotations

from typing import Any

from claude_lab import tokens
from claude_lab.cache import Cache
from claude_lab.messages import Usage

LONG = "The quick brown fox jumps over the lazy dog. " * 400


def body(*marks: str | None, text: str = LONG) -> dict[str, Any]:
    """A request with one system block for each mark: a lifetime, or None for no breakpoint."""
    blocks = []
    for index, mark in enumerate(marks):
        control = {"cache_control": {"type": "ephemeral", "ttl": mark}} if mark else {}
        blocks.append({"type": "text", "text": f"{index} {text}", **control})
    return {"model": "m", "system": blocks, "messages": [{"role": "user", "content": "Hi"}]}


def used(cache: Cache, now: float, request: dict[str, Any]) -> Usage:
    """The usage of a request."""
    return cache.use(now, request, tokens.count_request(request), 1_024)


def test_a_prefix_is_written_then_read() -> None:
    """The second request reads what the first one wrote, and the sum stays the same."""
    cache = Cache()
    first, second = used(cache, 0, body("5m")), used(cache, 1, body("5m"))

    assert first.cache_5m == second.cache_read > 1_024
    assert first.input == second.input


def test_five_minutes_are_over_after_five_minutes() -> None:
    """Unused, a prefix is forgotten after its lifetime; a read renews it."""
    cache = Cache()
    read = [used(cache, now, body("5m")).cache_read > 0 for now in (0, 299, 598, 899)]

    assert read == [False, True, True, False]


def test_an_hour_lasts_longer() -> None:
    """A prefix marked for an hour is still read after fifty minutes, and counted apart."""
    cache = Cache()
    first, second = used(cache, 0, body("1h")), used(cache, 3_000, body("1h"))

    assert (first.cache_5m, first.cache_1h) == (0, second.cache_read)


def test_a_longer_prompt_reads_what_it_shares() -> None:
    """Two breakpoints: a request that changes after the first one still reads the first."""
    cache = Cache()
    first = used(cache, 0, body("1h", "5m"))
    changed = body("1h", "5m")
    changed["system"][1]["text"] = f"Something else. {LONG}"
    second = used(cache, 1, changed)

    assert second.cache_read == first.cache_1h
    assert second.cache_5m > 1_024


def test_a_short_prefix_is_not_cached() -> None:
    """Below the model's minimum nothing is written."""
    cache = Cache()

    assert used(cache, 0, body("5m", text="Be brief.")) == Usage(tokens.count_request(body("5m", text="Be brief.")))
    assert not cache.kept


def test_a_change_at_the_beginning_is_another_prompt() -> None:
    """Whatever comes before a breakpoint belongs to its prefix."""
    cache = Cache()
    used(cache, 0, body("5m"))

    assert used(cache, 1, body("5m", text=f"Today is Monday. {LONG}")).cache_read == 0


def test_one_mark_for_the_whole_request() -> None:
    """Top-level `cache_control` marks the last block of the prompt."""
    cache = Cache()
    request = {**body(None), "cache_control": {"type": "ephemeral"}}
    used(cache, 0, request)

    assert used(cache, 1, request).cache_read == tokens.count_request(request) - tokens.BASE - tokens.MESSAGE
