"""Write docs/claims.md: every factual sentence of the article, tried, with the verdict that its experiment gives.

    python docs/make_claims.py                   runs every experiment and writes the table
    python docs/make_claims.py --check           runs them and exits with 1 and a diff when the committed table differs
    python docs/make_claims.py --article FILE    says which sentences of the article's text have no row, and which
                                                 rows are not in it, or not in its order

Needs node, chromium, and the npm packages of tests/ui. Where one is missing, `--check` takes the rows that need it
as they are; with CLAUDE_LAB_NEED_ALL=1, as in CI, it fails.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE / "claims.md"
sys.path.insert(0, str(HERE))

from claims import PARTS, sentences  # noqa: E402  # beside this file
from claims.claim import Claim, plain  # noqa: E402
from claims.clients import Missing  # noqa: E402

INTRO = """\
# The article, sentence by sentence

Written by `make claims` and checked in CI; do not edit.
The lab grew from an article on production patterns for streaming Claude with FastAPI. Here each of its factual
sentences stands on trial, and the lines of its listings that claim something, {count} in all:
an experiment runs, and a rule turns what came out into the verdict.
{tally}.

The experiments are in [docs/claims](claims); they use the real SDK, real servers and clients on this machine, a fake
Claude upstream, and virtual time where waiting matters. A fake is not production: what only the API, a cluster or an
invoice can tell is marked as such, with what was checked instead.
"""


TALLY = {
    "holds if": "hold under a condition",
    "holds": "hold",
    "does not hold": "do not",
    "cannot be checked here": "cannot be checked here",
}


def kind(line: str) -> str:
    """Return a row's verdict without its condition."""
    return next(name for name in TALLY if re.search(rf"[^\\] \| {name}", line))


def rows(kept: str, *, checking: bool) -> Iterator[tuple[str, Claim, str]]:
    """Run every claim; yield its part, itself and its line."""
    old = {line.split(" | ")[0]: line for line in kept.splitlines()}
    for part, claims in PARTS.items():
        for claim in claims:
            try:
                yield part, claim, claim.row()
            except Missing as error:
                if not checking or os.environ.get("CLAUDE_LAB_NEED_ALL") == "1":
                    raise SystemExit(f"{error}") from None
                print(f"Not tried: {claim.quote[:60]}... {error}", file=sys.stderr)
                yield part, claim, old.get(f"| {plain(claim.quote)}", "")


def document(kept: str, *, checking: bool) -> str:
    """Run everything and return the document."""
    made = list(rows(kept, checking=checking))
    tally = Counter(kind(line) for _, _, line in made)
    told = ", ".join(f"{tally[name]} {words}" for name, words in TALLY.items())
    lines = [INTRO.format(count=len(made), tally=told)]
    for part in PARTS:
        lines += [
            f"## {part}\n",
            "| the article says | verdict | experiment, and what came out | instead |",
            "|---|---|---|---|",
        ]
        lines += [line for where, _, line in made if where == part] + [""]
    return "\n".join(lines)


def main() -> int:
    """Write the document, compare it, or compare its rows with the article."""
    if "--article" in sys.argv:
        text = Path(sys.argv[sys.argv.index("--article") + 1]).read_text("utf-8")
        found = sentences.faults(text, [claim.quote for claims in PARTS.values() for claim in claims])
        print(*found, sep="\n")
        return int(any(not line.startswith("Counted") for line in found))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"  # none stands before this machine itself
    kept = TARGET.read_text("utf-8") if TARGET.exists() else ""
    made = document(kept, checking="--check" in sys.argv)
    if "--check" not in sys.argv:
        TARGET.write_text(made, "utf-8")
        return 0
    sys.stdout.writelines(difflib.unified_diff(kept.splitlines(True), made.splitlines(True), "committed", "now"))
    return int(kept != made)


if __name__ == "__main__":
    raise SystemExit(main())
