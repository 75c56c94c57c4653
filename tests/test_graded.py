"""The verdict on the article's own retry loop, word for word, and on the bare SDK, on virtual time."""

from __future__ import annotations

import contextlib
import runpy
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anthropic
import httpx2

from claude_lab import clock, faults
from claude_lab.fake import FakeClaude
from claude_lab.scenario import Scenario
from claude_lab.transport import StreamingASGI
from claude_lab.verdict import Verdict

ARTICLE = Path(__file__).parent / "article"
ASK: dict[str, Any] = {"model": "claude-opus-4-6", "max_tokens": 50}


def articles_loop() -> Callable[..., Awaitable[Any]]:
    """Return `call_with_retry` as the article prints it: three attempts, waits of one and two seconds."""
    loop: Callable[..., Awaitable[Any]] = runpy.run_path(str(ARTICLE / "retry.py"))["call_with_retry"]
    return loop


def graded(script: list[faults.Fault], calls: int = 1, **client: Any) -> Verdict:
    """Run calls through the article's loop against a script, and judge them."""
    loop = articles_loop()
    fake = FakeClaude(Scenario(faults=script, pace="instant"))

    async def run() -> None:
        transport = httpx2.AsyncClient(transport=StreamingASGI(fake.app))
        async with anthropic.AsyncAnthropic(
            base_url="http://fake", api_key="lab", http_client=transport, **client
        ) as sdk:
            for number in range(calls):
                messages = [{"role": "user", "content": f"Question {number}"}]
                with contextlib.suppress(anthropic.APIError):
                    await loop(sdk.messages.create, **ASK, messages=messages)

    clock.run_virtual(run())
    return fake.verdict()


def test_a_loop_around_the_sdk_is_a_stack() -> None:
    """Around a client with its default retries the loop makes nine requests, and the verdict shows the seam."""
    verdict = graded([faults.RateLimited()] * 9)

    assert verdict.attempts == 9
    assert "stacked_retries" in verdict.codes


def test_doubling_without_chance_is_seen_over_a_few_calls() -> None:
    """Four calls that wait exactly one second before they come back have no jitter."""
    verdict = graded([faults.RateLimited(), faults.ok] * 4, calls=4, max_retries=0)

    assert verdict.codes == ["no_jitter"]


def test_a_told_time_is_ignored() -> None:
    """The loop waits its own second, whatever `retry-after` says."""
    assert "retry_after_ignored" in graded([faults.RateLimited(retry_after=30)], max_retries=0).codes


def test_overload_is_given_up_at_once() -> None:
    """A 529 falls through the loop's except clauses."""
    assert graded([faults.Overloaded()], max_retries=0).codes == ["gave_up_at_once"]


def test_the_sdk_alone_is_blameless_over_many_calls() -> None:
    """Twenty calls of the bare SDK, each after a refusal or two, raise no alarm: its waits are its own."""
    script = [faults.RateLimited(), faults.ok, faults.Overloaded(), faults.ServerError(), faults.ok] * 10

    fake = FakeClaude(Scenario(faults=script, pace="instant"))

    async def run() -> None:
        transport = httpx2.AsyncClient(transport=StreamingASGI(fake.app))
        async with anthropic.AsyncAnthropic(base_url="http://fake", api_key="lab", http_client=transport) as sdk:
            for number in range(20):
                await sdk.messages.create(**ASK, messages=[{"role": "user", "content": f"Question {number}"}])

    clock.run_virtual(run())
    assert fake.verdict().codes == []
