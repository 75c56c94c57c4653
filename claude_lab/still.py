"""The still: one finished run as plain HTML and plain text, readable with no kernel and no network."""

from __future__ import annotations

import functools
from html import escape

from claude_lab import strip
from claude_lab.assets import joined
from claude_lab.trace import Trace
from claude_lab.utf16 import whole

MOST_CHARS = 600_000
MOST_RENDERED = 100_000
ENDINGS = {
    "error": "The answer breaks off here: an error ended the stream.",
    "cut": "The answer breaks off here: the stream was cut.",
    "stopped": "Stopped here.",
    "done": "",
}
UNANSWERED = {
    "error": "Nothing was answered: an error came before the first word.",
    "cut": "Nothing was answered: the stream was cut before the first word.",
    "stopped": "Stopped before the first word.",
    "done": "",
}
MEANINGS = {
    "arrival": ("❘", "deltas, the higher the more at once"),
    "first": ("▼", "first token"),
    "attempt": ("▬", "attempt"),
    "wait": ("▬", "wait before the next attempt"),
    "gap": ("█", "nothing came"),
    "reset": ("◆", "resumed"),
    "done": ("▮", "end"),
    "stopped": ("▮", "stopped"),
    "cut": ("▮", "cut"),
    "error": ("▮", "error"),
}
"""The sign and the meaning of each kind of shape on the strip."""


@functools.cache
def style() -> str:
    """Return the style sheet that live view and still share."""
    return joined("stream.css")


def tokens(trace: Trace) -> int:
    """Return the output tokens: the number told with a whole answer, else an estimate from deltas and characters.

    An answer that was stopped or broke off knows only the number of `message_start`, from before it was written.
    """
    whole = trace.stop_reason not in (None, "stopped")
    told = trace.usage.get("output_tokens", 0) if whole else 0
    return int(told) or max(len(trace.arrivals), round(len(trace.text) / 4))


def rate(trace: Trace) -> float | None:
    """Return tokens per second from the first delta to the last, or None when they came at once."""
    seconds = sum(trace.gaps)
    return tokens(trace) / seconds if seconds > 0.05 else None


def count(number: int, noun: str) -> str:
    """Return "1 token", "2 tokens", "1,000 tokens"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def summary(trace: Trace) -> str:
    """Return the run in one line: how it ended, tokens, first token, rate, retries."""
    parts = [strip.ending(trace), count(tokens(trace), "token")]
    if trace.stop_reason == "max_tokens":
        parts[0] = "done (max_tokens reached)"
    if trace.ttft is not None:
        parts.append(f"first token {trace.ttft:.2f} s")
    speed = rate(trace)
    if speed is not None:
        parts.append(f"{speed:,.0f} tokens/s")
    if trace.waits:
        parts.append(count(trace.attempts, "attempt"))
    return " · ".join(parts)


def complaint(trace: Trace) -> str:
    """Return the error as one line, or an empty string."""
    error = trace.error
    if not error:
        return ""
    message = f"{error.get('error', 'error')}: {error.get('message', '')}"
    after = error.get("retry_after")
    return f"{message} (retry after {after} s)" if after is not None else message


def ending(trace: Trace) -> str:
    """Return how the answer ended, for the reader of its text; an empty string when it is whole."""
    how, head = strip.ending(trace), trace.last("head")
    if trace.text:
        return ENDINGS[how]
    if how == "error" and head and head.value >= 400:
        return f"Nothing was answered: the request was refused with HTTP status {head.value}."
    return UNANSWERED[how]


def text(trace: Trace, *, title: str = "") -> str:
    """Return the still as plain text: the answer, how it ended, and each retry on a line."""
    retries = [f"[{span.label}]" for span in strip.attempts(trace) if span.kind == "wait"]
    unanswered = "" if trace.text else ending(trace)
    lines = [title, whole(trace.text), *retries, complaint(trace), unanswered, f"[{summary(trace)}]"]
    return "\n".join(line for line in lines if line)


def html(trace: Trace, *, title: str = "", note: str = "", live: bool = False, stop_url: str = "") -> str:
    """Return the still as HTML.

    `live` leaves out how it ended, for a view that is drawn again and again; it may have a Stop button.
    """
    answer = whole(trace.text)
    wrong = complaint(trace)
    parts = [
        f'<div class="claude-lab cl-still"><style>{style()}</style>',
        f'<div class="cl-head"><strong class="cl-title">{escape(title)}</strong> '
        f'<span class="cl-status">{escape("streaming" if live else summary(trace))}</span>'
        f"{stop_button(stop_url) if live and stop_url else ''}</div>",
        f'<div class="cl-note">{escape(note)}</div>' if note else "",
        thinking(trace),
        f'<div class="cl-error">{escape(whole(wrong))}</div>' if wrong else "",
        plain(answer) if live else body(answer, ending(trace)),
        strip.picture(trace, live=live) + legend(trace, live=live) if trace.marks else "",
        "</div>",
    ]
    return "".join(parts)


def legend(trace: Trace, *, live: bool) -> str:
    """Return the line that says what the strip's shapes mean, of those that occur."""
    entries = ((kind, *told) for kind, told in MEANINGS.items() if kind in kinds(trace, live=live))
    told = (
        f'<span><i class="cl-{kind}" aria-hidden="true">{sign}</i> {meaning}</span>' for kind, sign, meaning in entries
    )
    return f'<div class="cl-legend">{" ".join(told)}</div>'


def kinds(trace: Trace, *, live: bool) -> set[str]:
    """Return the kinds of shapes that the strip has; a lone attempt and the end of a live one go unsaid."""
    shown = {span.kind for span in strip.spans(trace)} | {point.kind for point in strip.points(trace)}
    shown |= {"arrival"} if trace.arrivals else set()
    return shown - ({"cut"} if live else set()) - (set() if "wait" in shown else {"attempt"})


def stop_button(url: str) -> str:
    """Return a Stop button that needs no script: a form whose answer, which is empty, goes to an unseen frame."""
    return (
        '<iframe name="claude-lab-stop" hidden title="answer to Stop"></iframe>'
        f'<form method="post" action="{escape(url)}" target="claude-lab-stop" style="margin:0">'
        '<button class="cl-stop" type="submit">Stop</button></form>'
    )


def thinking(trace: Trace) -> str:
    """Return the thinking, folded; an empty string when there was none."""
    thought = whole(trace.thinking)
    if not thought:
        return ""
    return (
        f'<details class="cl-thinking"><summary>Thinking ({count(len(thought), "character")})</summary>'
        f'<div class="cl-text">{escape(capped(thought))}</div></details>'
    )


def body(answer: str, ending: str) -> str:
    """Return the answer as text; a Markdown answer comes rendered, with its text folded beside it."""
    if ending:
        return f'{plain(answer) if answer else ""}<div class="cl-ending">{escape(ending)}</div>'
    rendered = "" if len(answer) > MOST_RENDERED else markdown(answer)
    if not rendered:
        return plain(answer)
    return (
        f'<details class="cl-markdown" open><summary>Markdown</summary>'
        f'<div class="cl-rendered" role="region" aria-label="Answer, rendered" tabindex="0">{rendered}</div></details>'
        f'<details class="cl-source"><summary>Text</summary>{plain(answer)}</details>'
    )


def plain(answer: str) -> str:
    """Return the answer as text."""
    return f'<div class="cl-text" role="region" aria-label="Answer" tabindex="0">{escape(capped(answer))}</div>'


def markdown(answer: str) -> str:
    """Return `answer` rendered, HTML in it escaped; an empty string when it is plain paragraphs."""
    from markdown_it import MarkdownIt  # a few ms, wanted only here

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    blocks = reader.parse(answer)
    inline = {child.type for block in blocks for child in block.children or ()}
    plain = {"paragraph_open", "paragraph_close", "inline"}
    if {block.type for block in blocks} <= plain and inline <= {"text", "softbreak", "hardbreak"}:
        return ""
    reader.disable("image")
    return str(reader.render(answer))


def capped(answer: str) -> str:
    """Return at most `MOST_CHARS` characters, and say how many more there are."""
    more = len(answer) - MOST_CHARS
    return answer if more <= 0 else f"{answer[:MOST_CHARS]}\n… {more:,} more characters; the run's .text has them all."
