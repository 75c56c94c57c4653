"""Runs side by side: when each began to speak, how it went on, what it cost, and whether they said the same."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from claude_lab import still, strip
from claude_lab.trace import Trace

if TYPE_CHECKING:
    import pandas as pd


def quantile(values: list[float], share: float) -> float | None:
    """Return the value below which `share` of them lie, or None of none."""
    ordered = sorted(values)
    return ordered[int(share * (len(ordered) - 1))] if ordered else None


MEASURES: dict[str, Callable[[Trace], Any]] = {
    "ending": strip.ending,
    "attempts": lambda trace: trace.attempts,
    "waited (s)": lambda trace: sum(trace.waits),
    "first token (s)": lambda trace: trace.ttft,
    "duration (s)": lambda trace: trace.duration,
    "tokens": still.tokens,
    "tokens/s": still.rate,
    "gap, median (s)": lambda trace: statistics.median(trace.gaps) if trace.gaps else None,
    "gap, 95 % (s)": lambda trace: quantile(trace.gaps, 0.95),
    "gap, longest (s)": lambda trace: max(trace.gaps, default=None),
    "largest burst (deltas)": lambda trace: max(trace.bursts(), default=0),
    "characters": lambda trace: len(trace.text),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several traces by label; shows itself as a table with one column a run."""

    traces: Mapping[str, Trace]

    @property
    def same_text(self) -> bool:
        """Whether all runs gave the same text."""
        return len({trace.text for trace in self.traces.values()}) == 1

    @property
    def rows(self) -> dict[str, list[Any]]:
        """Each measure, and its value for each run, None where there is none."""
        return {name: [measure(trace) for trace in self.traces.values()] for name, measure in MEASURES.items()}

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a run, one column a measure."""
        import pandas as pd  # optional

        return pd.DataFrame(self.rows, index=pd.Index(list(self.traces), name="run"))

    @property
    def verdict(self) -> str:
        """Say whether the texts agree."""
        return "The texts are the same." if self.same_text else "The texts differ."

    def __str__(self) -> str:
        lines = [["", *self.traces], *([name, *map(shown, values)] for name, values in self.rows.items())]
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([*(line.rstrip() for line in table), self.verdict])

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{escape(label)}</th>' for label in self.traces)
        body = "".join(
            f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(shown(v))}</td>" for v in values)}</tr>'
            for name, values in self.rows.items()
        )
        strips = "".join(f"<p>{escape(label)}</p>{strip.picture(trace)}" for label, trace in self.traces.items())
        return (
            f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table><p>{self.verdict}</p>{strips}"
        )


def shown(value: Any) -> str:
    """Return a cell's text: three figures for a float, a dash for nothing."""
    return "–" if value is None else f"{value:,.3g}" if isinstance(value, float) else f"{value}"


def compare(*runs: Any, **labeled: Any) -> Comparison:
    """Put runs side by side: `compare(a, b)`, or `compare(direct=a, buffered=b)`; traces will do.

    Raises TypeError for what has no trace, ValueError for fewer than two runs.
    """
    given = {**{f"run {i}": run for i, run in enumerate(runs, 1)}, **labeled}
    traces = {label: run if isinstance(run, Trace) else getattr(run, "trace", None) for label, run in given.items()}
    for label, trace in traces.items():
        if not isinstance(trace, Trace):
            raise TypeError(f"{label} is {given[label]!r} and has no trace; give runs or traces.")
    if len(traces) < 2:
        raise ValueError(f"There is nothing to compare in {list(given)!r}; give two runs or more.")
    return Comparison(traces)  # type: ignore[arg-type]  # the loop above has checked
