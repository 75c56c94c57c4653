"""The article's claims: the committed verdicts come from experiments that can come out differently."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import lacking

DOCS = Path(__file__).parents[1] / "docs"
sys.path.append(str(DOCS))

from claims import PARTS, clients, loops, sentences, streaming  # noqa: E402
from claims.claim import Claim, plain  # noqa: E402

CLAIMS = [claim for claims in PARTS.values() for claim in claims]
LINES = (DOCS / "claims.md").read_text("utf-8").splitlines()


def line_of(claim: Claim) -> str:
    """Return the committed row of a claim."""
    (line,) = [line for line in LINES if line.startswith(f"| {plain(claim.quote)} | ")]
    return line


def verdict_of(claim: Claim) -> str:
    """Return the committed verdict of a claim."""
    return line_of(claim).removeprefix(f"| {plain(claim.quote)} | ").split(" | ")[0]


def claim_about(words: str) -> Claim:
    """Return the claim whose quote begins with these words."""
    (claim,) = [claim for claim in CLAIMS if claim.quote.startswith(words)]
    return claim


WITHOUT_BOTH = {"missing": ("proxy_buffering off;", "proxy_http_version 1.1;")}
# The claim, by the beginning of its quote; the change that takes its cause away; and the verdict then.
FLIPS: list[tuple[str, dict[str, Any], str]] = [
    ("When a model like", {"words": 1}, "speaks against it"),
    ("Anthropic API key", {"key": "any"}, "does not hold"),
    ("This is a mistake", {"presets": ("nginx-1.22",)}, "agrees"),
    ("This is a mistake", {"presets": ("nginx-1.30",)}, "speaks against it"),
    ("Claude's prompt caching", {"marked": False}, "speaks against it"),
    ("The usage object", {"marked": False}, "holds"),
    ("If you're processing", {"documents": 10}, "speaks against it"),
    ("This can happen", {"first": "async"}, "holds"),
    ("Python 3.11", {"packages": ("uvicorn",)}, "does not hold"),
    ("You only need four", {"packages": ("httpx",)}, "does not hold"),
    (".env", {"loads": True}, "holds"),
    (".env", {"name": "dot.env"}, "does not hold"),
    ("COPY", {"add": ("requirements.txt",)}, "holds"),
    ("COPY", {"written": ()}, "does not hold"),
    ("The SSE format", {"forms": ("as in the article",)}, "holds"),
    ("One thing to watch", {"client": "async"}, "does not hold"),
    ('"X-Accel-Buffering"', {"header": False}, "does not hold"),
    ('"X-Accel-Buffering"', {"spare": ("proxy_buffering off;",)}, "holds"),
    ("model=", {"name": "claude-haiku-5-5"}, "holds"),
    ("MAX_RETRIES = 3", {"spare": 1}, "holds"),
    ("return await fn", {"method": "create"}, "holds"),
    ("return await fn", {"other": "stream"}, "does not hold"),
    ("async for line", {"separator": " "}, "holds"),
    ("Each error type", {"second": "none"}, "holds"),
    ("RateLimitError", {"second": "none"}, "holds"),
    ("AuthenticationError", {"statuses": (429,)}, "does not hold"),
    ("raise #", {"statuses": (401, 529)}, "does not hold"),
    ("BadRequestError", {"bad": ("a prompt beyond the window",)}, "holds"),
    ("BadRequestError", {"bad": ("no message", "an unknown field")}, "does not hold"),
    ("APIConnectionError", {"at": "before headers"}, "holds"),
    ("APIConnectionError", {"early": "after headers"}, "does not hold"),
    ("Other", {"statuses": (403, 404)}, "holds"),
    ("Other", {"statuses": (503, 529)}, "does not hold"),
    ("An exponential backoff", {"default": 0}, "holds"),
    ("An exponential backoff", {"bare": 1}, "does not hold"),
    ("When I tested", {"failures": 3}, "does not hold"),
    ("The backoff worked", {"failures": 1}, "does not hold"),
    ("Rate limits differ", {"limits": (50, 50)}, "speaks against it"),
    ("and if your retry", {"rpm": 60_000}, "does not hold"),
    ("I'd recommend", {"prefix": "OTHER_"}, "does not hold"),
    ("I'd recommend", {"changes": tuple(loops.READS)}, "holds"),
    ("For Nginx reverse", {"line": "proxy_cache off;"}, "does not hold"),
    ("proxy_buffering off; #", {"line": "proxy_cache off;"}, "does not hold"),
    ("proxy_buffering off; #", {"header": False}, "holds"),
    ("proxy_read_timeout", {"gap": 1.0}, "holds"),
    ("Leaving out", {"missing": ("proxy_cache off;",)}, "does not hold"),
    ("Leaving out", {**WITHOUT_BOTH, "header": False, "counts": (20, 40)}, "holds"),
    ("That's not streaming", {"counts": (20, 40)}, "holds"),
    ("That's not streaming", {"http_version": "1.1"}, "does not hold"),
    ("First, combining", {"marked": False}, "holds"),
    ("But when using", {"marked": False}, "holds"),
    ("proxy_buffering off is", {"chains": ("nginx over HTTPS",)}, "agrees"),
    ("proxy_buffering off is", {"chains": ("jupyter-server-proxy",)}, "speaks against it"),
    ("Adding except", {"then": "raise"}, "holds"),
    ("Switching to", {"own_client": True}, "holds"),
    ("Either BASE_DELAY", {"load": 0.5}, "holds"),
    ("Check Anthropic's", {"high": 1.0}, "does not hold"),
]


@functools.cache
def outcome_of(experiment: Callable[..., Any], change: tuple[tuple[str, Any], ...]) -> Any:
    """Run an experiment with something changed."""
    return experiment(**dict(change))


def comes_out(words: str, change: dict[str, Any], expected: str) -> None:
    """Check that the verdict is another with the change; where it cannot be decided, that the leaning is."""
    claim = claim_about(words)

    try:
        verdict = claim.verdict(outcome_of(claim.experiment, tuple(change.items())))
    except clients.Missing as missing:
        lacking(str(missing))

    assert verdict == expected or (claim.beyond and verdict.endswith(expected))
    assert verdict != verdict_of(claim)


@pytest.mark.parametrize(("words", "change", "expected"), FLIPS, ids=[f"{words}: {kind}" for words, _, kind in FLIPS])
def test_without_its_cause_a_verdict_is_another(words: str, change: dict[str, Any], expected: str) -> None:
    """The same experiment with one thing changed gives the other verdict: what is committed could have been wrong."""
    comes_out(words, change, expected)


def test_each_claim_has_one_committed_row() -> None:
    """Every sentence stands once in the document, with a verdict of one of four kinds."""
    kinds = re.compile(r"(holds|holds if .+|does not hold|cannot be checked here: .+)")

    assert [line for line in LINES if line.startswith("| ") and not line.startswith("| the article says")] == [
        line_of(claim) for claim in CLAIMS
    ]
    assert all(kinds.fullmatch(verdict_of(claim)) for claim in CLAIMS)


def test_a_verdict_is_nowhere_written_by_hand() -> None:
    """A claim has rules and no verdict: the text of the document follows from the outcome alone."""
    claim = Claim("It rains.", streaming.legal_forms, lambda seen: seen.rain, "Rain: {rain}.", "An umbrella.")

    assert claim.verdict(Weather(True)) == "holds"
    assert claim.verdict(Weather(False)) == "does not hold"


def test_what_cannot_be_decided_here_leans_or_is_left_open() -> None:
    """Beside what is missing the verdict says where the experiment leans, on what condition, or that it does not."""
    claim = Claim(
        "It rains.",
        streaming.legal_forms,
        lambda seen: seen.rain,
        "",
        "",
        ("in {places}", lambda seen: seen.places),
        "a year",
    )

    told = [
        claim.verdict(Weather(rain, places))
        for rain, places in ((True, ()), (None, ()), (False, ()), (False, ("Ulm",)))
    ]

    assert [each.partition("checked ")[2].partition("checked ")[2] for each in told] == [
        "agrees",
        "leaves it open",
        "speaks against it",
        "agrees if in Ulm",
    ]


@dataclass(frozen=True)
class Weather:
    """An outcome."""

    rain: bool | None
    places: tuple[str, ...] = ()


def test_an_outcome_holds_no_milliseconds() -> None:
    """Experiments return counts, orders and statuses: the document is the same on a slow machine."""
    experiments = {claim.experiment for claim in CLAIMS}

    assert all(experiment.__doc__ and experiment.__doc__.strip().endswith(".") for experiment in experiments)
    assert all(each.__module__.startswith("claims.") for each in experiments)


LESSONS = sorted((DOCS.parent / "notebooks").glob("0[123]*.ipynb"))
SAYS = {
    "holds": r"\bholds?\b",
    "holds if": r"\bholds\b",
    "does not hold": r"not hold|neither holds|none of .* holds?\b",
    "cannot be checked here": r"cannot be checked",
}
"""What a lesson's verdict says for each kind."""


def paragraphs(lesson: Path) -> list[str]:
    """Return the paragraphs of a lesson's text, quotes without their mark."""
    cells = json.loads(lesson.read_text("utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    return [paragraph for text in texts for paragraph in text.split("\n\n")]


def quoted(paragraph: str) -> list[Claim]:
    """Return the claims that a quote in a lesson holds. Raises ValueError for a quote of nothing."""
    text = sentences.flat(paragraph.removeprefix("> "))
    found = [claim for claim in CLAIMS if sentences.pattern(claim.quote.rstrip(":")).search(text)]
    if not found and not text.startswith(tuple(sentences.NOT_FACTUAL)):
        raise ValueError(f"{paragraph!r} is no sentence of docs/claims.md; quote the article letter by letter.")
    return found


def condition(verdict: str) -> set[str]:
    """Return the words of a verdict's condition that are longer than three letters."""
    return set(re.findall(r"\w{4,}", verdict.partition(" if ")[2].lower()))


LIMITED = re.compile(r"\bholds,? (if|where|when|for|between|unless|as long as)\b|\*\*Verdict:?\*\*:? does not")
"""How a lesson limits a verdict."""


def said_otherwise(claim: Claim, paragraph: str, *, alone: bool) -> str:
    """Return what a lesson's verdict has otherwise than the document, or nothing; `alone` when it is on one quote.

    A condition must be said in the document's words. Where nothing can be decided here, a lesson need not say which
    way the rest leans.
    """
    verdict = verdict_of(claim)
    kind = next(kind for kind in sorted(SAYS, key=len, reverse=True) if verdict.startswith(kind))
    if not re.search(SAYS[kind], paragraph):
        return f"{kind!r} is not said"
    if kind == "holds if":
        left = condition(verdict) - set(re.findall(r"\w{4,}", paragraph.lower()))
        return f"of the condition {verdict!r} these words are not said: {sorted(left)}" if left else ""
    limit = LIMITED.search(paragraph) if alone and kind == "holds" else None
    return f"it holds without {limit[0]!r}" if limit else ""


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_a_lesson_gives_the_verdict_that_the_experiment_gave(lesson: Path) -> None:
    """Each quote in a lesson is a claim, and the next verdict gives its verdict, in the words of its condition."""
    open_quotes: list[Claim] = []
    wrong: list[str] = []
    for paragraph in paragraphs(lesson):
        if paragraph.startswith("> "):
            open_quotes += quoted(paragraph)
        elif paragraph.startswith("**Verdict"):
            alone = len(open_quotes) == 1
            told = {claim.quote: said_otherwise(claim, paragraph, alone=alone) for claim in open_quotes}
            wrong += [f"{quote}: {said}, but: {paragraph}" for quote, said in told.items() if said]
            open_quotes = []

    assert wrong == []
    assert open_quotes == [], "a quote without a verdict"


def test_a_lesson_that_leaves_a_condition_out_is_found() -> None:
    """A verdict without the document's condition, and one with a condition of its own, is another verdict."""
    limited, plain_one = claim_about("That's not streaming"), claim_about("The backoff worked")
    right = f"**Verdict:** {verdict_of(limited)}, that is, up to four kilobytes."

    assert "these words are not said" in said_otherwise(limited, "**Verdict:** holds.", alone=True)
    assert (
        said_otherwise(limited, right, alone=True) == said_otherwise(plain_one, "**Verdict:** holds.", alone=True) == ""
    )
    assert "holds without" in said_otherwise(plain_one, "**Verdict:** holds, unless it rains.", alone=True)


ARTICLE = "It rains |\na lot. The sun shines. Nobody knows why.\n"


def test_a_sentence_without_a_row_is_found() -> None:
    """What neither has a row nor stands in the table of sentences that claim nothing is named."""
    found = sentences.faults(ARTICLE, ["It rains a lot."], code={}, claims_nothing={"The sun": "weather"})

    assert found == ["Without a row: Nobody knows why.", "Counted 1 claims, and 1 sentences that are none."]


def test_a_row_out_of_order_or_not_in_the_article_is_found() -> None:
    """Rows follow the article's order, letter by letter but for line ends and the marks of tables."""
    quotes = ["Nobody knows why.", "It rains a lot.", "It snows."]

    assert sentences.misplaced(ARTICLE, quotes) == ["Out of order: It rains a lot.", "Not in the article: It snows."]


def test_a_committed_verdict_changed_by_hand_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` compares the document with what the experiments give."""
    import make_claims

    claim = claim_about("The SSE format")
    outcome = claim.experiment()
    honest = line_of(claim)
    forged = honest.replace(f" | {verdict_of(claim)} | ", " | holds | ")

    assert f" | {claim.verdict(outcome)} | " in claim.row()
    assert claim.row() == honest != forged
    assert make_claims.kind(forged) != make_claims.kind(honest)
