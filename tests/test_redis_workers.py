"""Server processes on one Redis, and kill -9."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import httpx
import pytest
from conftest import soon
from cutter import Cutter
from workers import ANSWER, Answer, Cluster, Worker, cluster

from claude_lab.client import ask


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    """One fake and one Redis for the module."""
    with cluster(LEASE="0.6") as made:
        yield made


@pytest.fixture(scope="module")
def workers(shared: Cluster) -> list[Worker]:
    """Three workers, started together; the tests use them up in turn."""
    return [shared.worker(RECOVERY=strategy) for strategy in ("fail", "restart", "continue")]


def check_whole(answer: Answer) -> None:
    """Hold an answer to being whole, once, and mended in the second epoch."""
    assert answer.text == ANSWER
    assert [seq for _, seq in answer.ids] == list(range(1, len(answer.ids) + 1))
    assert {epoch for epoch, _ in answer.ids} == {1, 2}
    assert (answer.kinds.count("reset"), answer.final["type"]) == (1, "done")


def test_an_answer_survives_the_death_of_its_worker(shared: Cluster, workers: list[Worker]) -> None:
    """kill -9 in mid-stream: the reader goes on at the other worker; its text is the whole answer, byte for byte."""
    answer, _ = shared.kill_and_resume(workers[0], workers[1], after=5)

    check_whole(answer)
    assert len(shared.fake.journal) == 2


def test_a_worker_that_was_only_frozen_spoils_nothing(shared: Cluster, workers: list[Worker]) -> None:
    """Taken for dead while it was stopped, it wakes up full of frames, is refused, and serves the other's log."""
    _, other, frozen = workers
    answer = Answer()
    shared.stall(after=12, seconds=2)
    for frame in answer.ask(shared.http, frozen):
        if frame["id"] == "1-9":
            frozen.process.send_signal(signal.SIGSTOP)
            break
    list(answer.resume(shared.http, other))
    assert soon(lambda: shared.fake.journal[0].ended == "complete")
    frozen.process.send_signal(signal.SIGCONT)

    again = [Answer(answer.name), Answer(answer.name)]
    for worker, reading in zip((frozen, other), again, strict=True):
        list(reading.resume(shared.http, worker))

    check_whole(answer)
    assert [(reading.text, reading.ids) for reading in again] == [(answer.text, answer.ids)] * 2


def test_it_survives_that_of_the_next_worker_too(shared: Cluster, workers: list[Worker]) -> None:
    """The worker that took over dies in turn, over another answer; the last one continues it at the seam."""
    answer, _ = shared.kill_and_resume(workers[1], workers[2], after=60)

    check_whole(answer)
    assert len(shared.fake.journal) == 2


@pytest.mark.parametrize("command", [Worker.serve, Worker.uvicorn], ids=lambda command: command[0])
def test_a_worker_that_is_told_to_stop_sends_its_readers_on(shared: Cluster, command: tuple[str, ...]) -> None:
    """SIGTERM in mid-stream: the client is told `moved`, comes back to the other worker, and has the whole answer."""
    leaving, staying = (shared.worker(command=command, RECOVERY="continue", LEASE="60") for _ in range(2))
    shared.stall(after=12)
    with Cutter(leaving.url) as road:
        answer = ask(road.url, "Hello")
        for number, _ in enumerate(answer, 1):
            if number == 8:
                road.target = httpx.URL(staying.url).host, httpx.URL(staying.url).port
                leaving.process.terminate()

    assert (answer.text, answer.trace.stop_reason) == (ANSWER, "end_turn")
    assert [mark.kind for mark in answer.trace.marks].count("moved") == 1
    assert leaving.process.wait(10) in (0, -signal.SIGTERM)


def test_a_worker_whose_runs_are_its_own_sends_nobody_on(shared: Cluster) -> None:
    """Without Redis a stop ends the stream as a cut: no other worker has the run, so none is promised."""
    shared.stall(after=12)
    alone, answer = Worker(ANTHROPIC_API_KEY="lab", ANTHROPIC_BASE_URL=shared.fake.url), Answer()
    shared.stack.callback(alone.stop)
    for number, _ in enumerate(answer.ask(shared.http, alone), 1):
        if number == 8:
            alone.process.terminate()

    assert "moved" not in answer.kinds
    assert answer.text != ANSWER
