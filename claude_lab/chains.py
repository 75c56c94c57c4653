"""Which requests belong together: the attempts of each call, found in a journal.

The client's own count of retries is believed where it sends one; else equal bodies after a failure are one call.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from claude_lab.journal import Entry, Journal

LINKED = 120.0
"""Equal requests further apart, in seconds, are two calls."""


Calls: TypeAlias = Sequence[Sequence[Entry]]


def known(entry: Entry) -> bool:
    """Tell whether the client says which attempt this is."""
    return "x-stainless-retry-count" in entry.headers or "x-claude-lab-attempt" in entry.headers


def calls_of(journal: Journal | Sequence[Entry]) -> list[list[Entry]]:
    """Return the attempts of each call, by the client's own numbers where it gives them, else by equal bodies.

    A client that counts but never gets past its first attempt has a loop of its own around it: equal bodies again.
    """
    entries = [entry for entry in journal if entry.path == "/v1/messages"]
    counting = {name_of(entry) for entry in entries if known(entry) and entry.attempt > 1}
    calls: list[list[Entry]] = []
    begun: dict[object, list[list[Entry]]] = {}
    for entry in entries:
        name = name_of(entry)
        same = begun.setdefault(name, [])
        found = next((call for call in same if follows(call[-1], entry, counted=name in counting)), None)
        if found is None:
            found = []
            calls.append(found)
            same.append(found)
        found.append(entry)
    return calls


def name_of(entry: Entry) -> object:
    """Return what the attempts of one call have in common."""
    return entry.call or entry.fingerprint


def follows(last: Entry, entry: Entry, *, counted: bool) -> bool:
    """Tell whether an entry is the next attempt after another; `counted` if its client's numbers tell."""
    if last.ended_at is None or last.ended_at > entry.at:
        return False
    if counted:
        return entry.attempt == last.attempt + 1
    return last.ended != "complete" and entry.at - last.ended_at < LINKED


def pairs(calls: Calls) -> Iterator[tuple[Entry, Entry, float]]:
    """Yield each attempt with the one before it, and the seconds between."""
    for call in calls:
        for before, after in itertools.pairwise(call):
            yield before, after, after.at - (before.ended_at or before.at)


def waits(call: Sequence[Entry]) -> list[float]:
    """Return the waits of a call that the client chose itself."""
    return [wait for before, _, wait in pairs([call]) if before.retry_after is None]


def numbers(call: Sequence[Entry]) -> tuple[int, ...]:
    """Return the numbers of a call's entries."""
    return tuple(entry.number for entry in call)
