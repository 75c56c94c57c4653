"""A crowd of readers over real sockets."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from conftest import LONG

from claude_lab import Lab, Scenario, faults
from claude_lab.background import portal
from claude_lab.crowd import Question, Stream, drive, quantile
from claude_lab.pacing import Pace
from claude_lab.program import free_port

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@asynccontextmanager
async def origin(*pieces: bytes, stays: bool = False) -> AsyncIterator[str]:
    """Serve these pieces, each in a write of its own, to whoever asks; one that `stays` waits until the reader left."""
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            for piece in (HEAD, *pieces):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            if stays:
                await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        if stays:
            await asyncio.wait_for(gone.wait(), LONG)


def test_all_streams_of_a_server_come_whole() -> None:
    """Twenty readers at once each get the whole answer, and `/health` answers meanwhile."""
    with Lab(Scenario(answer="One two three.", pace=Pace(0.0, 0.05, 0.0, 0.0))) as lab:
        crowd = portal().run(drive(lab.url, 20, every=0.02), timeout=20)

    assert (len(crowd.streams), crowd.whole) == (20, 20)
    assert len({stream.events for stream in crowd.streams}) == 1
    assert 0 < crowd.answered <= len(crowd.health)
    assert 0 < crowd.ttft(0.5) <= crowd.ttft(1) < crowd.took
    assert all(stream.began <= stream.ended <= crowd.took for stream in crowd.streams)


def test_a_stream_that_breaks_is_not_whole() -> None:
    """A final frame that is an error does not count as the end of an answer."""
    with Lab(Scenario(faults=[faults.Drop(after=3)], pace="instant")) as lab:
        crowd = portal().run(drive(lab.url, 1, health=None), timeout=20)

    assert (crowd.whole, crowd.health) == (0, ())


def test_an_event_cut_between_two_reads_counts_once() -> None:
    """The marks of an event, of the first delta and of the end are found wherever the bytes are cut."""

    async def ask() -> Stream:
        async with origin(b'data: {"del', b'ta"}\n\nda', b'ta: {"don', b'e"}\n\n') as url:
            return (await drive(url, 1, health=None)).streams[0]

    stream = asyncio.run(ask())

    assert (stream.events, stream.whole) == (2, True)
    assert stream.ttft is not None


def test_what_never_ends_is_cut_off() -> None:
    """After `patience` the connection is closed, the stream is not whole, and no first delta is an infinite wait."""

    async def ask() -> float:
        async with origin(b": ok\n\n", stays=True) as url:
            crowd = await drive(url, 1, health=None, patience=0.1)
            assert crowd.whole == 0
            return crowd.ttft(0.5)

    assert asyncio.run(ask()) == math.inf


def test_during_is_called_while_all_are_open() -> None:
    """With `stay=False` the readers leave after it, without waiting for the end."""
    called = []

    async def ask() -> None:
        async with origin(b'data: {"delta"}\n\n', stays=True) as url:
            crowd = await drive(url, 1, health=None, during=lambda: called.append(True), stay=False)
            assert crowd.streams[0].ttft is not None

    asyncio.run(ask())
    assert called == [True]


def test_nobody_listening_is_an_error() -> None:
    """A crowd before a closed door raises OSError."""
    with pytest.raises(OSError, match="Connect"):
        asyncio.run(drive(f"http://127.0.0.1:{free_port()}", 1, health=None))


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 3), (0.99, 4), (1.0, 4)])
def test_a_quantile_is_one_of_the_values(share: float, value: float) -> None:
    """The quantile lies among the values: no interpolation invents a latency."""
    assert quantile([4, 2, 1, 3], share) == value


def test_a_question_has_the_words_of_any_server() -> None:
    """Path, fields and headers are the asker's; the connection is asked to close."""
    request = Question({"a": 1}, "/v1/messages", headers={"x-api-key": "x"}).request("host", "/lab")

    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /lab/v1/messages HTTP/1.1\r\nhost: host\r\n")
    assert b"\r\nx-api-key: x\r\ncontent-length: 8\r\nconnection: close" in head
    assert body == b'{"a": 1}'
