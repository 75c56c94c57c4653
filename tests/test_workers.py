"""How many streams a worker holds, measured small."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from claude_lab.crowd import Crowd, Stream
from claude_lab.workers import Table, measure, row


@pytest.fixture(scope="module")
def table() -> Table:
    """The table of a small experiment."""
    return measure()


def test_a_blocked_loop_serves_one_stream_at_a_time(table: Table) -> None:
    """One worker with the sync client goes through its streams one by one, several workers through a few at once, the
    async client through more than there are workers."""
    one, four, awaited = table["sync", 1], table["sync", 4], table["async", 1]

    assert all(row.whole == row.streams for row in table.rows)
    assert one.at_once < four.at_once < awaited.at_once
    assert one.at_once < 2
    assert awaited.at_once > 4


def test_a_blocked_loop_does_not_answer_its_health_check(table: Table) -> None:
    """While it streams it answers a smaller share of the probes than the async worker does."""
    answered = {key: table[key].health_answered / table[key].took for key in (("sync", 1), ("async", 1))}

    assert answered["sync", 1] < answered["async", 1]


def test_the_table_shows_itself(table: Table) -> None:
    """As text and as HTML, a line each; what was not measured is said."""
    assert len(str(table).splitlines()) == 1 + len(table.rows)
    assert repr(table) == str(table)
    assert table._repr_html_().count("<tr>") == 1 + len(table.rows)
    assert "sync client in an async endpoint, 4 workers" in str(table)
    with pytest.raises(KeyError, match="was not measured"):
        table["threads", 9]


def test_streams_at_once_are_a_mean_over_their_time() -> None:
    """Four whole streams of a second, two by two, are two at once; broken ones and waiting do not count."""
    early, late = Stream(0.0, 0.5, 1.5, 3, 100, True), Stream(0.0, 1.5, 2.5, 3, 100, True)
    broken = Stream(0.0, 0.0, 2.0, 0, 0, False), Stream(0.0, None, 2.0, 0, 0, False)
    crowd = Crowd((early, early, late, late, *broken), (0.01,), 1, 9.0)

    assert row(("sync", 4, 5), crowd).at_once == pytest.approx(2.0)
    assert Crowd(broken, (0.01,), 1, 9.0).at_once == 0


def test_an_unknown_way_is_refused() -> None:
    """The sentence names the ways there are."""
    with pytest.raises(ValueError, match="async, sync, threads"):
        measure((("fast", 1, 1),))


def test_the_servers_end_with_whoever_started_them() -> None:
    """When their standard input closes they are gone: a dead kernel leaves no workers behind."""
    upstream = """
from claude_lab import FakeClaude, Scenario
with FakeClaude(Scenario(pace="instant")) as fake:
    print(fake.url, flush=True)
    input()
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", upstream], stdin=pipe, stdout=pipe, text=True) as fake:
        assert fake.stdout is not None
        environment = {**os.environ, "ANTHROPIC_BASE_URL": fake.stdout.readline().strip(), "ANTHROPIC_API_KEY": "lab"}
        command = [sys.executable, "-m", "claude_lab.streamers", "2"]
        with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as servers:
            assert servers.stdout is not None
            assert servers.stdout.readline().startswith("http://127.0.0.1:")
            servers.communicate(timeout=10)
        fake.communicate(input="\n", timeout=10)
    assert (servers.returncode, fake.returncode) == (0, 0)
