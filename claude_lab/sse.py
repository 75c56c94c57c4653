"""The `text/event-stream` format, both ways: an encoder, and an incremental decoder that takes bytes cut anywhere.

The rules are those of the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream".
Lines end at CR, LF or CRLF and at nothing else: U+2028, U+2029 and U+0085 are ordinary characters.

Divergence 1: an event larger than `max_event_bytes` raises; the standard sets no limit.
Divergence 2: a retry time of more than nine digits (eleven days) is not taken; the standard takes any number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LINE_END = re.compile(rb"\r\n|\n|\r")
BOM = b"\xef\xbb\xbf"
PLAIN = re.compile(rb"^event: [^\n]*\ndata: ([^\n]*)(?:\n\n|\Z)", re.MULTILINE)
MOST_RETRY_DIGITS = 9


class EventTooLarge(ValueError):
    """An event outgrew the decoder's `max_event_bytes`."""


@dataclass(frozen=True, slots=True)
class Event:
    """One dispatched event: its `data`, its type, and the last event id in force when it was dispatched."""

    data: str
    event: str = "message"
    id: str = ""


def encode(
    data: str | None = None, *, event: str | None = None, id: str | None = None, retry_ms: int | None = None
) -> bytes:
    """Return one block; without `data` a reader dispatches nothing but keeps the `id` and the retry time.

    Raises ValueError for an `event` or `id` with a line end, or an `id` with a NUL: no reader could read them back.
    """
    lines = []
    if event is not None:
        lines.append(f"event: {one_line('event', event)}")
    if id is not None:
        lines.append(f"id: {one_line('id', id)}")
    if retry_ms is not None:
        lines.append(f"retry: {retry_ms:d}")
    if data is not None:
        lines.extend(f"data: {line}" for line in re.split(r"\r\n|\n|\r", data))
    return ("\n".join(lines) + "\n\n").encode()


def comment(text: str = "") -> bytes:
    """Return a comment block, which readers skip; used as a heartbeat."""
    return f": {one_line('comment', text)}\n\n".encode()


def one_line(name: str, value: str) -> str:
    """Return `value`, or raise ValueError when it would break the block."""
    if re.search(r"[\r\n\0]", value):
        raise ValueError(f"The {name} {value!r} has a line end or a NUL; put such text in the data.")
    return value


@dataclass(slots=True)
class Decoder:
    """Turns the bytes of one stream, cut anywhere, into events.

    `last_event_id` and `retry_ms` are what a reconnecting reader would use; `pending` tells whether the stream
    stopped in the middle of an event, which the standard says to discard.
    """

    max_event_bytes: int = 16 * 1024 * 1024
    last_event_id: str = ""
    retry_ms: int | None = None
    comments: int = 0
    _rest: bytes = b""
    _started: bool = False
    _after_cr: bool = False
    _data: list[str] = field(default_factory=list)
    _size: int = 0
    _event: str = ""
    _id: str = ""

    @property
    def pending(self) -> bool:
        """Whether bytes of an unfinished event are held."""
        return bool(self._rest or self._data or self._event)

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes and return the events they complete.

        Raises EventTooLarge when an event passes `max_event_bytes`; the decoder is of no use after that.
        """
        lines = LINE_END.split(self._settle(chunk))
        lines[0] = self._rest + lines[0]
        self._rest = lines.pop()
        events = [event for line in lines if (event := self._take(line)) is not None]
        self._check_size(self._rest)
        return events

    def payloads(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes and return only the data of the events they complete, as bytes.

        Blocks of one `event` and one `data` line, which the Messages API sends, are cut out without a look at each
        line; whatever else there is goes through `feed`.
        """
        waiting, self._rest = self._rest + chunk, b""
        if self._started and not (self._after_cr or self._data or self._event or b"\r" in chunk):
            whole, end, rest = waiting.rpartition(b"\n\n")
            found = PLAIN.findall(whole)
            if whole.count(b"\n") + len(end) == 3 * len(found):
                self._check_size(rest)
                self._rest = rest
                return found
        return [event.data.encode() for event in self.feed(waiting)]

    def _settle(self, chunk: bytes) -> bytes:
        """Return the new bytes without what the last ones settled: the LF of a CR LF cut in two, and a BOM."""
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if not self._started:
            chunk, self._rest = self._rest + chunk, b""
            if BOM.startswith(chunk) and chunk != BOM:
                self._rest = chunk
                return b""
            chunk = chunk.removeprefix(BOM)
            self._started = True
        if chunk:
            # A CR ends its line at once: waiting for a LF that may never come would hold the event back.
            self._after_cr = chunk.endswith(b"\r")
        return chunk

    def _check_size(self, line: bytes) -> None:
        """Refuse an event that is too large, wherever its bytes were cut."""
        if self._size + len(line) > self.max_event_bytes:
            raise EventTooLarge(
                f"An event passed {self.max_event_bytes} bytes without its blank line; "
                "the stream is not text/event-stream, or needs a larger max_event_bytes."
            )

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        self._check_size(line)
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if name == b"data":
            self._data.append(text)
            self._size += len(line)
        elif name == b"event":
            self._event = text
        elif name == b"id" and "\0" not in text:
            self._id = text
        elif name == b"retry" and text.isascii() and text.isdigit() and len(text) <= MOST_RETRY_DIGITS:
            self.retry_ms = int(text)
        elif not name:
            self.comments += 1
        return None

    def _dispatch(self) -> Event | None:
        self.last_event_id = self._id
        data, event = self._data, self._event or "message"
        self._data, self._event, self._size = [], "", 0
        return Event("\n".join(data), event, self.last_event_id) if data else None
