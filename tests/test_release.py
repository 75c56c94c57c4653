"""The release rule against real nginx: recorded for two versions, and live against the one that is installed."""

from __future__ import annotations

import ast
import hashlib
import os
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from conftest import need
from vectors.replay import asked_of, load, pieces_of, play, rule_of

from claude_lab.buffering import Asked, Release, Rule

FILES = ("nginx-1.22.1-recorded.json.gz", "nginx-1.22.1.json.gz", "nginx-1.31.5.json.gz")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
CHUNKED = HEAD[:-2] + b"transfer-encoding: chunked\r\n\r\n"
SAME_ZLIB = "ng" not in zlib.ZLIB_RUNTIME_VERSION  # zlib-ng finds other matches, so its output has another length


def differences(file: dict[str, Any]) -> list[tuple[int, int]]:
    """Return (vector, step) where the rule first departs from what nginx did."""
    version = tuple(map(int, file["nginx"].split(".")))
    wrong = []
    for vector in file["vectors"]:
        if vector["accept_encoding"] and not SAME_ZLIB:
            continue
        release = Release(rule_of(vector, file["common"], version), asked_of(vector))
        wire, held = play(release, pieces_of(vector), end=vector["end"])
        same = held == vector["client_bytes"] and release.client_stays == (vector["client_saw"] is None)
        if not same or vector.get("sha256", "") not in ("", hashlib.sha256(wire).hexdigest()):
            steps = zip(held, vector["client_bytes"], strict=True)
            wrong.append((vector["id"], next((k for k, (a, b) in enumerate(steps) if a != b), -1)))
    return wrong


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_step_of_a_real_nginx_is_equal(name: str) -> None:
    """After each upstream write the client holds the same number of bytes as behind the nginx that was recorded."""
    file = load(name)

    assert len(file["vectors"]) == 200
    assert differences(file) == []


def test_the_installed_nginx_is_equal_in_forty_new_scenarios() -> None:
    """Forty scenarios that nobody has seen: equal at every step, and the same bytes, Date aside."""
    need("nginx", "/usr/sbin/nginx")
    pytest.importorskip("trustme")
    from vectors.lockstep import COMMON, Lockstep, scenario

    from claude_lab.nginx import find

    build = find()
    assert build is not None
    seed = int(os.environ.get("CLAUDE_LAB_SEED", time.time()))
    vectors = [scenario(number, seed) for number in range(40)]
    with Lockstep(vectors, build) as lockstep:
        for vector in vectors:
            wire = lockstep.run(vector)
            release = Release(rule_of(vector.as_json(), COMMON, build.version), asked_of(vector.as_json()))
            ours, held = play(release, vector.pieces, end=vector.end)
            if held != vector.client_bytes:  # a delayed acknowledgment can only make bytes look late
                wire = lockstep.run(vector, pause=0.06)

            assert (held, ours) == (vector.client_bytes, wire), f"scenario {vector.id} of CLAUDE_LAB_SEED={seed}"


@pytest.mark.parametrize("name", ["lockstep.py", "record.py"])
def test_the_recorder_does_not_know_the_rule(name: str) -> None:
    """What records nginx imports nothing that predicts it."""
    tree = ast.parse((Path(__file__).parent / "vectors" / name).read_text())
    froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}

    assert {module for module in froms | names if "claude_lab" in module} <= {"claude_lab.nginx"}


def test_a_stair_is_what_a_buffer_has_left() -> None:
    """Framed by the close, the first stair ends at the buffer's size less the upstream's head; then full buffers."""
    release = Release(Rule(), Asked(http="1.0"))
    out = release.feed(HEAD) + b"".join(release.feed(b"x" * 95) for _ in range(42))

    assert out == b""
    first = release.feed(b"x" * 95)
    assert len(first.partition(b"\r\n\r\n")[2]) == 4096 - len(HEAD)
    assert len(b"".join(release.feed(b"x" * 95) for _ in range(43))) == 4096


def test_a_whole_chunk_passes_through_buffers() -> None:
    """With `proxy_http_version 1.1` and a chunked upstream each complete chunk leaves at once, buffering or not."""
    release = Release(Rule(http_version="1.1"))
    release.feed(CHUNKED)

    assert all(b"data" in release.feed(b"a\r\ndata: 12\n\n\r\n") for _ in range(5))


def test_a_chunk_in_two_pieces_waits_for_the_next() -> None:
    """The rest of a chunk split inside its data leaves the buffer only with the following chunk: one event late."""
    release = Release(Rule(http_version="1.1"))
    release.feed(CHUNKED)

    assert b"data:" in release.feed(b"a\r\ndata:")
    assert release.feed(b" 12\n\n\r\n") == b""
    assert b" 12\n\ndata: 34\n\n" in release.feed(b"a\r\ndata: 34\n\n\r\n")


def test_tls_holds_what_plain_http_passes() -> None:
    """The same rule behind TLS gives nothing before 16 KB, unless the upstream says `X-Accel-Buffering: no`."""
    events = [b"a\r\ndata: 12\n\n\r\n"] * 100
    rule = Rule(http_version="1.1", tls=True)
    held, marked = Release(rule), Release(rule)
    marked.feed(CHUNKED[:-2] + b"x-accel-buffering: no\r\n\r\n")
    held.feed(CHUNKED)

    assert b"".join(map(held.feed, events)) == b""
    assert all(map(marked.feed, events))


def test_an_ignored_header_changes_nothing() -> None:
    """`proxy_ignore_headers X-Accel-Buffering` leaves the proxy's own word in force."""
    release = Release(Rule(honor_x_accel=False))

    assert release.feed(HEAD[:-2] + b"x-accel-buffering: no\r\n\r\ndata: 1\n\n") == b""
    assert not release.unbuffered


def test_a_reset_loses_what_the_buffer_holds() -> None:
    """Bytes in a partly filled buffer are gone when the upstream is reset; a clean close delivers them."""
    reset, closed = Release(Rule(), Asked(http="1.0")), Release(Rule(), Asked(http="1.0"))
    for release in (reset, closed):
        release.feed(HEAD + b"x" * 2000)

    assert (b"xx" in reset.error(), reset.ended) == (False, "cut")
    assert (closed.eof().count(b"x" * 2000), closed.ended) == (1, "whole")


def test_a_timeout_before_the_head_is_a_504() -> None:
    """An upstream that never answers gives a Gateway Time-out in the proxy's own name."""
    release = Release(Rule())

    assert release.error(504).startswith(b"HTTP/1.1 504 ")
    assert release.ended == "whole"


def test_a_head_larger_than_the_buffer_is_a_502() -> None:
    """nginx: upstream sent too big header."""
    release = Release(Rule())

    assert release.feed(HEAD[:-2] + b"x-long: " + b"y" * 5000).startswith(b"HTTP/1.1 502 ")


def test_broken_chunks_cut_the_answer() -> None:
    """Bytes that are no chunked framing end the answer visibly."""
    release = Release(Rule(http_version="1.1"))
    release.feed(CHUNKED)
    release.feed(b"nonsense\r\n")

    assert release.ended == "cut"
