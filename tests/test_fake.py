"""The fake, over a real socket, read by the real SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from claude_lab import faults
from claude_lab.fake import FakeClaude
from claude_lab.scenario import Scenario

ASK: dict[str, Any] = {
    "model": "claude-haiku-5-5",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}


@asynccontextmanager
async def client(fake: FakeClaude) -> AsyncIterator[Any]:
    """The unmodified SDK pointed at a fake, with its strictest validation."""
    from anthropic import AsyncAnthropic

    async with AsyncAnthropic(
        base_url=fake.url, api_key="x", max_retries=0, timeout=5, _strict_response_validation=True
    ) as made:
        yield made


async def text_of(fake: FakeClaude, **more: Any) -> str:
    """Stream an answer and return its text."""
    async with client(fake) as sdk, sdk.messages.stream(**ASK | more) as stream:
        return "".join([text async for text in stream.text_stream])


def test_the_sdk_streams_an_answer_under_strict_validation() -> None:
    """The unmodified SDK reads text, usage, stop reason and request id from a stream."""

    async def ask(fake: FakeClaude) -> Any:
        async with client(fake) as sdk, sdk.messages.stream(**ASK) as stream:
            return await stream.get_final_message(), stream.response.headers["request-id"]

    with FakeClaude(Scenario(pace="instant")) as fake:
        message, request_id = asyncio.run(ask(fake))

    assert (message.stop_reason, message.usage.output_tokens > 100) == ("end_turn", True)
    assert request_id == fake.journal[0].request_id


def test_streamed_and_whole_answers_are_the_same() -> None:
    """The two forms of one answer have the same text and the same counts."""

    async def both(fake: FakeClaude) -> Any:
        async with client(fake) as sdk, sdk.messages.stream(**ASK) as stream:
            return await stream.get_final_message(), await sdk.messages.create(**ASK)

    with FakeClaude(Scenario(pace="instant")) as fake:
        streamed, whole = asyncio.run(both(fake))

    assert streamed.content[-1].text == whole.content[-1].text
    assert streamed.usage.output_tokens == whole.usage.output_tokens


def test_a_script_is_used_up_one_fault_per_request() -> None:
    """Two scripted refusals, then all is well."""
    from anthropic import OverloadedError, RateLimitError

    script = [faults.RateLimited(retry_after=2), faults.Overloaded()]
    with FakeClaude(Scenario(faults=script, pace="instant")) as fake:
        with pytest.raises(RateLimitError) as limited:
            asyncio.run(text_of(fake))
        with pytest.raises(OverloadedError):
            asyncio.run(text_of(fake))
        text = asyncio.run(text_of(fake))

    assert limited.value.response.headers["retry-after"] == "2"
    assert [entry.ended for entry in fake.journal] == ["refused", "refused", "complete"]
    assert text.startswith("Sunlight")


def test_a_drop_comes_after_so_many_deltas() -> None:
    """`Drop(after=3)` lets three text deltas through and then closes the connection."""
    import httpx2

    async def read(fake: FakeClaude, got: list[str]) -> None:
        async with client(fake) as sdk, sdk.messages.stream(**ASK) as stream:
            got.extend([text async for text in stream.text_stream if got.append(text) or False])

    got: list[str] = []
    with FakeClaude(Scenario(faults=[faults.Drop(after=3)], pace="instant")) as fake:
        with pytest.raises(httpx2.RemoteProtocolError):
            asyncio.run(read(fake, got))

    assert (len(got), fake.journal[0].ended) == (3, "fault")


def test_a_client_that_leaves_is_noticed_at_once() -> None:
    """The journal shows no open answer soon after the reader has gone, although the answer had seconds to go."""

    async def leave(fake: FakeClaude) -> tuple[int, int]:
        async with client(fake) as sdk, sdk.messages.stream(**ASK) as stream:
            async for _ in stream.text_stream:
                break
            before = fake.journal.open
        for _ in range(100):
            if not fake.journal.open:
                break
            await asyncio.sleep(0.01)
        return before, fake.journal.open

    with FakeClaude() as fake:
        before, after = asyncio.run(leave(fake))

    assert (before, after, fake.journal[0].ended) == (1, 0, "client left")


def test_the_journal_never_holds_a_key() -> None:
    """Neither the bearer key nor an `x-api-key` can be found in what the journal keeps."""
    with FakeClaude(Scenario(pace="instant")) as fake:
        asyncio.run(text_of(fake, extra_headers={"x-api-key": "sk-secret"}))

    assert "sk-secret" not in repr([vars_of(entry) for entry in fake.journal])
    assert fake.journal[0].headers["authorization"] == "[redacted]"


def vars_of(entry: Any) -> dict[str, Any]:
    """Every field of a journal entry."""
    return {name: getattr(entry, name) for name in entry.__slots__}
