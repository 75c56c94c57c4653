"""What the notebooks of the browser tests import: a stream without a network, paced on the portal."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from claude_lab.background import portal
from claude_lab.stairs import StaircaseView
from claude_lab.trace import Trace
from claude_lab.widgets import TokenStream


class Stream:
    """Pushes `deltas` pieces, `gap` seconds apart, into a view of its own; `stop()` ends it from any thread."""

    def __init__(self, deltas: int = 400, gap: float = 0.01, *, text: str = "", stall: bool = False) -> None:
        self.view = TokenStream(title="A stream", on_stop=self.stop)
        self.trace = Trace()
        self.trace.listeners.append(self.view.push)
        self.pieces = [text[i : i + 4] for i in range(0, len(text), 4)] or [f"w{i:05d} " for i in range(deltas)]
        self.gap = gap
        self.stall = stall
        self.stopped = False
        self.task: Any = None

    def stop(self) -> None:
        """Cancel the stream."""
        self.stopped = True
        portal().loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        self.playing.cancel()

    async def play(self) -> None:
        """Push everything, keeping to the schedule; a cancelled stream ends as stopped."""
        self.playing = asyncio.current_task()  # type: ignore[assignment]
        start = asyncio.get_running_loop().time()
        try:
            for i, piece in enumerate(self.pieces):
                late = start + i * self.gap - asyncio.get_running_loop().time()
                if late > 0:
                    await asyncio.sleep(late)
                self.trace.add("delta", piece)
            if self.stall:
                await asyncio.sleep(3600)
            self.trace.add("done", {"stop_reason": "end_turn", "usage": {"output_tokens": len(self.pieces)}})
        except asyncio.CancelledError:
            self.trace.add("done", {"stop_reason": "stopped", "usage": {}})
            if not self.stopped:
                raise

    def start(self) -> Stream:
        """Show the view and start; the cell may end."""
        self.view.show()
        self.task = portal().submit(self.play())
        return self

    def run(self) -> Stream:
        """Show the view, and block the cell until the end."""
        self.view.show()
        portal().run(self.play())
        return self

    async def arun(self) -> Stream:
        """Show the view, and await the end."""
        self.start()
        await asyncio.wrap_future(self.task)
        return self


class Staircases:
    """A race without a network: what is sent, one route that follows and one that waits for a full buffer."""

    def __init__(self, deltas: int = 300, gap: float = 0.01) -> None:
        self.view = StaircaseView(title="Who is first?")
        self.traces = {label: Trace() for label in ("sent", "unbuffered", "buffered at $1 a GB")}
        self.deltas, self.gap = deltas, gap
        self.stopped = False

    def stop(self) -> None:
        """End the race where it is."""
        self.stopped = True

    async def play(self) -> None:
        """Feed every trace, and freeze."""
        for i in range(self.deltas):
            if self.stopped:
                break
            await asyncio.sleep(self.gap)
            for trace, group in zip(self.traces.values(), (1, 1, 50), strict=True):
                for _ in range(group if i % group == group - 1 else 0):
                    trace.add("delta", f"w{i:05d} ")
        self.view.freeze()

    def start(self) -> Staircases:
        """Show the view and start; the cell may end."""
        self.view.show()
        for label, trace in self.traces.items():
            self.view.watch(label, trace)
        self.task = portal().submit(self.play())
        return self

    def run(self) -> Staircases:
        """Block the cell until the end."""
        self.start().task.result(600)
        return self


async def chat(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app that streams an answer as frames of the chat contract."""
    if scope["type"] != "http":
        return
    words = ["Because air scatters ", "blue light more than ", "red: Rayleigh, ", "1871 – résumé 🙂. "] * 8
    frames = [{"type": "delta", "text": word} for word in words] + [{"type": "done", "stop_reason": "end_turn"}]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for frame in frames:
        data = f"data: {json.dumps(frame, ensure_ascii=False)}\n\n".encode()
        await send({"type": "http.response.body", "body": data, "more_body": True})
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b""})
