"""How many streams a worker holds: measured, for three ways to call the SDK, with one worker and with several.

`measure()` starts real uvicorn processes in front of a fake that paces its answers, and sends each a crowd. How many
streams went on at once is a mean, over the time from the first piece of any to the last end.
"""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from claude_lab import background
from claude_lab.crowd import Crowd, Question, drive
from claude_lab.fake import FakeClaude
from claude_lab.pacing import Pace
from claude_lab.replies import Voice
from claude_lab.scenario import Scenario

Case = tuple[str, int, int]
WAYS = {
    "async": "async client",
    "sync": "sync client in an async endpoint",
    "threads": "sync client in a pool of threads",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One way with so many workers under so many streams; latencies and `took` are in seconds."""

    way: str
    workers: int
    streams: int
    whole: int
    at_once: float
    took: float
    ttft_p50: float
    ttft_worst: float
    health_p50: float
    health_worst: float
    health_answered: int

    @property
    def name(self) -> str:
        """What is measured, in words."""
        return f"{WAYS[self.way]}, {self.workers} worker{'s' if self.workers > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Table:
    """The rows, by `table["sync", 4]`."""

    rows: tuple[Row, ...]

    def __getitem__(self, key: tuple[str, int]) -> Row:
        for row in self.rows:
            if (row.way, row.workers) == key:
                return row
        raise KeyError(f"{key!r} was not measured; there are {[(row.way, row.workers) for row in self.rows]}.")

    def __str__(self) -> str:
        cells = [list(COLUMNS), *([text(row) for text in COLUMNS.values()] for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in cells
        )

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in COLUMNS)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(text(row))}</td>" for text in COLUMNS.values()) + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


COLUMNS: dict[str, Any] = {
    "": lambda row: row.name,
    "streams": lambda row: f"{row.streams}",
    "whole": lambda row: f"{row.whole}",
    "at once": lambda row: f"{row.at_once:.1f}",
    "all done after (s)": lambda row: f"{row.took:.1f}",
    "first token, median (s)": lambda row: f"{row.ttft_p50:.2f}",
    "worst (s)": lambda row: f"{row.ttft_worst:.2f}",
    "/health, median (ms)": lambda row: f"{row.health_p50 * 1e3:,.0f}",
    "worst (ms)": lambda row: f"{row.health_worst * 1e3:,.0f}",
}


def measure(
    cases: Sequence[Case] = (("async", 1, 40), ("sync", 1, 5), ("sync", 4, 8)),
    *,
    words: int = 20,
    gap: float = 0.03,
    message: str = "Go on.",
    url: str | None = None,
) -> Table:
    """Measure the cases (a way, how many workers, how many streams) and return the table.

    Each answer has about so many `words`, `gap` seconds apart. Cases with equal numbers of workers share a server.
    `url` names another upstream than a fake of its own, to be asked `message`. Raises ValueError for an unknown way,
    RuntimeError when the servers do not start.
    """
    for way, _, _ in cases:
        if way not in WAYS:
            raise ValueError(f"There is no way {way!r}; choose from {', '.join(WAYS)}.")
    with contextlib.ExitStack() as stack:
        if url is None:
            voice = Voice(" ".join(["word"] * words), thinking=False)
            url = stack.enter_context(FakeClaude(Scenario(voice=voice, pace=Pace(gap, gap, 0.0, 0.0)))).url
        servers = stack.enter_context(started(sorted({workers for _, workers, _ in cases}), url))
        return Table(tuple(row(case, send(servers[case[1]], case[0], case[2], message)) for case in cases))


def send(url: str, way: str, streams: int, message: str) -> Crowd:
    """Send a crowd down one way; the first streams open a little apart, so that every worker can take one."""
    question = Question({"message": message}, f"/{way}")
    return background.portal().run(drive(url, streams, question, apart=0.005, every=0.02), timeout=120)


def row(case: tuple[str, int, int], crowd: Crowd) -> Row:
    """Return what a crowd saw as a row."""
    way, workers, streams = case
    return Row(
        way,
        workers,
        streams,
        crowd.whole,
        crowd.at_once,
        crowd.took,
        crowd.ttft(0.5),
        crowd.ttft(1.0),
        crowd.health_at(0.5),
        max(crowd.health, default=math.nan),
        crowd.answered,
    )


@contextlib.contextmanager
def started(counts: Sequence[int], upstream: str) -> Iterator[dict[int, str]]:
    """Start a server for each number of workers; yield their URLs, and stop them. RuntimeError when one does not."""
    base = {
        "ANTHROPIC_BASE_URL": upstream,
        "ANTHROPIC_API_KEY": "lab",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    command = [sys.executable, "-m", "claude_lab.streamers", *map(str, counts)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=os.environ | base, stdin=pipe, stdout=pipe, text=True) as servers:
        assert servers.stdin is not None
        assert servers.stdout is not None
        try:
            urls = servers.stdout.readline().split()
            if len(urls) < len(counts):
                raise RuntimeError(f"The servers did not start; run {command!r} to see why.")
            yield dict(zip(counts, urls, strict=True))
        finally:
            servers.stdin.close()
            try:
                servers.wait(5)
            except subprocess.TimeoutExpired:
                servers.kill()
