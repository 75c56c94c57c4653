"""Checks of the prompt cache: what is written, what is read, and how it is counted."""

from __future__ import annotations

from typing import Any

from claude_lab.exchange import Api, equal, expect, rule

CACHING = "API docs: prompt caching"

LONG = "The quick brown fox jumps over the lazy dog near the river bank. " * 400


def cached(api: Api, mark: str, *, ttl: str | None = None, text: str = LONG) -> Any:
    """Return the usage of a request whose system prompt is marked; `mark` makes it another prompt."""
    control = {"type": "ephemeral"} | ({"ttl": ttl} if ttl else {})
    system = [{"type": "text", "text": f"{mark} {text}", "cache_control": control}]
    return api.stream(fresh=True, system=system, max_tokens=16).usage


def mark_of(api: Api, name: str) -> str:
    """Return a mark that no earlier run has used."""
    return f"{name} {api.send('GET', '/v1/models', fresh=True).headers.get('request-id', id(api))} {id(api)}"


@rule(CACHING)
def cache_is_written_first(api: Api) -> None:
    """The first request with a long marked prefix writes it, and reads nothing."""
    usage = cached(api, mark_of(api, "a"))
    expect(usage["cache_creation_input_tokens"] > 2_000 and not usage["cache_read_input_tokens"], f"usage is {usage}")


@rule(CACHING)
def cache_is_read_next(api: Api) -> None:
    """The second one reads exactly what the first one wrote, and writes nothing."""
    mark = mark_of(api, "b")
    first, second = cached(api, mark), cached(api, mark)
    expect(first["cache_creation_input_tokens"] > 0, f"nothing was written: {first}")
    equal(second["cache_read_input_tokens"], first["cache_creation_input_tokens"], "cache_read_input_tokens")
    equal(second["cache_creation_input_tokens"], 0, "cache_creation_input_tokens")


@rule(CACHING)
def cached_counts_sum_up(api: Api) -> None:
    """Fresh, read and written input together stay the same."""
    mark = mark_of(api, "c")
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    first, second = (sum(cached(api, mark)[name] for name in names) for _ in range(2))
    equal(second, first, "the sum")


@rule(CACHING)
def cache_splits_by_lifetime(api: Api) -> None:
    """What lives an hour is counted apart from what lives five minutes."""
    hour, minutes = (cached(api, mark_of(api, f"d{ttl}"), ttl=ttl)["cache_creation"] for ttl in ("1h", "5m"))
    expect(hour["ephemeral_1h_input_tokens"] > 0 == hour["ephemeral_5m_input_tokens"], f"for an hour: {hour}")
    expect(minutes["ephemeral_5m_input_tokens"] > 0 == minutes["ephemeral_1h_input_tokens"], f"else: {minutes}")


@rule(CACHING)
def cache_needs_a_minimum(api: Api) -> None:
    """A short prefix is not cached, and that is no error."""
    usage = cached(api, mark_of(api, "e"), text="Be brief.")
    equal(usage["cache_creation_input_tokens"], 0, "cache_creation_input_tokens")


@rule(CACHING)
def cache_needs_the_same_prefix(api: Api) -> None:
    """A prefix that changed at its beginning is not read."""
    cached(api, mark_of(api, "f"))
    equal(cached(api, mark_of(api, "g"))["cache_read_input_tokens"], 0, "cache_read_input_tokens")
