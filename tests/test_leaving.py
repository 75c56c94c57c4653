"""A signal heard by two."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest
from conftest import LONG

from claude_lab import leaving
from claude_lab.leaving import heard

HEARD: list[str] = []


@pytest.fixture(autouse=True)
def handler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let SIGTERM have a handler, as under uvicorn, and no time be lost."""
    monkeypatch.setattr(leaving, "DEAF_WITHIN", 0.01)
    HEARD.clear()
    before = signal.signal(signal.SIGTERM, by_the_server)
    yield
    signal.signal(signal.SIGTERM, before)


def by_the_server(number: int, frame: object) -> None:
    """Note the signal, as a server's handler does."""
    HEARD.append("server")


async def by_the_app() -> None:
    """Note the leaving."""
    HEARD.append("app")


def test_a_signal_is_heard_by_the_app_and_its_server() -> None:
    """The server's handler is called at once, the app's part begins when the server listens no more."""

    async def main() -> None:
        left = asyncio.Event()

        async def leave() -> None:
            await by_the_app()
            left.set()

        with heard(leave):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.wait_for(left.wait(), LONG)

    asyncio.run(main())

    assert HEARD == ["server", "app"]


def test_the_handlers_are_put_back() -> None:
    """Afterwards the signal is the server's alone."""

    async def main() -> None:
        with heard(by_the_app):
            pass

    asyncio.run(main())

    assert signal.getsignal(signal.SIGTERM) is by_the_server


def test_another_thread_hears_nothing() -> None:
    """A server in a thread, as in a notebook, touches no handler: it is stopped by a call."""

    async def main() -> object:
        with heard(by_the_app):
            return signal.getsignal(signal.SIGTERM)

    assert asyncio.run(asyncio.to_thread(asyncio.run, main())) is by_the_server
