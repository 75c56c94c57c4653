"""The way out of a proxy: compression, chunk framing, the postponed head, TLS records. Each may hold bytes.

A proxy's pipe hands on *chains*: lists of pieces that nginx would pass to its filters in one call. A piece carries
the weakest thing that makes it leave: nothing, a recycled buffer, a flush mark, the end of the answer.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

GZIP_BUFFER_BYTES = 4096
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"


class Push(IntEnum):
    """How strongly a piece pushes; a later value does all that an earlier one does."""

    HELD, RECYCLED, FLUSH, LAST = range(4)


class Piece(NamedTuple):
    """Bytes on their way out."""

    data: bytes
    push: Push = Push.HELD


Chain = list[Piece]
FLUSH: Chain = [Piece(b"", Push.FLUSH)]
LAST: Chain = [Piece(b"", Push.LAST)]


class Gzip:
    """zlib, held back: without a flush mark a piece leaves only when 4,096 bytes of output are full.

    A known body length makes zlib's window, and with it the output, a little different.
    """

    def __init__(self, *, level: int = 1, content_length: int | None = None) -> None:
        window, memory = 15, 8
        while content_length and window > 9 and content_length < (1 << (window - 1)) - 262:
            window, memory = window - 1, max(1, memory - 1)
        self._zlib = zlib.compressobj(level, zlib.DEFLATED, window + 16, memory)
        self._held = b""
        self._dirty = True

    def feed(self, chain: Chain) -> Iterator[Chain]:
        """Take one chain; each flush mark in it ends a chain of its own. An empty chain goes no further."""
        ready: Chain = []
        for data, push in chain:
            held = self._held + self._squeeze(data, push)
            while len(held) >= GZIP_BUFFER_BYTES:
                ready.append(Piece(held[:GZIP_BUFFER_BYTES], Push.RECYCLED))
                held = held[GZIP_BUFFER_BYTES:]
            self._held = held
            if push >= Push.FLUSH:
                self._held = b""
                yield [*ready, Piece(held, push)]
                ready = []
        if ready:
            yield ready

    def _squeeze(self, data: bytes, push: Push) -> bytes:
        """Compress; a flush with nothing new since the last one adds nothing."""
        squeezed = self._zlib.compress(data) if data else b""
        self._dirty = self._dirty or bool(data)
        if push is Push.LAST:
            return squeezed + self._zlib.flush(zlib.Z_FINISH)
        if push is Push.FLUSH and self._dirty:
            self._dirty = False
            squeezed += self._zlib.flush(zlib.Z_BLOCK)
            return squeezed + self._marked(self._zlib.flush(zlib.Z_SYNC_FLUSH), len(self._held) + len(squeezed))
        return squeezed

    def _marked(self, marker: bytes, before: int) -> bytes:
        """Return the flush marker, doubled where the end of an output buffer falls into it (zlib.h, deflate)."""
        room = GZIP_BUFFER_BYTES - before % GZIP_BUFFER_BYTES
        return marker + EMPTY_BLOCK if room <= len(marker) else marker


def in_chunk(chain: Chain) -> Chain:
    """Frame one chain as one chunk; the end of the answer adds the last chunk."""
    size = sum(len(piece.data) for piece in chain)
    ends = bool(chain) and chain[-1].push is Push.LAST
    if not size:
        return [Piece(b"0\r\n\r\n", Push.LAST)] if ends else chain
    tail = Piece(b"\r\n0\r\n\r\n", Push.LAST) if ends else Piece(b"\r\n")
    return [Piece(b"%x\r\n" % size), *chain, tail]


class Records:
    """The buffer in front of TLS: plaintext leaves when a record is full, on a flush mark, or at the end."""

    def __init__(self, size_bytes: int = 16384) -> None:
        self.size_bytes = size_bytes
        self.held = bytearray()

    def feed(self, chain: Chain) -> bytes:
        """Take one chain and return the plaintext of the records that leave; an empty chain is a flush."""
        sent = bytearray()
        flush = not chain
        for data, push in chain:
            flush = flush or push >= Push.FLUSH
            for start in range(0, len(data), self.size_bytes):
                flush = self._copy(data[start : start + self.size_bytes], flush or push >= Push.FLUSH, push, sent)
        if flush:
            sent += self.held
            self.held.clear()
        return bytes(sent)

    def _copy(self, data: bytes, flush: bool, push: Push, sent: bytearray) -> bool:
        """Copy at most a record's worth; a full record leaves and takes the flush mark so far with it."""
        room = self.size_bytes - len(self.held)
        self.held += data[:room]
        if len(self.held) < self.size_bytes:
            return flush
        sent += self.held
        self.held[:] = data[room:]
        return bool(self.held) and push >= Push.FLUSH


class Writer:
    """The last filter: small writes are postponed until something pushes, then everything leaves together."""

    def __init__(self, *, postpone_bytes: int = 1460, records: Records | None = None) -> None:
        self.postpone_bytes = postpone_bytes
        self.records = records
        self._out: Chain = []

    def feed(self, chain: Chain) -> bytes:
        """Take one chain and return what reaches the client now; an empty chain only empties the record buffer."""
        self._out += chain
        size = sum(len(piece.data) for piece in self._out)
        pushed = any(piece.push for piece in self._out)
        if not pushed and (size < self.postpone_bytes if chain else not (self.records and self.records.held)):
            return b""
        out, self._out = self._out, []
        if self.records is None:
            return b"".join(piece.data for piece in out)
        return self.records.feed(out)
