"""Any iterator of text or of SDK events, sync or async, shown while it is read.

The items pass through unchanged; what is text in them becomes deltas of a trace. `Watched` knows plain strings, the
events of the anthropic and openai SDKs, and dicts of the same shape.

Stop ends the loop at the next item where the source blocks; an async source is cancelled at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from claude_lab import clock
from claude_lab.trace import Trace
from claude_lab.widgets import TokenStream

T = TypeVar("T")
HEARTBEAT = 0.1
END = object()

Found = tuple[str, Any]


def get(item: Any, *path: str | int) -> Any:
    """Return what lies at `path` in nested objects, dicts and lists, or None."""
    for name in path:
        if isinstance(name, int):
            item = item[name] if isinstance(item, list) and len(item) > name else None
        else:
            item = item.get(name) if isinstance(item, dict) else getattr(item, name, None)
        if item is None:
            return None
    return item


def read_delta(item: Any) -> Found | None:
    """Read a `content_block_delta` of the Messages API."""
    for kind, name in (("delta", "text"), ("thinking", "thinking")):
        if (text := get(item, "delta", name)) is not None:
            return kind, text
    return None


def read_end(item: Any) -> Found | None:
    """Read the stop reason and the usage out of a `message_delta`."""
    reason = get(item, "delta", "stop_reason")
    usage = {"output_tokens": get(item, "usage", "output_tokens") or 0}
    return ("done", {"stop_reason": reason, "usage": usage}) if reason else None


READERS: dict[str, Callable[[Any], Found | None]] = {
    "content_block_delta": read_delta,
    "message_delta": read_end,
    "message_start": lambda item: ("start", {"model": get(item, "message", "model")}),
    "response.output_text.delta": lambda item: ("delta", get(item, "delta")),
}


def found(item: Any) -> Found | None:
    """Return the kind of mark and the value in one item of a stream, or None when it carries no text.

    The anthropic SDK's stream helper yields each text twice, raw and as a `text` event; the raw one counts.
    """
    if isinstance(item, str):
        return "delta", item
    reader = READERS.get(get(item, "type") or "")
    if reader is not None:
        return reader(item)
    text = get(item, "choices", 0, "delta", "content")
    return ("delta", text) if isinstance(text, str) else None


async def close(source: Any) -> None:
    """Close an async source that can be closed; what it says on its way out is of no interest any more."""
    closing = getattr(source, "aclose", None) or getattr(source, "close", None)
    with contextlib.suppress(Exception):
        if callable(closing):
            await asyncio.wait_for(closing(), 1)


class Watched(Generic[T]):
    """An iterator around `source` that shows what passes; `trace`, `text` and `view` tell what has.

    Iterate once, with `for` or `async for` as the source asks. Raises TypeError for a source of neither kind.
    """

    def __init__(self, source: Iterable[T] | AsyncIterable[T], *, title: str = "") -> None:
        if not hasattr(source, "__iter__") and not hasattr(source, "__aiter__"):
            raise TypeError(f"Cannot watch {type(source).__name__!r}; give an iterator of text or of events.")
        self.source = source
        self.trace = Trace()
        self.view = TokenStream(title=title, on_stop=self.stop)
        self.trace.listeners.append(self.view.push)
        self._stopped = False
        self._cancel: Callable[[], Any] | None = None
        self._done: dict[str, Any] = {"stop_reason": None, "usage": {}}

    @property
    def text(self) -> str:
        """The text so far."""
        return self.trace.text

    def stop(self) -> None:
        """End the loop: at the next item, or at once for an async source. From any thread, also twice."""
        self._stopped = True
        cancel = self._cancel  # read once: the loop's end takes it away
        if cancel is not None:
            with contextlib.suppress(RuntimeError):  # its loop has closed meanwhile
                cancel()

    def _begin(self) -> None:
        self.trace.started = clock.now()
        self.view.show()

    def _note(self, item: T) -> None:
        mark = found(item)
        if mark is not None and mark[0] == "done":
            self._done = mark[1]
        elif mark is not None:
            self.trace.add(*mark)

    def _end(self, reason: str) -> None:
        """Close the record. Events that began a message and gave no stop reason were cut, whatever the SDK says."""
        if self.trace.ended:
            return
        if reason == "end_turn" and self.trace.last("start") and not self._done["stop_reason"]:
            self.trace.add("error", {"error": "truncated", "message": "no stop reason came", "retryable": True})
        else:
            self.trace.add("done", {**self._done, "stop_reason": self._done["stop_reason"] or reason})

    def _fail(self, error: BaseException) -> None:
        """Show an error in the view; an interrupt or a cancelled task is a stop."""
        if isinstance(error, Exception):
            self.trace.add("error", {"error": type(error).__name__, "message": str(error), "retryable": False})
        else:
            self._end("stopped")

    def __iter__(self) -> Iterator[T]:
        """Yield the items; leaving the loop early is a stop, and closes the source."""
        if not isinstance(self.source, Iterable):
            raise TypeError(f"{type(self.source).__name__!r} is an async iterator; write `async for`.")
        self._begin()
        try:
            for item in self.source:
                if self._stopped:
                    break
                self._note(item)
                yield item
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._end("stopped" if self._stopped else "end_turn")
            close = getattr(self.source, "close", None)
            if callable(close):
                close()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield the items; one task reads the source, so that Stop and an interrupt reach a silent one."""
        if not isinstance(self.source, AsyncIterable):
            raise TypeError(f"{type(self.source).__name__!r} is not an async iterator; write `for`.")
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[Any](1)
        self._begin()
        reader = asyncio.create_task(self._read(self.source, queue))
        self._cancel = lambda: loop.call_soon_threadsafe(reader.cancel)
        if self._stopped:
            reader.cancel()
        try:
            while (item := await self._next(queue, reader)) is not END:
                yield item
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._cancel = None
            reader.cancel()
            await asyncio.wait({reader}, timeout=1)
            await close(self.source)
            self._end("stopped" if self._stopped else "end_turn")

    async def _read(self, source: AsyncIterable[T], queue: asyncio.Queue[Any]) -> None:
        async for item in source:
            self._note(item)
            await queue.put(item)
        await queue.put(END)

    async def _next(self, queue: asyncio.Queue[Any], reader: asyncio.Task[None]) -> Any:
        """Return the next item, or END; wake up now and then, since a sleeping loop does not hear an interrupt."""
        getter = asyncio.ensure_future(queue.get())
        try:
            while not getter.done():
                await asyncio.wait({getter, reader}, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
                if reader.done() and queue.empty() and not getter.done():
                    if not reader.cancelled() and (error := reader.exception()):
                        raise error
                    return END
            return getter.result()
        finally:
            getter.cancel()
