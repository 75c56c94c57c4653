"""A run as a response, asked without a server: what one write holds, and who is counted."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from claude_lab.clock import now, run_virtual, sleep
from claude_lab.framed import FrameResponse
from claude_lab.runs import Run, new_name
from claude_lab.settings import Settings

WORDS = 2500


def long_run() -> Run:
    """Return a run that has ended, longer than a write."""
    run = Run(new_name(), 0)
    for number in range(WORDS):
        run.append("delta", {"text": f"word {number} "})
    run.append("done", {"stop_reason": "end_turn"})
    return run


async def silence() -> dict[str, Any]:
    """Receive nothing: a client that has asked and stays."""
    await asyncio.Event().wait()
    return {}


def test_a_long_log_leaves_in_pieces_that_are_together_the_whole() -> None:
    """No write takes more entries than `most`; nothing is lost between them, from any place on."""
    run = long_run()

    async def bodies(after: int) -> list[bytes]:
        sent: list[bytes] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message.get("body", b""))

        await FrameResponse(run, Settings(grace=600), after=after)({"type": "http"}, silence, send)
        return sent

    for after in (0, 7, WORDS - 1, WORDS + 1):
        sent = asyncio.run(bodies(after))
        assert b"".join(sent) == b": ok\n\n" + b"".join(run.entries.data[after:])
        assert max(body.count(b"data: ") for body in sent) == min(FrameResponse.most, WORDS + 1 - after)
    assert run.readers == 0


def test_a_reader_that_does_not_read_holds_one_piece() -> None:
    """While a write waits nothing more is taken from the log; when the reader leaves it is counted out."""
    run = long_run()
    sent: list[bytes] = []

    async def stuck(message: dict[str, Any]) -> None:
        sent.append(message.get("body", b""))
        if sent[-1]:
            await silence()

    async def main() -> int:
        response = FrameResponse(run, Settings())
        reading = asyncio.create_task(response({"type": "http"}, silence, stuck))
        await asyncio.sleep(0.01)
        taken = response.after
        reading.cancel()
        await asyncio.wait({reading})
        return taken

    assert asyncio.run(main()) == FrameResponse.most
    assert (len(sent), run.readers) == (2, 0)


async def nothing(message: dict[str, Any]) -> None:
    """Take what is sent, and keep none of it."""


@pytest.mark.parametrize("leaves", [True, False])
def test_a_reader_that_leaves_is_no_error_and_a_canceled_request_is_one(leaves: bool) -> None:
    """Either way nobody writes any more, and the reader is counted out; only a cancellation is passed on."""
    run = Run(new_name(), 60)

    async def leaving() -> dict[str, Any]:
        return {"type": "http.disconnect"} if leaves else await silence()

    async def main() -> tuple[bool, int]:
        asked = asyncio.create_task(FrameResponse(run, Settings())({"type": "http"}, leaving, nothing))
        await asyncio.sleep(0.01)
        if not leaves:
            asked.cancel()
        await asyncio.wait({asked}, timeout=5)
        return asked.cancelled(), len(asyncio.all_tasks()) - 1

    assert asyncio.run(main()) == (not leaves, 0)
    assert run.readers == 0


def test_what_goes_wrong_while_writing_is_the_requests_error() -> None:
    """The layers above see it, as if the request's own task had written."""
    run = Run(new_name(), 60)

    async def broken(message: dict[str, Any]) -> None:
        raise RuntimeError("broken pipe")

    async def main() -> None:
        run.append("delta", {"text": "Hi"})
        await FrameResponse(run, Settings())({"type": "http"}, silence, broken)

    with pytest.raises(RuntimeError, match="broken pipe"):
        asyncio.run(main())
    assert run.readers == 0


@pytest.mark.parametrize("grace", [0.0, 0.3, 1.0])
def test_an_answer_that_does_not_begin_has_its_head_when_the_grace_is_over(grace: float) -> None:
    """Not sooner, whatever pings come, and not later."""
    run, heads = Run(new_name(), 60), []

    async def send(message: dict[str, Any]) -> None:
        heads.append((message.get("status"), now()))

    async def main() -> None:
        asked = asyncio.create_task(FrameResponse(run, Settings(grace=grace))({"type": "http"}, silence, send))
        for _ in range(40):
            await sleep(0.03)
            run.ping()
        asked.cancel()

    run_virtual(main())
    assert heads[0] == (200, pytest.approx(grace, abs=1e-6))


def test_a_pause_of_the_process_does_not_use_up_the_grace() -> None:
    """A refusal that arrives in a pause longer than the grace still has its own status."""
    run, heads = Run(new_name(), 60), []

    async def send(message: dict[str, Any]) -> None:
        heads.append(message.get("status"))

    async def main() -> None:
        asked = asyncio.create_task(FrameResponse(run, Settings(grace=0.5))({"type": "http"}, silence, send))
        await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_soon(time.sleep, 0.7)
        for _ in range(9):  # turns of the loop, in which an upstream's answer is read
            await asyncio.sleep(0)
        run.append("error", {"error": "overloaded", "message": "Overloaded", "retryable": True})
        await asked

    asyncio.run(main())
    assert heads[0] == 503
