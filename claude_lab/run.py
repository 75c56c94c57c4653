"""`Run`: one answer as a notebook holds it; it streams on the portal and can be waited for, stopped and shown."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import httpx

from claude_lab import client, export
from claude_lab.amounts import is_amount
from claude_lab.background import portal, wait_for
from claude_lab.runs import new_name
from claude_lab.trace import Trace
from claude_lab.widgets import TokenStream

if TYPE_CHECKING:
    import pandas as pd

HEARTBEAT = 0.05
STOP_WITHIN = 2.0


def interruption(run: Run) -> str:
    """Return what an interrupt of a run has come to."""
    return f"Interrupted; the run was stopped after {len(run.text)} characters."


class Interrupted(KeyboardInterrupt):
    """The kernel was interrupted while a run streamed; the run was stopped, and holds what came."""

    def __init__(self, run: Run) -> None:
        super().__init__(interruption(run))
        self.run = run

    def _render_traceback_(self) -> list[str]:
        """Show one line in a notebook: there is nothing to find in a traceback."""
        return [str(self)]


class Run:
    """One answer: `.text`, `.trace`, `.view`, and what the trace tells."""

    def __init__(self, url: str, body: dict[str, Any], *, view: str | None = None) -> None:
        self.url = url
        self.body = body
        self.name = new_name()
        self.trace = Trace()
        self.stop_asked = False
        stop_url = f"{url}/chat/stream/{self.name}/stop"
        self.view = TokenStream(title=title_of(body), on_stop=self.stop, stop_url=stop_url, view=view)
        self.trace.listeners.append(self.view.push)
        self._future: concurrent.futures.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> Run:
        """Begin to stream."""
        self._future = portal().submit(self._stream())
        return self

    async def _stream(self) -> None:
        self._task = asyncio.current_task()
        try:
            await client.stream(self.url, self.body, self.trace, run=self.name, stopping=lambda: self.stop_asked)
        except asyncio.CancelledError:
            self._end("stopped")
            raise
        except Exception as error:
            client.fail(self.trace, "unknown", f"{type(error).__name__}: {error}")
            raise
        finally:
            self.view.freeze()

    def _end(self, reason: str) -> None:
        if not self.trace.ended:
            self.trace.add("done", {"stop_reason": reason, "usage": self.trace.usage, "ttft": self.trace.ttft})

    def stop(self) -> None:
        """Stop the run and its upstream; from any thread, and twice is fine."""
        if not self.done:
            self.stop_asked = True
            portal().submit(self._stop())

    async def _stop(self) -> None:
        """Ask the server to stop the run; if it does not end by itself soon, stop listening to it."""
        try:
            async with httpx.AsyncClient(timeout=STOP_WITHIN, trust_env=False) as http:
                answer = await http.delete(f"{self.url}/chat/stream/{self.name}")
        except httpx.HTTPError:
            answer = None
        if answer is not None and answer.is_success:
            for _ in range(int(STOP_WITHIN / HEARTBEAT)):
                if self.trace.ended:
                    return
                await asyncio.sleep(HEARTBEAT)
        if self._task is not None:
            self._task.cancel()  # not the future, which would be over before the trace and the view are

    def wait(self, timeout: float | None = None) -> Run:
        """Wait until the run has ended and return it. An interrupt stops the run and its upstream.

        Raises TimeoutError when `timeout` seconds did not suffice; the run goes on then. ValueError for no time.
        """
        if timeout is not None and not is_amount(timeout, most=math.inf):
            raise ValueError(f"timeout={timeout!r} is no length of time; give seconds, 0 or more, or None.")
        if self._future is not None:
            try:
                wait_for(self._future, timeout)
            except KeyboardInterrupt:
                self._halt()
                raise Interrupted(self) from None
            except concurrent.futures.CancelledError:
                pass
        return self

    def _halt(self) -> None:
        """Stop and wait for the end, but not for long."""
        self.stop()
        if self._future is not None:
            concurrent.futures.wait([self._future], timeout=STOP_WITHIN)

    def __await__(self) -> Generator[Any, None, Run]:
        return self._awaited().__await__()

    async def _awaited(self) -> Run:
        """Wait in short sleeps: a kernel that sleeps long in `await` does not hear its interrupt.

        A cancellation goes on as it came, and shows itself as one line in a notebook.
        """
        try:
            while not self.done:  # noqa: ASYNC110  # an event of the portal's loop would not wake this one
                await asyncio.sleep(HEARTBEAT)
        except asyncio.CancelledError as error:
            self.stop()
            # Marked, not replaced: `asyncio.timeout` and task groups know a cancellation by its very type.
            error._render_traceback_ = lambda: [interruption(self)]  # type: ignore[attr-defined]  # IPython asks it
            raise
        return self.wait()

    def show(self) -> Run:
        """Show the view here; each call adds one."""
        self.view.show()
        return self

    @property
    def done(self) -> bool:
        """Whether the run has ended, one way or another."""
        return self._future is not None and self._future.done()

    @property
    def status(self) -> str:
        """One of `running`, `complete`, `stopped`, `failed`."""
        if self.trace.error is not None:
            return "failed"
        if not self.trace.ended:
            return "running"
        return "stopped" if self.trace.stop_reason == "stopped" else "complete"

    @property
    def text(self) -> str:
        """The answer so far."""
        return self.trace.text

    @property
    def ttft(self) -> float | None:
        """Seconds to the first text, or None."""
        return self.trace.ttft

    @property
    def gaps(self) -> list[float]:
        """Seconds between neighboring deltas."""
        return self.trace.gaps

    @property
    def attempts(self) -> int:
        """How many times the upstream was asked."""
        return self.trace.attempts

    @property
    def usage(self) -> dict[str, Any]:
        """The token counts."""
        return self.trace.usage

    @property
    def cost(self) -> float | None:
        """What it cost in dollars, a fake's answer as if it were real; None until it is known, or without a price."""
        done = self.trace.last("done")
        return None if done is None else done.value.get("cost")

    @property
    def stop_reason(self) -> str | None:
        """Why the answer ended."""
        return self.trace.stop_reason

    @property
    def error(self) -> dict[str, Any] | None:
        """The `error` frame, or None."""
        return self.trace.error

    def to_json(self) -> str:
        """Return the run as JSON; `export.from_json` gives its trace back."""
        return export.to_json(self.trace, run=self.name, request=self.body)

    def to_pandas(self) -> pd.DataFrame:
        """Return the trace as a table."""
        return export.to_pandas(self.trace)

    def __repr__(self) -> str:
        cost = "" if self.cost is None else f", ${self.cost:.6f}"
        return f"<Run {self.status}: {len(self.text)} characters, {self.attempts} attempt(s){cost}>"


def title_of(body: dict[str, Any]) -> str:
    """Return a view's title: the beginning of the question."""
    words = " ".join((body.get("message") or last_said(body.get("messages") or [])).split())
    return words if len(words) <= 72 else words[:71] + "…"


def last_said(messages: list[dict[str, Any]]) -> str:
    """Return the text of a conversation's last message, or a word for it."""
    content = messages[-1].get("content") if messages else None
    blocks = [{"text": content}] if isinstance(content, str) else content or []
    texts = [block["text"] for block in blocks if isinstance(block, dict) and isinstance(block.get("text"), str)]
    return texts[-1] if texts else "conversation"
