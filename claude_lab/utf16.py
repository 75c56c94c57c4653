"""Text counted as the browser counts it: in UTF-16 code units.

Python counts code points, JavaScript counts UTF-16 units; an offset that means one thing on both sides must be in
units, or every emoji shifts the text that follows it. A JSON stream may also cut one emoji into two escapes, so that a
piece ends with half a character.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

HIGH = ("\ud800", "\udbff")


def units(text: str) -> int:
    """Return the length of `text` in UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def whole(text: str) -> str:
    """Return `text` with split surrogate pairs joined, and half ones replaced by U+FFFD: safe to encode."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def settled(text: str) -> str:
    """Return `text` safe to encode, without half a character that waits at its end for the other."""
    return whole(text[:-1] if HIGH[0] <= text[-1:] <= HIGH[1] else text)


def crc(text: str) -> int:
    """Return the CRC-32 of the UTF-16 little-endian bytes of `text`."""
    return zlib.crc32(text.encode("utf-16-le", "surrogatepass"))


@dataclass(slots=True)
class Tape:
    """Text that grows at its end; half a character waits for its other half."""

    units: int = 0
    _pieces: list[str] = field(default_factory=list)
    _half: str = ""

    @property
    def text(self) -> str:
        """All the text so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def add(self, piece: str) -> str:
        """Append `piece` and return what became readable by it."""
        piece = self._half + piece
        self._half = piece[-1] if piece and HIGH[0] <= piece[-1] <= HIGH[1] else ""
        readable = whole(piece[:-1] if self._half else piece)
        self._pieces.append(readable)
        self.units += units(readable)
        return readable

    def keep(self, chars: int) -> None:
        """Cut the text back to its first `chars` code points."""
        self._half = ""
        self._pieces = [self.text[:chars]]
        self.units = units(self._pieces[0])
