"""Readers that take nothing, slow ones and late ones, on real sockets."""

from __future__ import annotations

import gc
import socket
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import soon
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from claude_lab.background import serve
from claude_lab.framed import FrameResponse
from claude_lab.runs import Bounds, Run, new_name
from claude_lab.settings import Settings

PIECE = "x" * 10_000
PIECES = 1200
END = b"\r\n0\r\n\r\n"
PROTOCOLS = pytest.mark.parametrize("protocol", [H11Protocol, HttpToolsProtocol])


class Stream:
    """A connection that has asked for a run, and the answer, held weakly."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.answers: list[weakref.ref[FrameResponse]] = []

    @property
    def let_go(self) -> bool:
        """Whether the server holds the answer, and with it the run, no more."""
        gc.collect()
        return [answer() for answer in self.answers] == [None]

    def read(self, size_bytes: int, *, rest: float = 0.0) -> bytes:
        """Read to the end, so many bytes at most at a time, with a rest between."""
        got = bytearray()
        while not got.endswith(END) and (data := self.connection.recv(size_bytes)):
            got += data
            time.sleep(rest)
        return bytes(got)


@contextmanager
def asked(
    protocol: Any, *, heartbeat: float, age: float = 600.0, pieces: int = PIECES, window: int = 2**18
) -> Iterator[Stream]:
    """Yield a connection that has asked for a run of many bytes, which ended, and has read nothing."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        run = Run(new_name(), 0.0, Bounds(age=age, run_bytes=2**30))
        for _ in range(pieces):
            run.append("delta", {"text": PIECE})
        run.append("done", {})
        response = FrameResponse(run, Settings(heartbeat=heartbeat))
        stream.answers.append(weakref.ref(response))
        await response(scope, receive, send)

    with socket.socket() as connection, serve(app, protocol=protocol) as served:
        stream = Stream(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        connection.settimeout(10)
        connection.connect((served.host, served.port))
        connection.sendall(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        yield stream


@PROTOCOLS
@pytest.mark.parametrize("pieces", [PIECES, 900])
def test_a_reader_that_takes_nothing_is_cut_and_its_run_let_go(protocol: Any, pieces: int) -> None:
    """After a few looks that find the connection as full as before it is reset; so is one with its last write in it."""
    with asked(protocol, heartbeat=0.05, pieces=pieces, window=4096) as stream:
        assert soon(lambda: stream.let_go, every=0.1)
        time.sleep(0.3)

        with pytest.raises(ConnectionResetError):
            stream.read(2**20)


@PROTOCOLS
def test_a_slow_reader_gets_the_whole(protocol: Any) -> None:
    """Whoever takes a little between two looks is left alone, however often they look."""
    with asked(protocol, heartbeat=0.05) as stream:
        got = stream.read(2**18, rest=0.01)

    assert (got.count(b'"delta"'), got.count(b'"done"')) == (PIECES, 1)


def test_a_reader_of_a_run_that_ended_long_ago_is_cut() -> None:
    """Once the run's age is over, whoever still reads is cut, though it takes something with each look."""
    with asked(H11Protocol, heartbeat=0.05, age=0.0) as stream, pytest.raises(ConnectionResetError):
        stream.read(2**16, rest=0.01)
