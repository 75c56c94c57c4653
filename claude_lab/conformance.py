"""Conformance: how much of the Messages API's wire a server at a URL keeps to, as named checks with their sources.

Works against any fake, and against the real API (it costs tokens there). Checks that need a lab's control say "n/a"
elsewhere.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from claude_lab import (
    cache_checks,
    endpoint_checks,
    error_checks,
    head_checks,
    lab_checks,
    reply_checks,
    sdk_checks,
    stream_checks,
    tool_checks,
)
from claude_lab.exchange import CHECKS, Api, Broken, Check, Missing

FAMILIES = (
    head_checks,
    stream_checks,
    reply_checks,
    tool_checks,
    cache_checks,
    error_checks,
    endpoint_checks,
    sdk_checks,
    lab_checks,
)
MARKS = {"kept": "ok", "broken": "BROKEN", "n/a": "n/a"}


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found: "kept", "broken" with its evidence, or "n/a"."""

    check: Check
    outcome: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All results for one URL; prints as a table, `json()` for machines."""

    url: str
    results: tuple[Result, ...]

    @property
    def broken(self) -> list[Result]:
        """The rules that do not hold."""
        return [result for result in self.results if result.outcome == "broken"]

    @property
    def ok(self) -> bool:
        """Whether every rule that applies holds."""
        return not self.broken

    def count(self, outcome: str) -> int:
        """Return how many checks came out so."""
        return sum(1 for result in self.results if result.outcome == outcome)

    @property
    def summary(self) -> str:
        """One line."""
        kept, broken = self.count("kept"), self.count("broken")
        return f"{kept} of {kept + broken} rules kept, {self.count('n/a')} not applicable: {self.url}"

    def __str__(self) -> str:
        wide = max((len(result.check.name) for result in self.results), default=0)
        rows = [
            f"{MARKS[each.outcome]:6}  {each.check.name:{wide}}  {each.evidence or each.check.claim}"
            f" [{each.check.source}]"
            for each in self.results
        ]
        return "\n".join([*rows, self.summary])

    def json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "url": self.url,
            "kept": self.count("kept"),
            "broken": self.count("broken"),
            "checks": [
                {
                    "name": each.check.name,
                    "claim": each.check.claim,
                    "source": each.check.source,
                    "outcome": each.outcome,
                    "evidence": each.evidence,
                }
                for each in self.results
            ],
        }

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{MARKS[each.outcome]}</td><td><code>{each.check.name}</code></td>"
            f"<td>{html.escape(each.evidence or each.check.claim)}</td><td>{html.escape(each.check.source)}</td></tr>"
            for each in self.results
        )
        return f"<table><caption>{html.escape(self.summary)}</caption>{rows}</table>"


def examine(check: Check, api: Api) -> Result:
    """Run one check; whatever it trips over is a broken rule, and evidence."""
    try:
        check.run(api)
    except Broken as broken:
        return Result(check, "broken", str(broken))
    except Missing as missing:
        return Result(check, "n/a", str(missing))
    except Exception as error:
        return Result(check, "broken", f"{type(error).__name__}: {error}"[:300])
    return Result(check, "kept")


def run(url: str, *, only: Iterable[str] | None = None, key: str = "lab", timeout: float = 30.0) -> Report:
    """Check the API at a URL, all rules or `only` the named ones.

    Raises ValueError for a name or a URL that is none, and ConnectionError where nobody takes a connection.
    `key` is sent as a bearer token; `timeout` is the longest silence to bear, in seconds.
    """
    names = list(CHECKS) if only is None else list(only)
    if unknown := [name for name in names if name not in CHECKS]:
        raise ValueError(f"There is no check {unknown[0]!r}; the names stand in claude_lab.exchange.CHECKS.")
    api = Api(url.rstrip("/"), key, timeout)
    try:
        api.reach()
        return Report(url, tuple(examine(CHECKS[name], api) for name in names))
    finally:
        api.close()
