"""The verdict on a client: what its requests, seen from the server, say about its retries, waits and streams.

Each judge looks at calls, which are attempts of one request in order, and names its evidence: the numbers of the
journal's entries. What a server cannot know it does not claim; where a fault of the client is only likely, the finding
says "may". Two judges go by chance, `lockstep` and `no_jitter`: they err once in 100,000 groups of waits, by
`chains.drawn`.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from claude_lab.chains import Calls, calls_of, drawn, known, numbers, pairs, together, waits
from claude_lab.journal import Entry, Journal

HOPELESS = frozenset({400, 401, 402, 403, 404, 405, 413, 422})
"""Statuses that no waiting cures."""
PASSING = frozenset({408, 409, 429, 500, 502, 503, 504, 520, 529})
"""Statuses that may pass."""
SHORT = 0.1
"""A wait below this is none, in seconds."""
OUTER = 15.0
"""A new call so soon after an exhausted one is an outer retry loop."""
ENDLESS, ALIKE = 10, 4
"""More attempts never end; so many calls with the same wait are no accident."""
PATIENCE, EARLY = 60.0, 0.95
CLEAN_CUTS = ("Truncate", "Empty")


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake: its code, what happened, and the numbers of the journal's entries that show it."""

    code: str
    evidence: str
    entries: tuple[int, ...]


def retry_after_ignored(calls: Calls) -> Iterator[Finding]:
    """It came back before the time it was told."""
    for before, after, wait in pairs(calls):
        if before.retry_after is not None and wait < EARLY * before.retry_after - 0.02:
            told = f"came back after {wait:.2f} s, was told {before.retry_after:g} s"
            yield Finding("retry_after_ignored", told, (before.number, after.number))


def no_backoff(calls: Calls) -> Iterator[Finding]:
    """It came back at once."""
    for before, after, wait in pairs(calls):
        if before.retry_after is None and wait < SHORT:
            yield Finding("no_backoff", f"came back after {wait:.3f} s", (before.number, after.number))


def constant_backoff(calls: Calls) -> Iterator[Finding]:
    """Its waits do not grow."""
    for call in calls:
        chosen = waits(call)
        if len(chosen) >= 3 and min(chosen) >= SHORT and max(chosen) < 1.1 * min(chosen):
            told = f"waited {', '.join(f'{wait:.2f}' for wait in chosen)} s"
            yield Finding("constant_backoff", told, numbers(call))


def no_jitter(calls: Calls) -> Iterator[Finding]:
    """Its waits double exactly, or are the same in call after call: more alike than chance makes them."""
    for call in calls:
        chosen = waits(call)
        doubled = [wait / 2**index for index, wait in enumerate(chosen)]
        if len(chosen) >= 3 and min(chosen) >= SHORT and not drawn(doubled):
            told = f"waited {', '.join(f'{wait:.2f}' for wait in chosen)} s"
            yield Finding("no_jitter", told, numbers(call))
    retried = [call for call in calls if len(call) > 1]
    first = [waits(call)[0] for call in retried if waits(call)]
    if len(first) >= ALIKE and min(first) >= SHORT and not drawn(first):
        told = f"{len(first)} calls waited {min(first):.3f} to {max(first):.3f} s before their first retry"
        yield Finding("no_jitter", told, tuple(number for call in retried for number in numbers(call)))


def lockstep(calls: Calls) -> Iterator[Finding]:
    """Calls that failed together came back together, though nobody told them when."""
    for group in together(calls):
        chosen = [wait for _, _, wait in group]
        if len(group) >= ALIKE and min(chosen) > 0 and not drawn(chosen):
            told = f"{len(group)} calls failed together and came back after {min(chosen):.3f} to {max(chosen):.3f} s"
            yield Finding("lockstep", told, tuple(after.number for _, after, _ in group))


def stacked_retries(calls: Calls) -> Iterator[Finding]:
    """A call that had used up its retries began again, from the first attempt: one retry loop around another."""
    by_body: dict[object, list[Sequence[Entry]]] = {}
    for call in calls:
        by_body.setdefault(call[0].fingerprint, []).append(call)
    for same in by_body.values():
        for first, second in itertools.pairwise(same):
            last = first[-1]
            apart = second[0].at - (last.ended_at or second[0].at + 1)
            if known(last) and len(first) >= 2 and last.ended not in ("complete", "open") and 0 <= apart < OUTER:
                told = f"{len(first)} attempts, and {apart:.1f} s later the first one again"
                yield Finding("stacked_retries", told, (*numbers(first), *numbers(second)))


def truncated_stream_accepted(calls: Calls) -> Iterator[Finding]:
    """A stream ended without its last event, and nothing was asked again."""
    continued = [call[0].at for call in calls if "continue from where" in str(call[0].body).lower()]
    for call in calls:
        last = call[-1]
        cut = last.ended == "fault" and (last.fault or "").startswith(CLEAN_CUTS)
        if cut and not any(at > last.at for at in continued):
            yield Finding("truncated_stream_accepted", f"{last.fault}, and no further attempt", (last.number,))


def retried_hopeless(calls: Calls) -> Iterator[Finding]:
    """It sent again what cannot succeed."""
    for before, after, _ in pairs(calls):
        spent = before.status == 429 and (before.fault or "").startswith("SpendLimited")
        if before.status in HOPELESS or spent:
            why = "the spend limit" if spent else f"status {before.status}"
            yield Finding("retried_hopeless", f"sent again after {why}", (before.number, after.number))


def should_retry_ignored(calls: Calls) -> Iterator[Finding]:
    """It was told not to come back, and did."""
    for before, after, _ in pairs(calls):
        if "should_retry=False" in (before.fault or ""):
            told = "sent again after x-should-retry: false"
            yield Finding("should_retry_ignored", told, (before.number, after.number))


def endless_retries(calls: Calls) -> Iterator[Finding]:
    """It does not know when to stop."""
    for call in calls:
        if len(call) > ENDLESS:
            yield Finding("endless_retries", f"{len(call)} attempts of one call", numbers(call))


def restarted_after_text(calls: Calls) -> Iterator[Finding]:
    """A stream broke after text had been sent, and the whole request came again: text may show twice."""
    for before, after, _ in pairs(calls):
        if before.text_sent and before.ended == "fault":
            told = f"{before.fault} after text was sent, then the same request again: text may show twice"
            yield Finding("restarted_after_text", told, (before.number, after.number))


def gave_up_at_once(calls: Calls) -> Iterator[Finding]:
    """It did not try again what may well pass."""
    for call in calls:
        if len(call) == 1 and call[0].status in PASSING and not (call[0].fault or "").startswith("SpendLimited"):
            yield Finding("gave_up_at_once", f"status {call[0].status}, and no further attempt", numbers(call))


def retried_a_success(calls: Calls) -> Iterator[Finding]:
    """It sent again what had been answered."""
    for before, after, _ in pairs(calls):
        if before.ended == "complete" and before.status == 200:
            yield Finding("retried_a_success", "sent again after a whole answer", (before.number, after.number))


def impatient(calls: Calls) -> Iterator[Finding]:
    """It left before the first byte and asked again: it pays twice for waiting once."""
    for before, after, _ in pairs(calls):
        if before.ended == "client left" and not before.sent_bytes:
            told = f"left after {before.duration or 0:.2f} s without a byte, and asked again"
            yield Finding("impatient", told, (before.number, after.number))


def no_timeout(calls: Calls) -> Iterator[Finding]:
    """It sat before a silent stream for a minute."""
    for entry in itertools.chain.from_iterable(calls):
        silent = (entry.fault or "").startswith(("Hang", "Stall"))
        if silent and (entry.duration or 0.0) > PATIENCE:
            yield Finding("no_timeout", f"waited {entry.duration or 0:.0f} s for nothing", (entry.number,))


def prefill_refused(calls: Calls) -> Iterator[Finding]:
    """It resumed by a prefill, which this model does not take."""
    for entry in itertools.chain.from_iterable(calls):
        body = entry.body if isinstance(entry.body, dict) else {}
        turns = body.get("messages")
        last = turns[-1] if isinstance(turns, list) and turns else None
        if entry.status == 400 and isinstance(last, dict) and last.get("role") == "assistant":
            yield Finding("prefill_refused", f"a final assistant turn for {body.get('model')}", (entry.number,))


JUDGES: tuple[Callable[[Calls], Iterator[Finding]], ...] = (
    retry_after_ignored,
    no_backoff,
    constant_backoff,
    no_jitter,
    lockstep,
    stacked_retries,
    truncated_stream_accepted,
    retried_hopeless,
    should_retry_ignored,
    endless_retries,
    restarted_after_text,
    gave_up_at_once,
    retried_a_success,
    impatient,
    no_timeout,
    prefill_refused,
)
"""Everything that is looked at; a finding's code is the judge's name."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings about one client."""

    findings: tuple[Finding, ...]
    calls: int
    attempts: int

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def codes(self) -> list[str]:
        """The codes found, each once, sorted."""
        return sorted({finding.code for finding in self.findings})

    def __str__(self) -> str:
        told = [
            f"{each.code}: {each.evidence} (requests {', '.join(map(str, each.entries))})" for each in self.findings
        ]
        return "\n".join([*told, f"{len(told)} findings in {self.attempts} attempts of {self.calls} calls"])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td><code>{each.code}</code></td><td>{html.escape(each.evidence)}</td>"
            f"<td>{', '.join(map(str, each.entries))}</td></tr>"
            for each in self.findings
        )
        last = str(self).splitlines()[-1]
        return (
            f"<table><caption>{last}</caption><tr><th>finding</th><th>evidence</th><th>requests</th></tr>{rows}</table>"
        )


def judge(journal: Journal | Sequence[Entry]) -> Verdict:
    """Return the verdict on the client whose requests a journal holds."""
    calls = calls_of(journal)
    found = tuple(finding for each in JUDGES for finding in each(calls))
    return Verdict(found, len(calls), sum(map(len, calls)))
