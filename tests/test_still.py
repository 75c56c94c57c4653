from __future__ import annotations

import re

import pytest

from claude_lab import still
from claude_lab.trace import Trace


def ended(text: str, **done: object) -> Trace:
    """A run that said `text`."""
    trace = Trace()
    pieces = re.findall(r"(?s).{1,4}", text)
    for i, piece in enumerate(pieces):
        trace.add("delta", piece, at=0.1 + i / 100)
    trace.add("done", {"stop_reason": "end_turn", **done}, at=0.2 + len(pieces) / 100)
    return trace


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "# T\n\n<img src=x onerror=alert(1)>", "[a](javascript:x)"]
)
def test_html_in_the_answer_is_text(text: str) -> None:
    """Markup from a model is shown, never run, in the text as in the rendered Markdown."""
    page = still.html(ended(text), title="<b>", note="<i>")

    assert not re.search(r"<script|<img src|<b>|<i>|href=.javascript", page)


def test_markdown_is_rendered_beside_its_text() -> None:
    """An answer with structure comes rendered, and as it was written."""
    page = still.html(ended("# Title\n\n- one\n- two"))

    assert "<li>one</li>" in page
    assert "# Title\n\n- one" in page


def test_plain_paragraphs_are_shown_once() -> None:
    """Prose without markup gets no toggle."""
    assert "<details" not in still.html(ended("One paragraph.\n\nAnother one."))


def test_no_image_is_fetched() -> None:
    """A picture in the answer stays a link: a saved notebook asks no server for anything."""
    page = still.html(ended("# T\n\n![x](http://example.com/x.png)"))

    assert re.findall('src="([a-z]+):', page) == ["data"]


@pytest.mark.parametrize(
    ("final", "said"),
    [
        (None, "breaks off here: the stream was cut"),
        (("error", {"error": "overloaded", "message": "busy"}), "breaks off here: an error"),
        (("done", {"stop_reason": "stopped"}), "Stopped here."),
    ],
)
def test_an_unfinished_answer_says_so(final: tuple[str, dict[str, str]] | None, said: str) -> None:
    """What was cut, stopped or failed never looks complete."""
    trace = Trace()
    trace.add("delta", "Half an ans")
    if final:
        trace.add(*final)

    assert said in still.html(trace)
    assert still.text(trace).splitlines()[-1].startswith(("[cut", "[error", "[stopped"))


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        ([("head", 429), ("error", {"error": "rate_limit"})], "the request was refused with HTTP status 429."),
        ([("head", 200), ("error", {"error": "overloaded"})], "an error came before the first word."),
        ([("head", 200)], "the stream was cut before the first word."),
    ],
)
def test_what_never_began_does_not_break_off(marks: list[tuple[str, object]], said: str) -> None:
    """Where no word came the still says that nothing was answered and why, and shows no empty answer."""
    trace = Trace()
    for kind, value in marks:
        trace.add(kind, value)

    page = still.html(trace)

    assert f"Nothing was answered: {said}" in page
    assert f"Nothing was answered: {said}" in still.text(trace)
    assert "breaks off" not in page
    assert "cl-text" not in page.partition("</style>")[2]


def test_the_legend_names_what_occurs_and_no_more() -> None:
    """A plain run has deltas, a first token and an end; a retried one also attempts and waits."""
    plain, retried = ended("a b c"), ended("a b c")
    retried.add("retry", {"error": "rate_limit", "attempt": 1, "wait": 0.02}, at=0.05)

    told = [re.findall("</i> ([^<]+)<", still.legend(trace, live=False)) for trace in (plain, retried)]

    assert told[0] == ["deltas, the higher the more at once", "first token", "end"]
    assert set(told[1]) - set(told[0]) == {"attempt", "wait before the next attempt"}


def test_while_it_streams_nothing_is_called_cut() -> None:
    """A trace without an end is a cut one for the still, and for the live view one that goes on."""
    trace = Trace()
    trace.add("delta", "a")

    assert "> cut<" in still.legend(trace, live=False)
    assert "> cut<" not in still.legend(trace, live=True)


def test_a_long_answer_is_capped_and_says_how_much_more() -> None:
    """A megabyte of text leaves a still of bounded size."""
    page = still.html(ended("word " * 200_000))

    assert len(page) < 700_000
    assert "400,000 more characters" in page


def test_the_summary_counts_what_upstream_counted() -> None:
    """The tokens are those of `usage`, once the run has ended."""
    said = still.summary(ended("some words", usage={"output_tokens": 1234}))

    assert said.startswith("done · 1,234 tokens · first token 0.10 s")


def test_the_summary_of_a_stopped_answer_counts_what_came() -> None:
    """The beginning's count, of a single token, is not told for an answer that was stopped."""
    said = still.summary(ended("some words", stop_reason="stopped", usage={"output_tokens": 1}))

    assert said.startswith("stopped · 3 tokens")


def test_thinking_is_folded() -> None:
    """The thinking stands in a closed fold, not in the answer."""
    trace = ended("answer")
    trace.add("thinking", "hm")

    assert "<summary>Thinking (2 characters)</summary>" in still.html(trace)
    assert "<details open" not in still.html(trace)
