"""The decoder's short cut for an upstream's events, held to its careful way."""

from __future__ import annotations

import pytest
from test_reading import data_of, vectors

from claude_lab.sse import Decoder, EventTooLarge

API = (
    b'event: message_start\ndata: {"a":1}\n\nevent: ping\ndata: {}\n\n'
    b'event: content_block_delta\ndata: {"b":"\xf0\x9f\x8c\x8a"}\n\n'
)
ODD = API + b"event: a\ndata: one\nevent: b\ndata: block\n\n\n" + API  # as many lines as two events have
MIXED = API + b"id: 7\ndata: two\ndata: lines\n\n: comment\n\n" + API + b"event: x\r\ndata: crlf\r\n\r\n" + API


def careful(data: bytes) -> list[bytes]:
    """Return what `feed` makes of the whole."""
    return [event.data.encode() for event in Decoder().feed(data)]


@pytest.mark.parametrize("data", [API, ODD, MIXED, MIXED.replace(b"\n", b"\r\n"), API + b"data: unfinished\n"])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 40, 1000])
def test_payloads_are_what_feed_makes_of_the_same_bytes(data: bytes, step: int) -> None:
    """However they are cut, and whether an event looks as the API's do or not."""
    decoder = Decoder()

    got = [payload for at in range(0, len(data), step) for payload in decoder.payloads(data[at : at + step])]

    assert got == careful(data)
    assert decoder.pending == data.endswith(b"unfinished\n")


@vectors("events")
def test_payloads_of_every_vector(vector: dict[str, object]) -> None:
    """The vectors of the readers, behind an event as the API sends it, cut in two everywhere."""
    data = API + data_of(vector)
    whole = careful(data)
    for cut in range(len(API) - 40, min(len(data), len(API) + 200)):
        decoder = Decoder()
        assert decoder.payloads(data[:cut]) + decoder.payloads(data[cut:]) == whole, cut


def test_an_event_without_an_end_is_refused() -> None:
    """What is held between two reads counts."""
    decoder = Decoder(max_event_bytes=100)
    decoder.payloads(API)
    decoder.payloads(b"event: x\ndata: ")
    decoder.payloads(b"y" * 80)
    with pytest.raises(EventTooLarge, match="100 bytes"):
        decoder.payloads(b"y" * 80)
