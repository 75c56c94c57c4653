"""What the doctor found, as text for people and as data for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from claude_lab.causes import Finding
from claude_lab.prose import wrapped

Verdict = Literal["streams", "held", "origin", "cannot tell", "unreachable"]
HEADS = {"response head, no header": "no X-Accel-Buffering, head"}
"""The row that is about the head of an answer and not about its events: its name in the data, and for people."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the doctor found: a verdict for answers with our server's headers, the findings, and every probe's shape.

    `death` is how an upstream that breaks off looks to the client, `leaving` how many seconds it took until the
    origin knew that the client had left (None: not within two seconds), `silence` the longest gap that survived.
    `cured` are the findings of the report before, of which this is an `again()`, that are gone.
    """

    url: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    probes: dict[str, str]
    death: str = ""
    leaving: float | None = None
    silence: float | None = None
    seconds: float = 0.0
    cured: tuple[Finding, ...] = ()
    repeat: Callable[[tuple[Finding, ...], float], Report] | None = field(default=None, repr=False, compare=False)

    def again(self, *, within: float = 0.0) -> Report:
        """Probe once more, after the cure, and say what it cured.

        With `within` it keeps asking for so many seconds what did not stream, and examines the chain as soon as
        something of that does. Raises ValueError for a report that was not made by `doctor`.
        """
        if self.repeat is None:
            raise ValueError("This report knows no way to its chain; ask doctor(url) again.")
        after = self.repeat(self.findings, within)
        left = {(finding.cause, finding.when) for finding in after.findings}
        told = after.verdict != "unreachable"  # what cannot be reached is not cured
        gone = [finding for finding in self.findings if told and (finding.cause, finding.when) not in left]
        return replace(after, cured=tuple(gone))

    @property
    def streams(self) -> bool:
        """Whether events arrive as they are written."""
        return self.verdict == "streams"

    @property
    def exit_code(self) -> int:
        """For a script: 0 streams, 1 does not, 2 cannot be told."""
        return {"streams": 0, "held": 1, "origin": 1}.get(self.verdict, 2)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        names = ("url", "verdict", "probes", "death", "leaving", "silence", "seconds")
        findings = {name: [plain(finding) for finding in getattr(self, name)] for name in ("findings", "cured")}
        return {**{name: getattr(self, name) for name in names}, **findings}

    def __str__(self) -> str:
        lines = [f"{self.url}: {self.verdict}"]
        lines += [entry("cured", f"{finding.cause.value} ({finding.when})") for finding in self.cured]
        for finding in self.findings:
            lines.append(entry(finding.where, f"{finding.cause.value} ({finding.when}; {finding.evidence})"))
            lines += [entry("  streams after", finding.cured_by)] if finding.cured_by else []
            lines.append(entry("  fix", finding.fix))
        rows = list(self._rows())
        width = max((len(name) for name, _ in rows), default=0)
        return "\n".join([*lines, *(wrapped(told, first=f"  {name:<{width}}  ") for name, told in rows)])

    def _rows(self) -> Iterator[tuple[str, str]]:
        """Yield the table: what was asked, and what came of it."""
        for name, shape in self.probes.items():
            came = "status and headers: " if name in HEADS else ""
            yield HEADS.get(name, name), came + shape
        if self.death:
            yield "upstream breaks off", self.death
            known = f"after {self.leaving * 1000:.0f} ms" if self.leaving is not None else "not within 2 s"
            yield "client leaves, origin knows", known
        if self.silence is not None:
            yield "longest silence survived", f"{self.silence:g} s: heartbeat every {self.silence / 2:g} s"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def entry(name: str, told: str) -> str:
    """Return a named paragraph, indented."""
    return wrapped(f"{name.strip()}: {told}", first=" " * (2 + len(name) - len(name.lstrip())), rest=" " * 6)


def plain(finding: Finding) -> dict[str, str]:
    """Return a finding as plain data."""
    told = {"cause": finding.cause.name.lower(), "says": finding.cause.value, "fix": finding.fix}
    return {**told, **{name: getattr(finding, name) for name in ("where", "when", "evidence", "cured_by")}}
