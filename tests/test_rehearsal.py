"""A rehearsal runs the reader's own code with the real SDK, and says how it ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from claude_lab import faults
from claude_lab.rehearsal import rehearse

LONG = "One two three four five six seven eight nine ten, and then the same numbers backwards."
ASK: dict[str, Any] = {"model": "claude-haiku-5-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}


async def streamed(client: Any) -> AsyncIterator[str]:
    """Yield the text of one stream."""
    async with client.messages.stream(**ASK) as stream:
        async for text in stream.text_stream:
            yield text


def test_a_told_wait_passes_on_the_virtual_clock() -> None:
    """The SDK waits the thousand seconds it is told, and is answered at the second request."""
    ended = rehearse(lambda client: client.messages.create(**ASK), faults.RateLimited(retry_after=1000))

    assert (ended.ending, ended.requests) == ("answered", 2)
    assert 1000 <= ended.after < 1010
    assert ended.value.content[-1].type == "text"


def test_an_error_is_an_ending() -> None:
    """What the reader's code lets through is named."""
    ended = rehearse(lambda client: client.messages.create(**ASK), faults.Overloaded(), max_retries=0)

    assert str(ended) == "OverloadedError after 1 request and 0.00 virtual seconds"


def test_a_streams_text_is_kept_up_to_its_error() -> None:
    """A whole stream brings the answer; one that breaks brings its beginning, and the error's name."""
    whole = rehearse(streamed, answer=LONG)
    broken = rehearse(streamed, faults.StreamError(after=3), answer=LONG)

    assert whole.value == LONG
    assert whole.value.startswith(broken.value)
    assert 0 < len(broken.value) < len(whole.value)
    assert broken.ending == "APIStatusError"
