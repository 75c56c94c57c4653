"""The verdict: each mistake is found where it is, and the plain SDK makes none of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from claude_lab import clock, faults
from claude_lab.chains import drawn
from claude_lab.fake import FakeClaude
from claude_lab.journal import Entry, Journal
from claude_lab.scenario import Scenario
from claude_lab.transport import StreamingASGI
from claude_lab.verdict import JUDGES, judge

SDK = {"x-stainless-retry-count": "0"}


def journal_of(*rows: dict[str, Any]) -> Journal:
    """A journal of requests; each row says `at` and what is unusual, and answers take 10 ms."""
    made = Journal()
    for number, row in enumerate(rows, 1):
        usual = {"method": "POST", "path": "/v1/messages", "headers": {}, "body": {}, "status": 429, "ended": "refused"}
        fields = {**usual, "number": number, "ended_at": row["at"] + 0.01, **row}
        made.add(Entry(**fields))
    return made


def failures(*times: float, **fields: Any) -> list[dict[str, Any]]:
    """Refused attempts at these times."""
    return [{"at": at, **fields} for at in times]


CASES: dict[str, list[dict[str, Any]]] = {
    "retry_after_ignored": failures(0, 1, retry_after=5.0),
    "no_backoff": failures(0, 0.02),
    "constant_backoff": failures(0, 1, 2, 3),
    "no_jitter": failures(0, 1.01, 3.02, 7.03),
    "lockstep": [row for call in "abcd" for row in failures(0, 1, call=call)],
    "stacked_retries": [
        {"at": at, "attempt": attempt, "headers": SDK}
        for at, attempt in ((0, 1), (0.4, 2), (1.3, 3), (2.4, 1), (2.9, 2))
    ],
    "truncated_stream_accepted": [{"at": 0, "status": 200, "ended": "fault", "fault": "Truncate(after=9)"}],
    "retried_hopeless": failures(0, 1, status=401),
    "should_retry_ignored": failures(0, 1, fault="RateLimited(should_retry=False)"),
    "endless_retries": failures(*range(0, 100, 9)),
    "restarted_after_text": failures(0, 1, status=200, ended="fault", fault="Drop()", text_sent=True),
    "gave_up_at_once": failures(0, status=529),
    "retried_a_success": [
        {"at": at, "attempt": at + 1, "headers": SDK, "status": 200, "ended": "complete"} for at in (0, 1)
    ],
    "impatient": failures(0, 1, status=200, ended="client left"),
    "no_timeout": [{"at": 0, "status": 200, "ended": "client left", "fault": "Hang()", "ended_at": 90}],
    "prefill_refused": [
        {"at": 0, "status": 400, "body": {"model": "m", "messages": [{"role": "assistant", "content": "a"}]}}
    ],
}


@pytest.mark.parametrize("code", CASES)
def test_each_mistake_is_found(code: str) -> None:
    """A journal that shows one mistake leads to that finding, with the requests that show it."""
    found = [finding for finding in judge(journal_of(*CASES[code])).findings if finding.code == code]

    assert found
    assert found[0].entries
    assert found[0].evidence


def test_every_judge_has_its_case() -> None:
    """There are at least twelve judges, and each is tried above."""
    assert len(JUDGES) >= 12
    assert sorted(CASES) == sorted(judge.__name__ for judge in JUDGES)


def test_answered_calls_leave_nothing_to_find() -> None:
    """Three calls that were answered, among them one after a proper wait, are no findings."""
    rows = [
        {"at": 0, "status": 200, "ended": "complete", "call": "a"},
        {"at": 1, "call": "b", "retry_after": 2.0},
        {"at": 3.1, "call": "b", "attempt": 2, "status": 200, "ended": "complete"},
    ]

    assert judge(journal_of(*rows)).ok


@pytest.mark.parametrize(
    "script",
    [
        [faults.RateLimited(retry_after_ms=60), faults.Overloaded()],
        [faults.ServerError(), faults.RateLimited(retry_after=0.1)],
        [faults.Drop(at="before headers")],
        [faults.StreamError()],
        [faults.Unauthorized()],
    ],
    ids=lambda script: "-".join(type(fault).__name__ for fault in script),
)
def test_the_plain_sdk_raises_no_alarm(script: list[faults.Fault]) -> None:
    """The SDK with its default retries, over faults that pass and one that does not, is found blameless."""
    import anthropic

    with FakeClaude(Scenario(faults=script, pace="instant")) as fake:
        with anthropic.Anthropic(base_url=fake.url, api_key="lab") as client:
            try:
                with client.messages.stream(
                    model="claude-haiku-5-5", max_tokens=100, messages=[{"role": "user", "content": "Hi"}]
                ) as stream:
                    stream.get_final_message()
            except anthropic.APIStatusError:
                pass

    assert judge(fake.journal).codes == []


def herd(calls: int, wait: Callable[[], float], lag: Callable[[], float]) -> list[str]:
    """What is found of so many calls that fail together and come back once, after a wait and the network's lag."""
    rows = []
    for call in range(calls):
        failed = lag()
        rows += [{"at": failed, "call": str(call)}, {"at": failed + 0.01 + wait() + lag(), "call": str(call)}]
    ended = {"status": 200, "ended": "complete"}
    return judge(journal_of(*sorted((row | (ended if row["at"] > 0.2 else {}) for row in rows), key=at))).codes


def at(row: dict[str, Any]) -> float:
    """When a row's request came."""
    return float(row["at"])


@pytest.mark.parametrize("calls", [4, 5, 10, 40, 200])
@pytest.mark.parametrize("wait", [0.5, 1.0, 8.0])
def test_lockstep_is_found_among_few_and_many(calls: int, wait: float) -> None:
    """Calls that fail together and wait the same are found out, though the network lags by up to half a millisecond."""
    rng = random.Random(calls)

    assert "lockstep" in herd(calls, lambda: wait, lambda: 0.0005 * rng.random())


@pytest.mark.parametrize("calls", [4, 5, 10, 40, 200])
def test_the_sdks_waits_are_never_lockstep(calls: int) -> None:
    """In 200 seeded runs the SDK's formula, half a second less up to a quarter of it, raises no alarm."""
    rng = random.Random(f"sdk {calls}")

    alarms = [herd(calls, lambda: 0.5 * (1 - 0.25 * rng.random()), lambda: 0.05 * rng.random()) for _ in range(200)]

    assert [codes for codes in alarms if codes] == []


def test_the_sdks_waits_over_many_attempts_are_never_exact() -> None:
    """In 2,000 seeded calls of the SDK with four retries each no doubling is taken for one without chance."""
    rng = random.Random("doubling")
    for _ in range(2_000):
        waited = [min(8, 0.5 * 2**retry) * (1 - 0.25 * rng.random()) for retry in range(4)]
        times = [sum(waited[:index]) + 0.01 * index for index in range(5)]
        rows = failures(*times)
        rows[-1] |= {"status": 200, "ended": "complete"}

        assert judge(journal_of(*rows)).codes == []


def test_the_error_is_what_the_formula_says() -> None:
    """Of 20,000 seeded groups of four even draws about as many lie within 10 % of their range as the formula says."""
    rng = random.Random(4)
    groups = [[1 - 0.25 * rng.random() for _ in range(4)] for _ in range(20_000)]
    within = sum(max(group) - min(group) < 0.025 for group in groups) / len(groups)

    assert within == pytest.approx(4 * 0.1**3 - 3 * 0.1**4, rel=0.3)
    assert all(drawn(group) for group in groups)


@pytest.mark.parametrize("calls", [10, 40])
def test_many_calls_of_the_plain_sdk_at_once_raise_no_alarm(calls: int) -> None:
    """Default `AsyncAnthropic` calls that are all overloaded once, and come back by its own waits, are blameless."""
    import anthropic
    import httpx2

    fake = FakeClaude(Scenario(faults=[faults.Overloaded()] * calls, pace="instant"))

    async def run() -> None:
        transport = httpx2.AsyncClient(transport=StreamingASGI(fake.app))
        async with anthropic.AsyncAnthropic(base_url="http://fake", api_key="lab", http_client=transport) as sdk:
            asks = (
                sdk.messages.create(
                    model="claude-opus-4-6", max_tokens=20, messages=[{"role": "user", "content": f"Question {number}"}]
                )
                for number in range(calls)
            )
            await asyncio.gather(*asks)

    clock.run_virtual(run())

    verdict = fake.verdict()
    assert (verdict.calls, verdict.attempts) == (calls, 2 * calls)
    assert verdict.codes == []


def test_a_silent_cut_is_found_even_with_the_sdk() -> None:
    """The SDK takes a truncated stream for an answer; the verdict says so."""
    import anthropic

    with FakeClaude(Scenario(faults=[faults.Truncate()], pace="instant")) as fake:
        with anthropic.Anthropic(base_url=fake.url, api_key="lab") as client:
            with client.messages.stream(
                model="claude-haiku-5-5", max_tokens=100, messages=[{"role": "user", "content": "Hi"}]
            ) as stream:
                stream.get_final_message()

    assert fake.verdict().codes == ["truncated_stream_accepted"]


def test_a_verdict_is_a_text_and_a_table() -> None:
    """A verdict prints its findings and a last line, and shows a table in a notebook."""
    verdict = judge(journal_of(*CASES["no_backoff"]))

    assert "no_backoff: came back after" in str(verdict)
    assert "1 findings in 2 attempts of 1 calls" in str(verdict)
    assert "<code>no_backoff</code>" in verdict._repr_html_()


def test_the_journal_can_be_asserted_upon() -> None:
    """`assert_called` gives the entries that fit, or says what came instead."""
    journal = journal_of(*CASES["gave_up_at_once"])

    assert [entry.number for entry in journal.assert_called(status=529)] == [1]
    with pytest.raises(AssertionError, match=r"Expected 2 requests with status=529, saw 1\. All requests: 1 POST"):
        journal.assert_called(2, status=529)
    assert "<td>refused</td>" in journal._repr_html_()
