"""A trace as JSON and as a table, and back: for keeping a run, or for looking at it with other tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from claude_lab.trace import Mark, Trace

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "claude_lab.trace/1"


def to_json(trace: Trace, **facts: Any) -> str:
    """Return a trace as one JSON object: `marks` of [seconds, kind, value], and the `facts` beside them.

    Half a surrogate pair travels as its escape, so that the text comes back as it was.
    """
    marks = [[round(mark.at, 6), mark.kind, mark.value] for mark in trace.marks]
    return json.dumps({"format": FORMAT, **facts, "marks": marks})


def from_json(text: str) -> Trace:
    """Return the trace of `to_json`'s text.

    Raises ValueError when the text is something else.
    """
    found = json.loads(text)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"This is no {FORMAT!r}: {text[:60]!r}; give what to_json() returned.")
    return Trace(started=0.0, marks=[Mark(at, kind, value) for at, kind, value in found["marks"]])


def to_pandas(trace: Trace) -> pd.DataFrame:
    """Return one row a mark: `at` in seconds, `kind`, `text` of deltas and thinking, `value` of the others."""
    import pandas as pd  # optional

    said = ("delta", "thinking")
    return pd.DataFrame(
        {
            "at": [mark.at for mark in trace.marks],
            "kind": [mark.kind for mark in trace.marks],
            "text": [mark.value if mark.kind in said else None for mark in trace.marks],
            "value": [None if mark.kind in said else mark.value for mark in trace.marks],
        }
    )
