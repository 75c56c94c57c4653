from __future__ import annotations

import pytest
from test_strip import flaky

from claude_lab import export
from claude_lab.comparison import compare
from claude_lab.trace import Trace


def burst() -> Trace:
    """A run whose text comes all at once."""
    trace = Trace()
    for _ in range(20):
        trace.add("delta", "word ", at=9.0)
    trace.add("done", {"stop_reason": "end_turn"}, at=9.1)
    return trace


def test_runs_stand_side_by_side() -> None:
    """The table has a column for each run, named as the caller names it."""
    compared = compare(direct=flaky(), buffered=burst())

    assert compared.rows["first token (s)"] == [3.0, 9.0]
    assert compared.rows["largest burst (deltas)"] == [1, 20]
    assert str(compared).splitlines()[0].split() == ["direct", "buffered"]
    assert '<th scope="col">buffered</th>' in compared._repr_html_()


def test_the_same_words_are_the_same_text() -> None:
    """Whether the texts agree is said in words."""
    assert "The texts are the same." in str(compare(flaky(), burst()))
    assert "The texts differ." in str(compare(flaky(), Trace()))


def test_a_table_has_one_row_a_run() -> None:
    """The pandas form has the labels as its index."""
    pytest.importorskip("pandas")

    frame = compare(a=flaky(), b=Trace()).to_pandas()

    assert list(frame.index) == ["a", "b"]
    assert frame.loc["a", "attempts"] == 2


def test_one_run_is_not_a_comparison() -> None:
    """The error says what to give."""
    with pytest.raises(ValueError, match="two runs or more"):
        compare(flaky())
    with pytest.raises(TypeError, match="run 2 is 17 and has no trace"):
        compare(flaky(), 17)


def test_a_trace_survives_json() -> None:
    """Every mark comes back, half an emoji included."""
    trace = flaky()
    trace.add("delta", "\ud83d", at=9.0)

    again = export.from_json(export.to_json(trace, prompt="why?"))

    assert again.marks == trace.marks


def test_other_json_is_refused() -> None:
    """A text of another format is an error that shows how it begins."""
    with pytest.raises(ValueError, match="This is no"):
        export.from_json('{"format": "x"}')


def test_a_trace_is_a_table_of_marks() -> None:
    """One row a mark, with the text in its own column."""
    pytest.importorskip("pandas")

    frame = export.to_pandas(flaky())

    assert "".join(frame.text.dropna()) == "word " * 20
    assert list(frame.kind[:2]) == ["retry", "delta"]
