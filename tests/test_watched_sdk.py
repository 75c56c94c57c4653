from __future__ import annotations

import asyncio
import threading

import pytest
from anthropic import Anthropic, AsyncAnthropic

from claude_lab import faults
from claude_lab.fake import FakeClaude
from claude_lab.pacing import Pace
from claude_lab.scenario import Scenario
from claude_lab.watched import Watched

ASKED = {"model": "claude-haiku-4-5", "max_tokens": 300, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No view: the record is what is tested."""
    monkeypatch.setenv("CLAUDE_LAB_VIEW", "off")


def test_events_of_the_real_sdk_are_watched() -> None:
    """The events of a raw stream, and the texts of the helper, give the same words."""
    fake = FakeClaude(Scenario(pace="instant"))
    with fake, Anthropic(base_url=fake.start().url, api_key="none", max_retries=0) as client:
        raw = Watched(client.messages.create(stream=True, **ASKED))
        list(raw)
        with client.messages.stream(**ASKED) as helper:
            events = Watched(helper)
            list(events)
            whole = helper.get_final_text()

    assert events.text == whole
    assert raw.trace.stop_reason == events.trace.stop_reason == "end_turn"
    assert raw.trace.usage["output_tokens"] > 0


def test_no_upstream_stays_open_after_many_stops() -> None:
    """Two hundred streams stopped from another thread, at any moment: the fake has none open afterwards."""

    async def one(client: AsyncAnthropic, after: float) -> str | None:
        stream = await client.messages.create(stream=True, **ASKED)
        watched = Watched(stream)
        threading.Timer(after, watched.stop).start()
        async for _ in watched:
            pass
        return watched.trace.stop_reason

    async def main(url: str) -> list[str | None]:
        async with AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client:
            return [
                reason
                for first in range(0, 200, 20)
                for reason in await asyncio.gather(
                    *(one(client, 0.004 * (i - first)) for i in range(first, first + 20))
                )
            ]

    with FakeClaude(Scenario([faults.Stall(after=3, seconds=60)] * 200, pace=Pace(ttft=0.02, gap=0.05))) as fake:
        reasons = asyncio.run(main(fake.url))

        assert reasons == ["stopped"] * 200
        assert fake.journal.settle().open == 0
