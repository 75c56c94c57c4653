"""Reads an HTTP/1 answer back from its bytes, cut anywhere: head, chunks, gzip; what a client sees of a stream."""

from __future__ import annotations

import zlib

from claude_lab import heads
from claude_lab.heads import HEAD_END, Chunks, Head


class Reader:
    """Takes the bytes of one answer and gives back its body; `head` is None until it has come whole."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self._raw = b""
        self._chunks: Chunks | None = None
        self._zlib: zlib._Decompress | None = None
        self._left: int | None = None

    @property
    def whole(self) -> bool | None:
        """Whether the body came to its announced end; None when only the connection's close ends it."""
        if self._chunks is not None:
            return self._chunks.done
        return None if self._left is None else self._left == 0

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the connection and return the body's bytes in them; raises heads.BadHead."""
        if self.head is not None:
            return self._body(data)
        self._raw += data
        found = HEAD_END.search(self._raw)
        if not found:
            return b""
        self.head = heads.parse(self._raw[: found.end()])
        self._chunks = Chunks() if self.head.chunked else None
        self._left = None if self.head.chunked else self.head.content_length
        if "gzip" in self.head.get("content-encoding"):
            self._zlib = zlib.decompressobj(31)
        return self._body(self._raw[found.end() :])

    def _body(self, data: bytes) -> bytes:
        if self._chunks is not None:
            data = b"".join(self._chunks.feed(data))
        elif self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return self._zlib.decompress(data) if self._zlib else data
