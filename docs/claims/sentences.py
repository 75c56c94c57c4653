"""Whether every sentence of the article has a row: what is left of its text without code, rows and the table below."""

from __future__ import annotations

import re
from collections.abc import Mapping

NEWLINE = "¶"

CODE = {
    "pip install fastapi": "If you're new",
    "claude-streaming-api/": "The skeleton",
    "import os": "Defining the request schema",
    "import asyncio": "Testing with curl",
    "$ curl -sN": "The SSE format rules",
    "client = anthropic.AsyncAnthropic(": "With AsyncAnthropic",
    "MAX_RETRIES = 3": "When I tested",
    "import time": "Docker image:",
    "FROM python": "For Nginx reverse proxy",
    "location /chat/stream": "Leaving out",
    "// EventSource": "Python (httpx):",
    "import httpx": "If you have a frontend",
}
"""How each listing begins, and the text after it."""

OPINION, ADVICE, POINTER, HEADING, QUESTION = (
    "a judgment of the author's", "advice", "points to another page", "a heading or a label", "asks"
)  # fmt: skip
NOT_FACTUAL = {
    "When building an AI backend": QUESTION,
    "Most of the time": "answers the question before it, without saying of what",
    "Having integrated this": OPINION,
    "The real complexity is": OPINION,
    "Prerequisites": HEADING,
    "- Basic understanding": ADVICE,
    "If you're new to Python": POINTER,
    "It cleanly solves": "speaks of another page",
    "Step ": HEADING,
    "Start with a clean": HEADING,
    "The skeleton of": HEADING,
    "That convenience is": OPINION,
    "Don't handle all": ADVICE,
    "Error Type": HEADING,
    "Honestly, the part": "the author's own doubt",
    "Docker image": HEADING,
    "Browser (JavaScript)": HEADING,
    "Python (httpx)": HEADING,
    "If you have a frontend": POINTER,
    "Limitations and Where": HEADING,
    "Here are the honest": HEADING,
    "Read Claude API": POINTER,
    "Second, uvicorn worker": OPINION,
    "Third, retry logic": OPINION,
    "What do you do when": QUESTION,
    "This pattern is also overkill": OPINION,
    "Troubleshooting FAQ": HEADING,
    "Q: ": HEADING,
    "Closing: ": HEADING,
    "FastAPI + AsyncAnthropic": OPINION,
    "- You have a Python team": OPINION,
    "- Streaming is a core": OPINION,
    "- You want OpenAPI": "says again what step 1 says",
    "To be honest": OPINION,
    "If you have a Node.js team": OPINION,
    "But for getting": OPINION,
    "Next steps": ADVICE,
    "Top comments": "not the article's",
}
"""How the sentences begin that say nothing an experiment could decide, and why."""


def flat(text: str) -> str:
    """Return a text in one line, without the marks of tables and code; its line ends are pilcrows."""
    joined = re.sub(r"\(\n", "(", text)
    return re.sub(r"[ \t|`]+", " ", re.sub(r"\n+", f" {NEWLINE} ", joined))


def pattern(quote: str) -> re.Pattern[str]:
    """Return what finds a quote in a flat text."""
    return re.compile(rf"[\s{NEWLINE}]+".join(map(re.escape, flat(quote).split())))


def prose(text: str, code: Mapping[str, str] = CODE) -> str:
    """Return the text without its listings. Raises ValueError where one does not begin or end as expected."""
    for first, after in code.items():
        start = re.search(rf"^{re.escape(first)}", text, re.MULTILINE)
        stop = start and re.compile(rf"^{re.escape(after)}", re.MULTILINE).search(text, start.end())
        if start is None or stop is None:
            raise ValueError(f"No listing begins with {first!r} and ends before {after!r}; is this the article?")
        text = text[: start.start()] + text[stop.start() :]
    return text


def misplaced(text: str, quotes: list[str]) -> list[str]:
    """Return a line for each quote that is not in the text, or stands before the one that it should follow."""
    whole, place, found = flat(text), 0, []
    for quote in quotes:
        here = pattern(quote).search(whole, place)
        if here is None:
            known = pattern(quote).search(whole)
            found.append(f"{'Out of order' if known else 'Not in the article'}: {quote}")
        else:
            place = here.end()
    return found


def faults(
    text: str,
    quotes: list[str],
    *,
    code: Mapping[str, str] = CODE,
    claims_nothing: Mapping[str, str] = NOT_FACTUAL,
) -> list[str]:
    """Return what is wrong between an article and the rows, and at the end a count."""
    left = flat(prose(text, code))
    for quote in quotes:
        left = pattern(quote).sub(NEWLINE, left, count=1)
    pieces = [piece.strip() for piece in re.split(rf"{NEWLINE}|(?<=[.?!])\s+(?=[A-Z])", left)]
    pieces = [piece for piece in pieces if re.search(r"\w", piece)]
    bare = [piece for piece in pieces if not piece.startswith(tuple(claims_nothing))]
    counted = f"Counted {len(quotes)} claims, and {len(pieces) - len(bare)} sentences that are none."
    return [*misplaced(text, quotes), *(f"Without a row: {piece}" for piece in bare), counted]
