"""Laws of the stages: whatever the rule and however the bytes are cut, nothing is lost, doubled or reordered."""

from __future__ import annotations

import zlib
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_lab.buffering import Asked, Release, Rule
from claude_lab.heads import BadHead
from claude_lab.inbound import Requests
from claude_lab.outlet import Gzip, Piece, Push, Records, Writer
from claude_lab.reader import Reader

SIZES = st.sampled_from([512, 1024, 3000, 4096, 16384])
RULES = st.builds(
    Rule,
    buffering=st.booleans(),
    http_version=st.sampled_from(["1.0", "1.1"]),
    buffer_size=SIZES,
    buffers=st.tuples(st.integers(2, 8), SIZES),
    gzip=st.booleans(),
    gzip_types=st.just(frozenset({"text/event-stream"})),
    postpone_output=st.sampled_from([0, 1460, 4000]),
    tls=st.booleans(),
    record_size=st.sampled_from([1024, 4096, 16384]),
    hold=st.sampled_from(["nginx", "clumps", "everything"]),
    version=st.sampled_from([(1, 22, 1), (1, 31, 5)]),
)
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
FRAMINGS = st.sampled_from(["chunked", "close", "length"])


def wire_of(body: bytes, framing: str) -> bytes:
    """Frame a body, chunked in pieces of 700 bytes."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    if framing == "length":
        return head + b"content-length: %d\r\n\r\n" % len(body) + body
    if framing == "close":
        return head + b"\r\n" + body
    pieces = [body[start : start + 700] for start in range(0, len(body), 700)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


@settings(max_examples=150, deadline=None)
@given(
    RULES,
    FRAMINGS,
    st.integers(0, 40_000),
    st.lists(st.integers(1, 60_000), max_size=12),
    st.sampled_from(["1.0", "1.1"]),
)
def test_a_whole_answer_comes_out_whole(rule: Rule, framing: str, size: int, cuts: list[int], http: str) -> None:
    """Heads aside, the client's body is the upstream's, for every rule, framing, size and cut."""
    body = bytes(range(256)) * (size // 256 + 1)
    wire = wire_of(body[:size], framing)
    release, reader = Release(rule, Asked(http=http, accept_encoding="gzip")), Reader()
    places = sorted({0, *(min(cut, len(wire)) for cut in cuts), len(wire)})
    got = b"".join(reader.feed(release.feed(wire[a:b])) for a, b in pairwise(places))
    got += reader.feed(release.eof())

    assert got == body[:size]
    assert (release.ended, reader.whole is False) == ("whole", False)


@given(st.lists(st.tuples(st.binary(max_size=3000), st.sampled_from(list(Push)[:3])), max_size=20))
def test_gzip_loses_nothing_and_obeys_flush_marks(pieces: list[tuple[bytes, Push]]) -> None:
    """After a flush mark everything so far can be read."""
    squeeze, read, written, seen = Gzip(), zlib.decompressobj(31), b"", b""
    for data, push in pieces:
        written += data
        for chain in squeeze.feed([Piece(data, push)]):
            seen += b"".join(read.decompress(piece.data) for piece in chain)
        if push is Push.FLUSH:
            assert seen == written
    for chain in squeeze.feed([Piece(b"", Push.LAST)]):
        seen += b"".join(read.decompress(piece.data) for piece in chain)

    assert (seen, read.eof) == (written, True)


@given(st.lists(st.tuples(st.binary(max_size=3000), st.sampled_from(list(Push)[:3])), max_size=20))
def test_records_leave_full_or_flushed(pieces: list[tuple[bytes, Push]]) -> None:
    """Without a flush mark only whole records leave."""
    records, held = Records(1000), 0
    for data, push in pieces:
        sent = records.feed([Piece(data, push)])
        held += len(data) - len(sent)

        assert held == len(records.held)
        assert held < 1000
        assert push is not Push.FLUSH or held == 0


@pytest.mark.parametrize(("postpone", "first"), [(1460, b""), (0, b"head")])
def test_a_small_head_is_postponed(postpone: int, first: bytes) -> None:
    """Until something pushes; `postpone_output 0` sends it at once."""
    writer = Writer(postpone_bytes=postpone)

    assert writer.feed([Piece(b"head")]) == first
    assert first + writer.feed([Piece(b"body", Push.RECYCLED)]) == b"headbody"


@settings(max_examples=200, deadline=None)
@given(RULES, st.lists(st.binary(max_size=200), max_size=5), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", CHUNKED]))
def test_no_upstream_can_break_the_rule(rule: Rule, junk: list[bytes], start: bytes) -> None:
    """Whatever it sends, the client gets an answer or a cut, and nothing raises."""
    release = Release(rule)
    for data in (start, *junk):
        release.feed(data)
    release.eof()

    assert release.ended in ("whole", "cut")


@given(st.lists(st.binary(max_size=100), max_size=5), st.sampled_from([b"", b"GET / HTTP/1.1\r\n"]))
def test_no_client_can_break_the_proxy(junk: list[bytes], start: bytes) -> None:
    """What is no request raises BadHead, and only that."""
    requests = Requests()
    with suppress(BadHead):
        for data in (start, *junk):
            requests.feed(data)
            while requests.take():
                pass


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_an_answer_without_a_body_ends_with_its_head(method: str, status: int) -> None:
    """Whatever length it announces."""
    release = Release(Rule(), Asked(method=method))
    out = release.feed(b"HTTP/1.1 %d Fine\r\ncontent-length: 10\r\n\r\n" % status)

    assert (out.endswith(b"\r\n\r\n"), release.ended, release.client_stays) == (True, "whole", True)
