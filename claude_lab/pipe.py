"""The first stage of a proxy: what waits in its response buffers, byte for byte as nginx does it.

`Pipe` is `proxy_buffering on`, `Direct` is `proxy_buffering off`. Both take what one arrival of upstream bytes makes
readable and yield chains, in the order in which nginx would hand them to its filters.

A buffer of the pipe moves on when it is full, when it holds at least the fewest bytes that may still come, or at the
upstream's end. For a body framed by the connection's close that number does not exist, hence the famous stairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from claude_lab.heads import Chunks
from claude_lab.outlet import FLUSH, LAST, Chain, Piece, Push

UNTIL_CLOSE = -1


class Body:
    """Finds the data in the upstream's bytes, and knows the fewest bytes that may still come (-1: nobody can know)."""

    def __init__(self, *, chunked: bool, length: int | None, crlf: bool) -> None:
        self._chunks = Chunks(crlf=crlf) if chunked else None
        self.fewest = self._chunks.fewest if self._chunks else UNTIL_CLOSE if length is None else length

    @property
    def done(self) -> bool:
        """Whether all of the body has come."""
        return self.fewest == 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take upstream bytes and return the pieces of data in them; what follows the end is dropped."""
        if self._chunks:
            pieces = self._chunks.feed(data)
            self.fewest = self._chunks.fewest
            return pieces
        if self.fewest == UNTIL_CLOSE:
            return [data] if data else []
        data = data[: self.fewest]
        self.fewest -= len(data)
        return [data] if data else []


class Source(Protocol):
    """What `Pipe` and `Direct` share."""

    body: Body

    def start(self, head_bytes: int, data: bytes) -> Iterator[Chain]:
        """The head has been read; `data` came with it."""

    def feed(self, data: bytes) -> Iterator[Chain]:
        """More bytes have arrived."""

    def eof(self) -> Iterator[Chain]:
        """The upstream closed."""


class Buffer:
    """One raw buffer: `size` bytes, of which `used` are taken; `data` of them wait."""

    __slots__ = ("data", "size", "used")

    def __init__(self, size: int, used: int = 0) -> None:
        self.size = size
        self.used = used
        self.data = bytearray()


class Pipe:
    """`proxy_buffering on`: bytes wait in buffers, the first of which held the upstream's head."""

    def __init__(self, body: Body, *, head_size: int, count: int, size: int, busy_size: int) -> None:
        self.body = body
        self._head_size = head_size
        self._size = size
        self._unmade = count
        self._busy_size = busy_size
        self._free: list[Buffer] = []
        self._ready: list[tuple[list[bytes], Buffer]] = []

    def start(self, head_bytes: int, data: bytes) -> Iterator[Chain]:
        """Begin with the header buffer: what it has left after the head is the first to fill."""
        self._free = [Buffer(self._head_size, head_bytes)]
        yield from self.feed(data)

    def feed(self, data: bytes) -> Iterator[Chain]:
        """Read until nothing is left or no buffer is free, write, and go on."""
        position = 0
        while True:
            position = self._read(data, position)
            first = self._free[0] if self._free else None
            if first and self.body.fewest != UNTIL_CLOSE and first.data and len(first.data) >= self.body.fewest:
                self._pass_on(self._free.pop(0))
            if self.body.done:
                yield from self._finish()
                return
            yield from self._write()
            if position >= len(data):
                return

    def eof(self) -> Iterator[Chain]:
        """Pass the partly filled buffer on; the answer is whole only if its framing says so, or cannot say."""
        if self._free:
            self._pass_on(self._free.pop(0))
        whole = self.body.done or self.body.fewest == UNTIL_CLOSE
        yield from self._finish(LAST if whole else FLUSH)

    def _read(self, data: bytes, position: int) -> int:
        while position < len(data):
            if not self._free and not self._allocate():
                return position
            buffers, self._free = self._free, []
            while buffers and position < len(data):
                first = buffers[0]
                part = data[position : position + first.size - first.used]
                first.data += part
                first.used += len(part)
                position += len(part)
                if first.used < first.size:
                    break
                self._pass_on(buffers.pop(0))
            self._free = buffers + self._free
        return position

    def _allocate(self) -> bool:
        if not self._unmade:
            return False
        self._unmade -= 1
        self._free.append(Buffer(self._size))
        return True

    def _pass_on(self, buffer: Buffer) -> None:
        """Find the data in a buffer; one that holds only framing is free again at once."""
        pieces = self.body.feed(bytes(buffer.data))
        if pieces:
            self._ready.append((pieces, buffer))
        else:
            self._reuse(buffer)

    def _reuse(self, buffer: Buffer) -> None:
        """Put an emptied buffer first in line, but behind one that is partly filled."""
        buffer.used = 0
        buffer.data.clear()
        self._free.insert(1 if self._free and self._free[0].data else 0, buffer)

    def _write(self) -> Iterator[Chain]:
        """Hand on what is ready, in groups of at most the busy size; the last written is the last reused."""
        while self._ready:
            group: list[Buffer] = []
            chain: Chain = []
            busy = 0
            while self._ready and (not group or busy + self._ready[0][1].size <= self._busy_size):
                pieces, buffer = self._ready.pop(0)
                busy += buffer.size
                group.append(buffer)
                chain += [Piece(piece, Push.RECYCLED) for piece in pieces]
            yield chain
            for buffer in reversed(group):
                self._reuse(buffer)

    def _finish(self, end: Chain = LAST) -> Iterator[Chain]:
        pieces = [Piece(piece) for found, _ in self._ready for piece in found]
        self._ready = []
        if pieces:
            yield pieces
        yield end


class Direct:
    """`proxy_buffering off`: at most one buffer's worth at a time, each with a flush mark."""

    def __init__(self, body: Body, *, size: int) -> None:
        self.body = body
        self._size = size

    def start(self, head_bytes: int, data: bytes) -> Iterator[Chain]:
        """Send the head at once, alone or with as much of the body as one read brought."""
        if not data:
            yield LAST if self.body.done else FLUSH
            return
        room = self._size - head_bytes
        yield from self.feed(data[:room])
        if not self.body.done:
            yield from self.feed(data[room:])

    def feed(self, data: bytes) -> Iterator[Chain]:
        """Pass on everything, one read of at most a buffer's size after the other."""
        for start in range(0, len(data), self._size):
            yield [Piece(piece, Push.FLUSH) for piece in self.body.feed(data[start : start + self._size])]
            if self.body.done:
                yield LAST
                return

    def eof(self) -> Iterator[Chain]:
        """End the answer, whole or cut."""
        yield LAST if self.body.fewest == UNTIL_CLOSE else FLUSH


class Store:
    """Store and forward: nothing leaves before the upstream has finished."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self._pieces: Chain = []

    def start(self, head_bytes: int, data: bytes) -> Iterator[Chain]:
        """Begin to collect."""
        yield from self.feed(data)

    def feed(self, data: bytes) -> Iterator[Chain]:
        """Collect; at the end of the body let all of it go."""
        self._pieces += [Piece(piece) for piece in self.body.feed(data)]
        if self.body.done:
            yield self._pieces
            yield LAST

    def eof(self) -> Iterator[Chain]:
        """Let go what was collected."""
        yield self._pieces
        yield LAST if self.body.fewest == UNTIL_CLOSE else FLUSH
