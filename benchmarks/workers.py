"""How many streams a worker holds, and whether it answers `/health` meanwhile: prints a table.

    python benchmarks/workers.py                    # one worker and four; about a minute
    python benchmarks/workers.py --quick
    python benchmarks/workers.py --json FILE        # the rows, for docs/make_server.py

The upstream is `benchmarks/canned.py`, in a process of its own: 40 events a second on each stream.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from relay import upstream

from claude_lab.workers import Case, measure

CASES: tuple[Case, ...] = (
    ("async", 1, 60),
    ("threads", 1, 60),
    ("sync", 1, 6),
    ("sync", 4, 12),
    ("async", 4, 60),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="streams of half a second, and fewer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows")
    options = parser.parse_args()
    cases = tuple((way, workers, min(streams, 40)) for way, workers, streams in CASES) if options.quick else CASES
    with upstream() as url:
        table = measure(cases, message="paced 20 0.025" if options.quick else "paced 80 0.025", url=url)
    print(table)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in table.rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
