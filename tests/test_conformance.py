"""Conformance: our fake keeps every rule, and each mutant of it breaks a named one."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from mutants import MUTANTS, Mutant

from claude_lab import background, conformance, frames, playback, replies
from claude_lab.exchange import CHECKS
from claude_lab.fake import FakeClaude
from claude_lab.scenario import Scenario


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeClaude]:
    """One fake for all, since starting takes longer than checking."""
    with FakeClaude(Scenario(pace="instant")) as fake:
        yield fake


@pytest.fixture(scope="module")
def report(fake: FakeClaude) -> conformance.Report:
    """All checks, run once against our fake."""
    return conformance.run(fake.url)


def test_our_fake_keeps_every_rule(report: conformance.Report) -> None:
    """Not one check breaks, and none is left out."""
    assert {result.check.name: result.evidence for result in report.broken} == {}
    assert report.count("n/a") == 0


def test_there_are_enough_rules_and_each_names_its_source() -> None:
    """At least 120 checks, each with a claim and a source."""
    assert len(CHECKS) >= 120
    assert all(check.claim and check.source for check in CHECKS.values())


def test_a_report_is_a_table_and_json(report: conformance.Report) -> None:
    """The report prints one line per check and a summary, and its JSON has the same."""
    assert len(str(report).splitlines()) == len(CHECKS) + 1
    assert len(json.loads(json.dumps(report.json()))["checks"]) == len(CHECKS)
    assert report.summary in report._repr_html_()


def test_an_unknown_check_is_refused_at_the_door() -> None:
    """A wrong name raises a sentence, before anything is sent."""
    with pytest.raises(ValueError, match="no check 'nonsense'"):
        conformance.run("http://127.0.0.1:9", only=["nonsense"])


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense", "'nonsense' is no address of a server"),
        ("http://", "'http:' is no address"),
        ("http://127.0.0.1:9", "Nothing answers at 'http://127.0.0.1:9'"),
        ("http://127.0.0.1:notaport", "127.0.0.1:notaport"),
    ],
)
def test_where_nobody_is_nothing_is_judged(url: str, why: str) -> None:
    """A URL that is none, or where nothing listens, raises one sentence instead of a report."""
    with pytest.raises((ValueError, ConnectionError)) as raised:
        conformance.run(url)

    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


def test_every_rule_is_broken_by_a_server_that_knows_none() -> None:
    """Against a server that answers everything with an empty 200, no rule about what is said passes for kept."""
    with background.serve(empty) as served:
        report = conformance.run(served.url)

    kept = [result.check.name for result in report.results if result.outcome == "kept"]
    assert kept == []


async def empty(scope: Any, receive: Any, send: Any) -> None:
    """An app that says nothing, and says it is well."""
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def test_a_silent_server_does_not_hold_the_examination_up() -> None:
    """Where connections are taken and never answered, three silences are enough for all checks."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        report = conformance.run(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=0.1)

    assert report.count("kept") == 0
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("mutant", MUTANTS, ids=[f"{mutant.caught_by}:{mutant.name}" for mutant in MUTANTS])
def test_each_mutant_is_caught_by_its_check(mutant: Mutant, fake: FakeClaude, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one rule of the fake broken, the check of that rule says so."""
    original = getattr(mutant.owner, mutant.name)
    monkeypatch.setattr(mutant.owner, mutant.name, mutant.make(original))
    monkeypatch.setitem(playback.BENDS, playback.faults.Truncate, playback.truncate)
    frames.text_frames.cache_clear()
    replies.pieces_of.cache_clear()

    fake.put(Scenario(pace="instant"))
    report = conformance.run(fake.url, only=[mutant.caught_by])

    assert [result.check.name for result in report.broken] == [mutant.caught_by]
