"""The log of a run: its frames as their bytes on the wire, with hardly an object more for each.

A run of a hundred thousand deltas is two lists and as many bytes: an `Entry` is made when somebody asks for it, and its
frame is read back from the bytes. So nothing that a collector of garbage must visit is kept for a frame.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, overload

Frame = tuple[str, dict[str, Any]]
encode_string = json.encoder.encode_basestring_ascii
BEGIN = len("data: ")


class Entry(NamedTuple):
    """One frame of a run: its number from 1, its type, its bytes on the wire, and its producer's epoch."""

    seq: int
    kind: str
    data: bytes
    epoch: int = 1

    @property
    def frame(self) -> dict[str, Any]:
        """The frame without its type and its id."""
        told: dict[str, Any] = json.loads(self.data[BEGIN : self.data.index(b"\n")])
        del told["type"], told["id"]
        return told


class Log(Sequence[Entry]):
    """Entries in the order of their numbers, read as a sequence; `kinds` and `data` are theirs, a list each.

    `epochs` are those of its producers, rising.
    """

    __slots__ = ("_began", "data", "epochs", "kinds", "size_bytes")

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.data: list[bytes] = []
        self.size_bytes = 0
        self.epochs: list[int] = []
        self._began: list[int] = []

    def add(self, epoch: int, kinds: Iterable[str], data: Sequence[bytes]) -> None:
        """Add what one producer wrote; epochs never fall."""
        if not self.epochs or self.epochs[-1] != epoch:
            self.epochs.append(epoch)
            self._began.append(len(self.data))
        self.kinds += kinds
        self.data += data
        self.size_bytes += sum(map(len, data))

    def epoch(self, at: int) -> int:
        """Return the epoch of the entry at an index."""
        return self.epochs[bisect_right(self._began, at) - 1]

    def end(self, epoch: int) -> int:
        """Return how many entries there are up to the end of an epoch."""
        later = bisect_right(self.epochs, epoch)
        return self._began[later] if later < len(self._began) else len(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self[:])

    @overload
    def __getitem__(self, at: int) -> Entry: ...

    @overload
    def __getitem__(self, at: slice) -> list[Entry]: ...

    def __getitem__(self, at: int | slice) -> Entry | list[Entry]:
        """Return an entry, or a list of them."""
        if isinstance(at, slice):
            return [self[index] for index in range(*at.indices(len(self.data)))]
        index = range(len(self.data))[at]
        return Entry(index + 1, self.kinds[index], self.data[index], self.epoch(index))


def encode(kind: str, frame: dict[str, Any], seq: int, epoch: int = 1) -> bytes:
    """Return a frame's bytes: the JSON alone in its block, then its id in one of its own."""
    if len(frame) == 1 and type(text := frame.get("text")) is str:  # a delta, as nearly all frames are
        at = f"{epoch}-{seq}"
        return f'data: {{"type": "{kind}", "text": {encode_string(text)}, "id": "{at}"}}\n\nid: {at}\n\n'.encode()
    if "id" in frame:  # the event's id has the last word
        frame = {name: value for name, value in frame.items() if name != "id"}
    return encode_json(kind, json.dumps(frame), seq, epoch)


def encode_json(kind: str, told: str, seq: int, epoch: int) -> bytes:
    """Return the same for a frame that is JSON already: one line, as `json.dumps` writes it, so one `data:` line."""
    event_id = f"{epoch}-{seq}"
    fields = f"{told[1:-1]}, " if len(told) > 2 else ""
    return f'data: {{"type": "{kind}", {fields}"id": "{event_id}"}}\n\nid: {event_id}\n\n'.encode()
