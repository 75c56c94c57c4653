"""A server process that dies under its streams."""

from __future__ import annotations

import time

import pytest
from conftest import need

from claude_lab import FakeClaude, Scenario, client, faults
from claude_lab.crash import CrashError, Server
from claude_lab.kinds import Delta, Done, Error
from claude_lab.pacing import Pace
from claude_lab.replies import Voice

TEXT = " ".join(f"Sentence {number} with a wave 🌊." for number in range(14))
STALL = faults.Stall(after=14, seconds=60)
SCENARIO = Scenario([STALL], voice=Voice(TEXT, thinking=False), pace=Pace(0.0, 0.02, 0.0, 0.0))


def killed(*, keeps_runs: bool) -> tuple[client.Answer, object]:
    """Kill the server after ten pieces and start it again; the answer, and its last frame."""
    with FakeClaude(SCENARIO) as fake, Server(fake.url, keeps_runs=keeps_runs) as server:
        answer = client.ask(server.url, "Hello")
        pieces = 0
        for frame in answer:
            pieces += isinstance(frame, Delta)
            if pieces == 10:
                pieces += 1
                server.kill()
                server.start()
    return answer, frame


def test_an_answer_survives_its_server_when_redis_keeps_it() -> None:
    """The reader comes back to the next life of the server, and ends with the whole text."""
    need("redis-server")
    pytest.importorskip("redis")

    answer, last = killed(keeps_runs=True)

    assert isinstance(last, Done)
    assert answer.text == TEXT
    assert len(list(answer.trace.of("resume"))) >= 1


def test_an_answer_that_died_with_its_server_is_called_cut() -> None:
    """Without Redis the next life knows nothing of it: what came is kept, and the end is an error."""
    answer, last = killed(keeps_runs=False)

    assert isinstance(last, Error)
    assert last.error == "truncated"
    assert 0 < len(answer.text) < len(TEXT)
    assert TEXT.startswith(answer.text)


def test_a_taken_port_is_told() -> None:
    """Nothing stays behind when the server cannot start."""
    with FakeClaude(SCENARIO) as fake:
        server = Server(fake.url, keeps_runs=False)
        server.port = int(fake.url.rsplit(":", 1)[1].split("/")[0])
        began = time.monotonic()
        with pytest.raises(CrashError, match=str(server.port)):
            server.start()
        assert time.monotonic() - began < 20
