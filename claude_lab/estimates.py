"""A plan from one's own service: limits from headers, pace and arrivals from traces or a log, and what was assumed."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from claude_lab.amounts import MOST, is_amount
from claude_lab.faults import Fault, Overloaded, ServerError
from claude_lab.limits import Limits
from claude_lab.pacing import Pace
from claude_lab.trace import Trace

PREFIX = "anthropic-ratelimit-"
FAULTS: dict[int, Fault] = {529: Overloaded(), 500: ServerError(), 503: ServerError(status=503)}
"""What stands for each failing status of a log; rate limits come from the limits instead."""


def headers_of(source: Any) -> Mapping[str, str]:
    """Return the headers of a response, of a run, or the mapping itself. Raises TypeError for anything else."""
    inner = getattr(source, "response", None)
    for place in (source, getattr(source, "headers", None), getattr(inner, "headers", None)):
        if isinstance(place, Mapping):
            return {str(name).lower(): str(value) for name, value in place.items()}
    raise TypeError(f"{source!r} has no headers; give a response, a run, or the headers themselves.")


def limits_of(source: Any) -> tuple[Limits, list[str]]:
    """Return the limits that the rate limit headers name, and what they leave open.

    Raises ValueError when there are none: some accounts get none.
    """
    headers = headers_of(source)
    names = ("requests", "input-tokens", "output-tokens")
    told = {name: headers.get(f"{PREFIX}{name}-limit") for name in names}
    if not any(told.values()):
        raise ValueError(f"There is no {PREFIX}*-limit header; give limits=Limits(...) from your console instead.")
    requests, inputs, outputs = (limit_of(name, value) if value else None for name, value in told.items())
    assumed = [f"no limit on {name}, as no header names one" for name, value in told.items() if not value]
    assumed += ["buckets hold a minute's worth", "retry-after is the time to the next token, in whole seconds"]
    return Limits(requests, inputs, outputs), assumed


def limit_of(name: str, value: str) -> float:
    """Return the limit that a header names. Raises ValueError for a text that is none."""
    try:
        limit = float(value)
    except ValueError:
        limit = math.nan
    if not is_amount(limit, above=0):
        raise ValueError(f"{PREFIX}{name}-limit says {value!r:.60}, which is no limit; give a number above 0.")
    return limit


def traces_of(runs: Any) -> list[Trace]:
    """Return the traces of one or several runs or traces. Raises TypeError for anything else."""
    several = runs if isinstance(runs, Iterable) else [runs]
    traces: list[Any] = [getattr(run, "trace", run) for run in several]
    if strange := [each for each in traces if not isinstance(each, Trace)]:
        raise TypeError(f"{strange[0]!r:.60} is neither a run nor a trace; give what lab.stream() returned.")
    return traces


def lognormal_of(samples: Sequence[float], usual: tuple[float, float]) -> tuple[float, float]:
    """Return (median, spread) of positive samples; the usual ones when there are fewer than two."""
    logs = [math.log(each) for each in samples if each > 0]
    if len(logs) < 2:
        return (math.exp(logs[0]), 0.0) if logs else usual
    return math.exp(statistics.median(logs)), statistics.stdev(logs)


def pace_of(ttfts: Sequence[float], gaps: Sequence[float]) -> tuple[Pace, list[str]]:
    """Return the pace that these waits and gaps, in seconds, look drawn from, and what was assumed."""
    usual = Pace()
    ttft, ttft_spread = lognormal_of(ttfts, (usual.ttft, usual.ttft_spread))
    gap, gap_spread = lognormal_of(gaps, (usual.gap, usual.gap_spread))
    assumed = [f"waits and gaps are lognormal, fitted to {len(ttfts)} waits and {len(gaps)} gaps"]
    if len(ttfts) < 2:
        assumed.append(f"too few waits to fit a spread: {ttft:.3g} s each")
    return Pace(ttft, gap, ttft_spread, gap_spread), assumed


@dataclass(frozen=True, slots=True)
class Seen:
    """One call of a log: when it came, in seconds, and what is known of it."""

    at: float
    status: int | None = None
    ttft: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


def when(value: Any) -> float:
    """Return a time in seconds: a number, or an ISO date."""
    try:
        return float(value)
    except ValueError:
        return datetime.fromisoformat(str(value)).timestamp()


def seen_of(row: Mapping[str, Any], place: str) -> Seen:
    """Return one line of a log. Raises ValueError, with its place, when it has no readable time."""
    try:
        known = {name: value for name, value in row.items() if value not in (None, "")}
        names = ("status", "input_tokens", "output_tokens")
        numbers = {name: int(float(known[name])) for name in names if name in known}
        seen = Seen(when(known["at"]), ttft=float(known["ttft"]) if "ttft" in known else None, **numbers)
        if not is_amount(seen.at, least=-MOST) or not is_amount(seen.ttft or 0.0):
            raise ValueError("no time")
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        need = "give `at` in seconds or as an ISO date, and the rest as numbers"
        raise ValueError(f"{place} is not a call: {row!r:.100}; {need}.") from None
    return seen


def json_of(line: str) -> Any:
    """Return what a line says, or the line itself when it is no JSON: no call either, and the error shows it."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return line


def log_of(path: str | Path) -> list[Seen]:
    """Return the calls of a log, in order of time: JSON lines, or CSV with a head line; only `at` must be known.

    Raises ValueError for a line that is no call, and for an empty log.
    """
    where = Path(path)
    with where.open(encoding="utf-8", newline="") as file:
        rows: Iterator[Any] = csv.DictReader(file)
        if where.suffix in (".jsonl", ".ndjson", ".json"):
            rows = (json_of(line) for line in file if line.strip())
        calls = [seen_of(row, f"Call {number} of {where.name}") for number, row in enumerate(rows, 1)]
    if not calls:
        raise ValueError(f"{where.name} has no calls; give JSON lines, or CSV with the columns at, status, ttft, ...")
    return sorted(calls, key=lambda call: call.at)


def odds_of(statuses: Iterable[int | None]) -> dict[Fault, float]:
    """Return how often each transient error came, as odds of an attempt."""
    known = [status for status in statuses if status is not None]
    counts = Counter(status for status in known if status in FAULTS)
    return {FAULTS[status]: count / len(known) for status, count in sorted(counts.items())}


def middle(values: Iterable[int | None], usual: int) -> int:
    """Return the median of what is known, else the usual number; at least 1."""
    known = [value for value in values if value is not None]
    return max(1, round(statistics.median(known))) if known else usual
