"""HTTP/1 heads and chunks as a proxy sees them: read incrementally, written as nginx writes them.

Divergence 1: a header line folded over two lines is refused; nobody sends one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

HEAD_END = re.compile(rb"\r?\n\r?\n")
FIRST_LINE = re.compile(r"HTTP/\d\.\d \d{3}(?: .*)?|\S+ \S+ HTTP/\d\.\d")
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
HIDDEN = frozenset({"date", "server", "x-pad"})
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]*)?\r?\n")


class BadHead(ValueError):
    """A head that is no HTTP/1."""


@dataclass(frozen=True, slots=True)
class Head:
    """A parsed head: its first line, and its fields in the order they came."""

    line: str
    fields: tuple[tuple[str, str], ...]

    def get(self, name: str, default: str = "") -> str:
        """Return the first field of this name (lower case)."""
        return next((value for key, value in self.fields if key.lower() == name), default)

    @property
    def version(self) -> str:
        """The HTTP version of a request line or a status line: "1.0" or "1.1"."""
        word = self.line.split(" ", 1)[0] if self.line.startswith("HTTP/") else self.line.rsplit(" ", 1)[-1]
        return word.removeprefix("HTTP/")

    @property
    def status(self) -> int:
        """The status of a response."""
        return int(self.line.split(" ", 2)[1])

    @property
    def content_length(self) -> int | None:
        """The announced length of the body in bytes, or None."""
        value = self.get("content-length")
        return int(value) if value.isdigit() else None

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.get("transfer-encoding").lower().endswith("chunked")


def parse(data: bytes) -> Head:
    """Read a whole head, blank line included or not; raises BadHead."""
    first, *rest = data.decode("latin-1").replace("\r\n", "\n").rstrip("\n").split("\n")
    if not FIRST_LINE.fullmatch(first):
        raise BadHead(f"{first[:60]!r} is no HTTP/1 request or status line; point the client at an HTTP URL.")
    fields = []
    for line in rest:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise BadHead(f"{line[:60]!r} is no header field; write it as `name: value`.")
        fields.append((name, value.strip()))
    return Head(first, tuple(fields))


def write(line: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """Return a head as bytes, blank line included."""
    return "\r\n".join([line, *(f"{name}: {value}" for name, value in fields), "", ""]).encode("latin-1")


class At(IntEnum):
    """Where in the chunked framing the next byte falls."""

    START, SIZE, EXTENSION, SIZE_LF, DATA, AFTER, AFTER_LF = range(7)
    LAST, LAST_LF, TRAILER, TRAILER_LF, FIELD, FIELD_LF, END = range(7, 14)


# The fewest bytes that can still complete the body, by state, beyond the rest of the current chunk. The short
# table counts bare LF line ends, as nginx did before 1.29.4; the long one counts CRLF.
SHORT = dict(zip(At, (3, 2, 5, 5, 4, 4, 4, 2, 2, 1, 1, 2, 2, 0), strict=True))
LONG = dict(zip(At, (5, 4, 9, 8, 7, 7, 6, 4, 3, 2, 1, 4, 3, 0), strict=True))


class Chunks:
    """Takes a chunked body cut anywhere and gives back its data; raises BadHead when it is not chunked.

    `fewest` is how many bytes must at least follow: nginx waits for so many before it passes a partial buffer on.
    """

    def __init__(self, *, crlf: bool = True) -> None:
        self.at = At.START
        self.rest = 0
        self._least = LONG if crlf else SHORT

    @property
    def done(self) -> bool:
        """Whether the last chunk and its trailer have been read."""
        return self.at is At.END

    @property
    def fewest(self) -> int:
        """The fewest bytes that can complete the body; 0 when it is complete."""
        if self.at is At.SIZE and self.rest:
            return self.rest + self._least[At.EXTENSION]
        return self.rest + self._least[self.at]

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the pieces of data in them, one per chunk that they touch."""
        pieces: list[bytes] = []
        position, end = 0, len(data)
        while position < end and self.at is not At.END:
            if self.at is At.DATA:
                piece = data[position : position + self.rest]
                pieces.append(piece)
                position += len(piece)
                self.rest -= len(piece)
                if not self.rest:
                    self.at = At.AFTER
            elif self.at is At.START and (line := SIZE_LINE.match(data, position)):
                self.rest = int(line[1], 16)
                self.at = At.DATA if self.rest else At.TRAILER
                position = line.end()
            else:
                self._step(data[position])
                position += 1
        return pieces

    def _step(self, byte: int) -> None:
        """Take one byte of framing."""
        at = self.at
        if at in (At.START, At.SIZE) and byte in b"0123456789abcdefABCDEF":
            self.rest = (0 if at is At.START else self.rest * 16) + int(chr(byte), 16)
            self.at = At.SIZE
        elif at is At.SIZE and self.rest == 0 and byte in b"\r; \t":
            self.at = At.LAST_LF if byte == 13 else At.LAST
        else:
            step = STEPS.get((at, byte), STEPS.get((at, None)))
            if step is None:
                where = f"byte {byte:#04x} in {at.name}"
                raise BadHead(f"The upstream's chunked framing is broken ({where}); mend the upstream.")
            self.at = step
            if at is At.SIZE and byte == 10 and not self.rest:
                self.at = At.TRAILER


CR, LF = 13, 10
STEPS: dict[tuple[At, int | None], At] = {
    (At.SIZE, CR): At.SIZE_LF,
    (At.SIZE, LF): At.DATA,
    (At.SIZE, ord(";")): At.EXTENSION,
    (At.SIZE, ord(" ")): At.EXTENSION,
    (At.SIZE, ord("\t")): At.EXTENSION,
    (At.EXTENSION, CR): At.SIZE_LF,
    (At.EXTENSION, LF): At.DATA,
    (At.EXTENSION, None): At.EXTENSION,
    (At.SIZE_LF, LF): At.DATA,
    (At.AFTER, CR): At.AFTER_LF,
    (At.AFTER, LF): At.START,
    (At.AFTER_LF, LF): At.START,
    (At.LAST, CR): At.LAST_LF,
    (At.LAST, LF): At.TRAILER,
    (At.LAST, None): At.LAST,
    (At.LAST_LF, LF): At.TRAILER,
    (At.TRAILER, CR): At.TRAILER_LF,
    (At.TRAILER, LF): At.END,
    (At.TRAILER, None): At.FIELD,
    (At.TRAILER_LF, LF): At.END,
    (At.FIELD, CR): At.FIELD_LF,
    (At.FIELD, LF): At.TRAILER,
    (At.FIELD, None): At.FIELD,
    (At.FIELD_LF, LF): At.TRAILER,
}
