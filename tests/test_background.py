"""The portal: one loop in one thread, and servers on it that stop whoever asks."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from concurrent.futures import Future
from queue import Empty
from types import FrameType
from typing import Any

import httpx
import pytest
from conftest import LONG, soon

from claude_lab.background import portal, serve, wait_for
from claude_lab.probe import Probe


def gone(url: str) -> bool:
    """Whether nobody listens at an address any more, soon."""

    def refused() -> bool:
        try:
            httpx.head(url, trust_env=False, timeout=2)
        except httpx.ConnectError:
            return True
        except httpx.HTTPError:
            pass  # it is just going
        return False

    return soon(refused, every=0.02)


def test_a_server_stops_when_asked_on_the_portals_own_thread() -> None:
    """As the garbage collector may do: it cannot wait there, and nobody listens soon after."""
    served = serve(Probe())

    async def on_the_loop() -> None:
        served.stop()

    portal().run(on_the_loop(), timeout=5)

    assert gone(served.url)
    served.stop()


def test_a_taken_port_is_told_where_it_was_asked_for() -> None:
    """The error comes from `serve`, in the calling thread, and names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=str(port)):
            serve(Probe(), port=port)


def test_an_open_stream_does_not_delay_a_stop() -> None:
    """A server with a stream that would go on for minutes is gone at once."""
    served = serve(Probe())
    with httpx.Client(trust_env=False, timeout=5) as http:
        with http.stream("GET", served.url, params={"count": 10_000, "every": 0.1}) as response:
            next(response.iter_raw())
            served.stop(timeout=5)

    assert not served.alive
    assert gone(served.url)


@pytest.mark.parametrize("error", [TimeoutError("no answer"), Empty("no answer")])
def test_what_the_work_raises_ends_the_wait(error: Exception) -> None:
    """Whatever the wait itself may raise."""
    failed: Future[str] = Future()
    failed.set_exception(error)

    with pytest.raises(type(error), match="no answer"):
        wait_for(failed)


def test_an_interrupted_wait_leaves_no_lock_taken() -> None:
    """The portal ends the work that an interrupt gave up, wherever in the wait it struck."""

    def strike(frame: FrameType, event: str, _: object) -> Any:
        if event == "return" and frame.f_code is threading.Condition.__enter__.__code__ and waiting:
            sys.settrace(None)
            raise KeyboardInterrupt
        return strike

    waiting: list[None] = []
    sys.settrace(strike)
    try:
        wait_for(portal().submit(asyncio.sleep(0.3, "done")), meanwhile=lambda: waiting.append(None))
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)

    assert portal().run(asyncio.sleep(0.5, "alive"), timeout=LONG) == "alive"


def test_waiting_for_oneself_is_refused() -> None:
    """`run` on the portal's own thread raises instead of hanging."""

    async def outer() -> str:
        try:
            portal().run(asyncio.sleep(0))
        except RuntimeError as error:
            return str(error)
        return "waited"

    assert "own thread" in portal().run(outer(), timeout=5)
