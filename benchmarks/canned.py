"""An upstream that costs next to nothing: prebuilt Messages API events on a bare asyncio protocol.

    python benchmarks/canned.py        # prints its URL, serves until its standard input closes

The last message of a request says what comes: "burst 3000" (so many deltas as fast as they are read), "paced 200 0.025"
(one every so many seconds), or "held" (one delta, then nothing until the client leaves).
"""

from __future__ import annotations

import asyncio
import json
import sys
from functools import lru_cache

import uvloop

from claude_lab.frames import PING, STOP, frame, text_frame

PIECE = 65_536
"""Bytes of one write in a burst."""
WORDS = ["The", "sky", "is", "blue", "because", "air", "scatters", "short", "waves", "more", "than", "long", "ones"]
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"request-id: req_011CSHoEeqs5C35K2UUqR7Fy\r\ntransfer-encoding: chunked\r\n\r\n"
)
MESSAGE = {
    "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-5-5",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 12, "output_tokens": 1},
}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
START = frame({"type": "message_start", "message": MESSAGE}) + frame(BLOCK) + PING
DELTA = {"stop_reason": "end_turn", "stop_sequence": None}
DELTAS = [text_frame(0, " " + word).data for word in WORDS]
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@lru_cache
def end(count: int) -> bytes:
    """Return the events after the last delta."""
    usage = {"output_tokens": count}
    stop = frame({"type": "content_block_stop", "index": 0})
    return stop + frame({"type": "message_delta", "delta": DELTA, "usage": usage}) + STOP


@lru_cache
def pieces(count: int) -> list[bytes]:
    """Return a whole answer in pieces of the size of a TLS record."""
    whole = START + b"".join(DELTAS[i % len(DELTAS)] for i in range(count)) + end(count)
    return [chunk(whole[at : at + PIECE]) for at in range(0, len(whole), PIECE)]


CHUNKS = [chunk(delta) for delta in DELTAS]


class Upstream(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self) -> None:
        self.got = b""
        self.timer: asyncio.TimerHandle | None = None
        self.writing = asyncio.Event()
        self.writing.set()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as it is for TCP
        """Keep the way back."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer a request once it is whole."""
        self.got += data
        head, found, body = self.got.partition(b"\r\n\r\n")
        sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if not found or len(body) < int(sizes[0].split(b":")[1]):
            return
        self.got = b""
        said = json.loads(body)["messages"][-1]["content"]
        how, *numbers = (said if isinstance(said, str) else said[-1]["text"]).split()
        self.transport.write(HEAD)
        if how == "burst":
            self.task = asyncio.ensure_future(self.burst(int(numbers[0])))
        elif how == "paced":
            self.paced(int(numbers[0]), float(numbers[1]))
        else:
            self.transport.write(chunk(START + DELTAS[0]))

    async def burst(self, count: int) -> None:
        """Write as fast as it is read."""
        for piece in pieces(count):
            await self.writing.wait()
            self.transport.write(piece)
        self.transport.write(LAST)

    def paced(self, count: int, gap: float) -> None:
        """Write a delta every `gap` seconds, on schedule."""
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), 0
        self.transport.write(chunk(START))

        def step() -> None:
            nonlocal sent
            sent += 1
            if sent > count:
                self.transport.write(chunk(end(count)) + LAST)
                return
            self.transport.write(CHUNKS[sent % len(CHUNKS)])
            self.timer = loop.call_at(began + (sent + 1) * gap, step)

        self.timer = loop.call_at(began + gap, step)

    def pause_writing(self) -> None:
        """Wait for the reader."""
        self.writing.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self.writing.set()

    def connection_lost(self, error: Exception | None) -> None:
        """Let nothing more be written."""
        self.writing.set()
        if self.timer is not None:
            self.timer.cancel()


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0, backlog=2048)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
