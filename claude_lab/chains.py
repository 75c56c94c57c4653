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


Retry: TypeAlias = tuple[Entry, Entry, float]
JITTER = 0.25
"""The least share of a wait that a client with jitter draws by chance: that of the SDK."""
ERROR = 1e-5
"""How often waits that were drawn are taken for waits that were not: once in so many groups of them."""


def drawn(chosen: Sequence[float]) -> bool:
    """Tell whether chance may be in waits that began with the same length: whether they differ enough.

    Of `n` even draws all lie within a share `x` of their range with probability n x^(n-1) - (n-1) x^n, by the
    distribution of the range (David and Nagaraja, "Order Statistics", 2003, section 2.3). Below `ERROR` it was not
    chance: four waits of half a second are within 1.7 ms then, ten within 27 ms, forty within 87 ms.
    """
    n, x = len(chosen), (max(chosen) - min(chosen)) / (JITTER * max(chosen))
    return x >= 1 or n * x ** (n - 1) - (n - 1) * x**n >= ERROR


def together(calls: Calls) -> Iterator[list[Retry]]:
    """Yield the retries, not told when, of calls that failed together: the same attempt, within `JITTER` of a wait."""
    for attempt in range(max(map(len, calls), default=1) - 1):
        same = [retry for call in calls for retry in list(pairs([call]))[attempt : attempt + 1]]
        failed = sorted((retry for retry in same if retry[0].retry_after is None), key=lambda retry: retry[0].at)
        group: list[Retry] = []
        for retry in failed:
            if group and retry[0].at - group[0][0].at > JITTER * group[0][2]:
                yield group
                group = []
            group.append(retry)
        yield group
