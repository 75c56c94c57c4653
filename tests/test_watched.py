from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from claude_lab.watched import Watched, found


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No view: the record is what is tested."""
    monkeypatch.setenv("CLAUDE_LAB_VIEW", "off")


async def words(*texts: str, gap: float = 0.0) -> AsyncIterator[str]:
    """An async source."""
    for text in texts:
        await asyncio.sleep(gap)
        yield text


def test_items_pass_through_unchanged() -> None:
    """The loop sees what the source yields, and the trace has its text."""
    watched = Watched(["Hello", ", ", "world"])

    assert list(watched) == ["Hello", ", ", "world"]
    assert watched.text == "Hello, world"
    assert watched.trace.stop_reason == "end_turn"


def test_an_async_source_is_watched_the_same_way() -> None:
    """`async for` gives every item, in order."""

    async def main() -> tuple[list[str], Watched[str]]:
        watched = Watched(words("a", "b", "c"))
        return [item async for item in watched], watched

    items, watched = asyncio.run(main())

    assert items == ["a", "b", "c"]
    assert watched.text == "abc"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("text", ("delta", "text")),
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}, ("delta", "a")),
        ({"type": "content_block_delta", "delta": {"thinking": "hm"}}, ("thinking", "hm")),
        ({"type": "content_block_delta", "delta": {"partial_json": "{"}}, None),
        ({"type": "text", "text": "a", "snapshot": "a"}, None),
        ({"type": "response.output_text.delta", "delta": "b"}, ("delta", "b")),
        ({"choices": [{"delta": {"content": "c"}}]}, ("delta", "c")),
        ({"choices": []}, None),
        ({"type": "ping"}, None),
        (None, None),
        (17, None),
    ],
)
def test_the_events_of_each_sdk_are_read(item: Any, expected: Any) -> None:
    """The text is found in plain strings and in the events of two SDKs, as objects or as dicts."""
    assert found(item) == expected
    if isinstance(item, dict):
        assert found(as_object(item)) == expected


def as_object(value: Any) -> Any:
    """The same event as an SDK hands it out."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_object(inner) for name, inner in value.items()})
    return [as_object(inner) for inner in value] if isinstance(value, list) else value


def test_leaving_the_loop_stops_and_closes_the_source() -> None:
    """A `break` closes the generator behind it, and the run counts as stopped."""
    closed = []

    def source() -> Iterator[str]:
        try:
            while True:
                yield "x"
        finally:
            closed.append(True)

    watched = Watched(source())
    for _ in watched:
        break

    assert closed == [True]
    assert watched.trace.stop_reason == "stopped"


def test_an_error_is_shown_and_raised() -> None:
    """What the source raises reaches the loop, and the trace holds it."""

    def source() -> Iterator[str]:
        yield "x"
        raise ConnectionError("peer is gone")

    watched = Watched(source())

    with pytest.raises(ConnectionError, match="peer is gone"):
        list(watched)
    assert watched.trace.error == {"error": "ConnectionError", "message": "peer is gone", "retryable": False}


def test_stop_ends_a_sync_loop_at_the_next_item() -> None:
    """After `stop()` no item comes."""
    watched = Watched(str(i) for i in range(100))

    seen = []
    for item in watched:
        seen.append(item)
        if len(seen) == 3:
            watched.stop()

    assert seen == ["0", "1", "2"]
    assert watched.trace.stop_reason == "stopped"


def test_stop_ends_a_silent_async_source_at_once() -> None:
    """A source that would wait for an hour is cancelled, and the loop ends without an error."""

    async def main() -> Watched[str]:
        watched = Watched(words("late", gap=3600))
        asyncio.get_running_loop().call_later(0.02, watched.stop)
        async for _ in watched:
            raise AssertionError
        return watched

    watched = asyncio.run(asyncio.wait_for(main(), 5))

    assert watched.trace.stop_reason == "stopped"


def test_an_async_error_is_shown_and_raised() -> None:
    """The source's error comes out of `async for`."""

    async def source() -> AsyncIterator[str]:
        yield "x"
        raise ConnectionError("peer is gone")

    async def main() -> None:
        async for _ in Watched(source()):
            pass

    with pytest.raises(ConnectionError, match="peer is gone"):
        asyncio.run(main())


@pytest.mark.parametrize("source", [17, None])
def test_what_cannot_be_iterated_is_refused(source: Any) -> None:
    """The error names the type and says what to give."""
    with pytest.raises(TypeError, match="give an iterator of text"):
        Watched(source)


def test_the_wrong_loop_says_which_one_is_right() -> None:
    """`for` over an async source names `async for`."""
    with pytest.raises(TypeError, match="write `async for`"):
        list(Watched(words("a")))  # type: ignore[call-overload]


def test_a_message_without_an_end_was_cut() -> None:
    """Events that stop in mid-message raise nothing in the SDK; the view says that the answer was truncated."""
    watched = Watched(
        [
            {"type": "message_start", "message": {"model": "claude-x"}},
            {"type": "content_block_delta", "delta": {"text": "half"}},
        ]
    )
    list(watched)

    assert watched.trace.error is not None
    assert watched.trace.error["error"] == "truncated"
