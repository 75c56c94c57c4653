"""Server processes on one Redis, and kill -9."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from workers import ANSWER, Answer, Cluster, Worker, cluster

DEATHS = [("restart", 3), ("continue", 40)]
"""Which strategy the other worker follows, and after how many frames the first one dies."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    """One fake and one Redis for the module."""
    with cluster(LEASE="0.6") as made:
        yield made


@pytest.fixture(scope="module")
def workers(shared: Cluster) -> dict[str, Worker]:
    """Workers that stay, one for each strategy; and those that are going to die, started meanwhile."""
    names = ["restart", "continue", *(f"doomed {number}" for number in range(len(DEATHS)))]
    return {name: shared.worker(RECOVERY=name.split()[0].replace("doomed", "fail")) for name in names}


@pytest.mark.parametrize("death", range(len(DEATHS)))
def test_an_answer_survives_the_death_of_its_worker(shared: Cluster, workers: dict[str, Worker], death: int) -> None:
    """kill -9 in mid-stream: the reader goes on at the other worker; its text is the whole answer, byte for byte."""
    strategy, after = DEATHS[death]
    shared.fake.journal.clear()

    answer, _ = shared.kill_and_resume(workers[f"doomed {death}"], workers[strategy], after=after)

    assert answer.text == ANSWER
    assert [seq for _, seq in answer.ids] == list(range(1, len(answer.ids) + 1))
    assert {epoch for epoch, _ in answer.ids} == {1, 2}
    assert (answer.kinds.count("reset"), answer.final["type"]) == (1, "done")
    assert len(shared.fake.journal) == 2


def test_a_worker_that_was_only_frozen_spoils_nothing(shared: Cluster, workers: dict[str, Worker]) -> None:
    """Taken for dead while it was stopped, it wakes up full of frames, is refused, and serves the other's log."""
    frozen, other, answer = workers["continue"], workers["restart"], Answer()
    shared.fake.journal.clear()
    for frame in answer.ask(shared.http, frozen):
        if frame["id"] == "1-9":
            frozen.process.send_signal(signal.SIGSTOP)
            break
    list(answer.resume(shared.http, other))
    frozen.process.send_signal(signal.SIGCONT)

    again = [Answer(answer.name), Answer(answer.name)]
    for worker, reading in zip((frozen, other), again, strict=True):
        list(reading.resume(shared.http, worker))

    assert [reading.text for reading in (answer, *again)] == [ANSWER] * 3
    assert again[0].ids == again[1].ids
    assert answer.ids == again[0].ids
    assert len(shared.fake.journal) == 2
