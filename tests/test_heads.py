"""Heads and chunks of HTTP/1, cut anywhere."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_lab.heads import BadHead, Chunks, parse
from claude_lab.reader import Reader

BODY = b"5\r\nhello\r\n1;ext=1\r\n \r\n00A\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\n"


@given(st.sets(st.integers(1, len(BODY) - 1)))
def test_chunks_read_the_same_however_they_are_cut(cuts: set[int]) -> None:
    """Extensions, leading zeros and trailers included."""
    chunks = Chunks()
    places = sorted({0, *cuts, len(BODY)})
    data = b"".join(piece for a, b in itertools.pairwise(places) for piece in chunks.feed(BODY[a:b]))

    assert (data, chunks.done, chunks.fewest) == (b"hello 0123456789", True, 0)


@given(st.integers(0, len(BODY) - 1), st.booleans())
def test_fewest_never_asks_for_more_than_comes(cut: int, crlf: bool) -> None:
    """At any place the fewest bytes that may still come are no more than those of the shortest ending."""
    chunks = Chunks(crlf=crlf)
    chunks.feed(BODY[:cut])

    assert 0 < chunks.fewest <= len(BODY) - cut


@pytest.mark.parametrize("bad", [b"x\r\n", b"5\r\nhelloX", b"\r\n"])
def test_what_is_not_chunked_is_refused(bad: bytes) -> None:
    """The message names the byte and the place."""
    with pytest.raises(BadHead, match="byte 0x"):
        Chunks().feed(bad)


def test_a_head_is_read_in_order_and_by_name() -> None:
    """Names match in any case; LF alone ends a line too."""
    head = parse(b"HTTP/1.0 200 OK\nContent-Type: text/plain\nX-A: 1\nx-a: 2\n\n")

    assert (head.version, head.status, head.get("content-type")) == ("1.0", 200, "text/plain")
    assert [value for name, value in head.fields if name.lower() == "x-a"] == ["1", "2"]


@pytest.mark.parametrize("bad", [b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"])
def test_a_bad_head_is_refused(bad: bytes) -> None:
    """With its first characters."""
    with pytest.raises(BadHead, match="'"):
        parse(bad)


def test_a_reader_knows_whether_the_answer_came_whole() -> None:
    """By its chunks, by its length; by the close alone nobody can know."""
    head = b"HTTP/1.1 200 OK\r\n"
    chunked, sized, closed = Reader(), Reader(), Reader()

    assert chunked.feed(head + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n") == b"ab"
    assert sized.feed(head + b"Content-Length: 2\r\n\r\nabc") == b"ab"
    assert closed.feed(head + b"\r\nab") == b"ab"
    assert (chunked.whole, sized.whole, closed.whole) == (False, True, None)
