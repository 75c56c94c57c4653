"""How long content may stay away: counted while somebody waits for it, and while the process runs."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from claude_lab.clock import now, run_virtual, sleep
from claude_lab.patience import Patience


def test_silence_is_given_up() -> None:
    """After the time, and at most a look later."""

    async def main() -> float:
        began = now()
        with pytest.raises(TimeoutError, match=r"No content came for 10\.0 seconds"), Patience(10.0):
            await asyncio.Event().wait()
        return now() - began

    assert 10 <= run_virtual(main()) <= 10.5


def test_content_begins_the_wait_anew() -> None:
    """Each time, whatever else came between."""

    async def main() -> float:
        with Patience(10.0) as patience:
            for _ in range(5):
                await sleep(9.4)
                patience.renew()
        return now()

    assert run_virtual(main()) >= 47


def test_a_batch_that_is_kept_for_long_costs_no_patience() -> None:
    """The time in which nobody waits does not count: what comes soon after it is in time."""

    async def main() -> None:
        with Patience(10.0) as patience:
            patience.rest()
            await sleep(60)
            patience.wait()
            await sleep(9.4)
            patience.renew()

    run_virtual(main())


def test_a_pause_of_the_process_is_not_the_upstreams_silence() -> None:
    """What arrived while the process stood still is read before anybody gives up."""
    ours, theirs = socket.socketpair()

    def stand_still() -> None:
        theirs.send(b"content")
        time.sleep(0.5)

    async def main() -> bytes:
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, stand_still)
        with Patience(0.3):
            return await loop.sock_recv(ours, 100)

    with ours, theirs:
        assert asyncio.run(main()) == b"content"
