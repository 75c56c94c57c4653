"""The client over sockets that are cut: nothing is lost, nothing comes twice, and no cut looks like success."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cutter import Cutter
from pydantic import SecretStr

from claude_lab import faults, sse
from claude_lab.background import TransportProtocol, serve
from claude_lab.client import ask
from claude_lab.fake import FakeClaude
from claude_lab.kinds import Delta, Done, Error, Resume
from claude_lab.pacing import Pace
from claude_lab.replies import Voice
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.server import create_app
from claude_lab.settings import Settings

CLIENTS = Path(__file__).parents[1] / "docs" / "clients.md"
ANSWER = "One two three naïve 🌊 👩‍👩‍👧 four; שלום, five."
QUICK = RetryPolicy(max_retries=4, base_delay=0.002, max_delay=0.01, jitter="none")
PATIENT = RetryPolicy(max_retries=40, base_delay=0.02, max_delay=0.02, jitter="none")
AT_ONCE = Scenario(voice=Voice(ANSWER, thinking=False), pace="instant")
STEADY = Scenario(voice=Voice(ANSWER * 4, thinking=False), pace=Pace(0.0, 0.01, 0.0, 0.0))
STALLED = replace(STEADY, faults=[faults.Stall(after=20, seconds=60)])


@contextmanager
def server(scenario: Scenario, *, orphan_grace: float = 30.0, port: int = 0) -> Iterator[Any]:
    """Serve the app before a fake."""
    with FakeClaude(scenario) as fake:
        settings = Settings(api_key=SecretStr("k"), base_url=fake.url, token=None, orphan_grace=orphan_grace)
        app = create_app(settings, policy=RetryPolicy(max_retries=0), prefix="/p")
        with serve(app, port=port, protocol=TransportProtocol) as served:
            served.fake = fake
            yield served


def read(url: str, *, face: str = "sync", **options: Any) -> list[Any]:
    """Ask and return all frames, with `for` or with `async for`."""
    answer = ask(url, "Hi", **{"resume": QUICK, **options})
    if face == "sync":
        return list(answer)

    async def all_of_it() -> list[Any]:
        return [frame async for frame in answer]

    return asyncio.run(all_of_it())


def text_of(frames: list[Any]) -> str:
    """Return what the deltas said."""
    return "".join(frame.text for frame in frames if isinstance(frame, Delta))


@pytest.mark.parametrize("face", ["sync", "async"])
def test_an_answer_that_is_cut_anywhere_comes_whole(face: str) -> None:
    """Cut twice at many places, in heads, in frames, in characters: the text is exact and every frame came once."""
    with server(AT_ONCE) as served:
        whole = read(f"{served.url}/p")
        for at in range(0, 2400, 61):
            with Cutter(f"{served.url}/p", [at, 2400 - at], polite=at % 2 == 0) as road:
                frames = read(road.url, face=face)

            ids = [frame.id for frame in frames if not isinstance(frame, Resume)]
            assert text_of(frames) == ANSWER, at
            assert ids == [frame.id for frame in whole]
            assert isinstance(frames[-1], Done)


def raw(pieces: list[str]) -> Any:
    """Return an app that keeps one answer as UTF-8, and gives what comes behind `Last-Event-ID`."""
    frames = [{"type": "start", "run": "kept"}, *({"type": "delta", "text": piece} for piece in pieces)]
    frames.append({"type": "done", "stop_reason": "end_turn"})
    blocks = [
        sse.encode(json.dumps({**frame, "id": f"1-{number}"}, ensure_ascii=False))
        for number, frame in enumerate(frames, start=1)
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        after = dict(scope["headers"]).get(b"last-event-id", b"1-0") if scope["type"] == "http" else b""
        if after:
            rest = b"".join(blocks[int(after.partition(b"-")[2]) :])
            headers = [(b"content-type", b"text/event-stream"), (b"x-claude-lab-run", b"kept")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": rest})

    return app


def wire(url: str) -> bytes:
    """Return a whole response, head and all, as a reader of ours is sent it."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        data = b""
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += sock.recv(65536)
        return data


def test_a_cut_inside_a_character_loses_nothing() -> None:
    """The server writes UTF-8 as it is; the connection is cut before each byte that goes on with a character."""
    pieces = ["🌊a", "ï🙂", "שלום", "👩‍👩‍👧"]
    with serve(raw(pieces)) as served:
        body = b"".join(piece.encode() for piece in pieces)
        inside = [at for at, byte in enumerate(wire(served.url)) if byte & 0xC0 == 0x80]
        assert len(inside) == sum(len(piece.encode()) - len(piece) for piece in pieces)
        for at in inside:
            with Cutter(served.url, [at]) as road:
                frames = read(road.url)

            assert text_of(frames).encode() == body, at
            assert isinstance(frames[-1], Done)


def test_a_run_goes_on_while_nobody_reads() -> None:
    """The road is gone for a while in the middle of the answer; the run is kept, and the reader has all of it."""
    with server(STEADY) as served, Cutter(f"{served.url}/p", [1200], hold=True) as road:
        answer, said = ask(road.url, "Hi", resume=PATIENT), ""
        for frame in answer:
            if isinstance(frame, Delta):
                said += frame.text
                if road.connections == 1 and len(said) > 20:
                    road.vanish()
            if isinstance(frame, Resume) and frame.attempt == 3:
                road.return_()

        assert said == answer.text == ANSWER * 4
        assert (answer.trace.stop_reason, answer.trace.error) == ("end_turn", None)
        assert [mark.value["attempt"] for mark in answer.trace.of("resume")][:3] == [1, 2, 3]
        assert len(served.fake.requests) == 1


def test_a_server_that_restarts_has_lost_the_run_and_the_reader_says_so() -> None:
    """Same port, another process's memory: the text that came stays, and the end is an error, never success."""
    with server(STALLED) as served:
        port = served.port
        answer, frames = ask(f"{served.url}/p", "Hi", resume=PATIENT), []
        reading = iter(answer)
        while not any(isinstance(frame, Delta) for frame in frames):
            frames.append(next(reading))
    with server(STEADY, port=port):
        frames += list(reading)

    assert isinstance(frames[-1], Error)
    assert frames[-1].error == "truncated"
    assert "does not have it any more" in frames[-1].message
    assert (ANSWER * 4).startswith(answer.text)
    assert any(isinstance(frame, Resume) for frame in frames)


def test_a_lab_keeps_no_run_and_a_cut_there_is_told() -> None:
    """With ORPHAN_GRACE=0 the run stops when its reader is cut off; its log ends politely, the client does not."""
    with server(STALLED, orphan_grace=0.0) as served, Cutter(f"{served.url}/p", [1200]) as road:
        frames = read(road.url, resume=QUICK.but(base_delay=0.1, max_delay=0.1))

    assert isinstance(frames[-1], Error)
    assert (frames[-1].error, "stopped meanwhile" in frames[-1].message) == ("truncated", True)
    assert 0 < len(text_of(frames)) < len(ANSWER * 4)


@pytest.mark.parametrize("face", ["sync", "async"])
def test_a_stop_ends_the_answer_and_is_no_cut(face: str) -> None:
    """`stop` reaches the upstream; the answer ends with `done`, stopped, also after a cut."""
    with server(STALLED) as served, Cutter(f"{served.url}/p", [1200]) as road:
        answer = ask(road.url, "Hi", resume=QUICK)

        def stop_late() -> list[Any]:
            frames = []
            for frame in answer:
                frames.append(frame)
                if isinstance(frame, Delta) and road.connections > 1 and not answer.stop_asked:
                    assert answer.stop()
            return frames

        async def astop_late() -> list[Any]:
            frames = []
            async for frame in answer:
                frames.append(frame)
                if isinstance(frame, Delta) and road.connections > 1 and not answer.stop_asked:
                    assert await answer.astop()
            return frames

        frames = stop_late() if face == "sync" else asyncio.run(astop_late())

    assert isinstance(frames[-1], Done)
    assert frames[-1].stop_reason == "stopped"
    assert answer.text == text_of(frames) != ANSWER * 4


def test_leaving_the_loop_leaves_the_run() -> None:
    """After `break` nobody reads; the same answer can be taken up again where it was left."""
    with server(STEADY) as served:
        answer = ask(f"{served.url}/p", "Hi", resume=QUICK)
        first = list(islice(answer, 5))
        rest = list(answer)

    assert text_of([*first, *rest]) == ANSWER * 4
    assert isinstance(rest[-1], Done)


def test_a_closed_port_is_told_at_once() -> None:
    """Nobody listens: one error, without waiting."""
    with Cutter("http://127.0.0.1:9") as road:
        url = road.url
    began = time.monotonic()

    frames = read(url, resume=PATIENT.but(base_delay=30.0, max_delay=30.0))

    assert [type(frame) for frame in frames] == [Error]
    assert frames[0].error == "network_error"
    assert time.monotonic() - began < 10


def test_the_documented_loop_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The Python of docs/clients.md, as it stands there, prints the answer and its tokens."""
    (block,) = re.findall(r"```python\n(.*?)```", CLIENTS.read_text("utf-8"), re.DOTALL)
    with server(AT_ONCE) as served:
        exec(compile(block, str(CLIENTS), "exec"), {"url": f"{served.url}/p"})

    printed = capsys.readouterr().out
    assert printed.startswith(ANSWER)
    assert printed.endswith(" tokens\n")


def test_what_a_left_loop_was_not_given_the_next_one_is() -> None:
    """Frames of one read are read once, and given out in as many loops as one likes."""
    words = [f"word{i} " for i in range(10)]
    with serve(raw(words)) as served:
        answer = ask(served.url, "Hi", resume=QUICK)
        frames = [*islice(answer, 3), *islice(answer, 2), *answer]
        again = ask(served.url, "Hi", resume=QUICK)

        async def in_two() -> list[Any]:
            async for first in again:
                return [first, *[frame async for frame in again]]
            return []

        assert text_of(asyncio.run(in_two())) == text_of(frames) == "".join(words)
