"""Runs: one log, many readers, an end, and orphans."""

from __future__ import annotations

import asyncio
import json

import pytest

from claude_lab import sse
from claude_lab.runs import Run, Runs, encode, new_name, seq_of


def make(orphan_grace: float = 0.0) -> Run:
    """Return a run whose producer writes one delta and then waits for good."""
    run = Run(new_name(), orphan_grace)

    async def produce() -> None:
        run.append("delta", {"text": "a"})
        try:
            await asyncio.Event().wait()
        finally:
            run.append("done", {"stop_reason": "stopped"})

    run.start(produce())
    return run


def test_a_frame_is_one_block_of_json_and_one_of_its_id() -> None:
    """The JSON stands alone in its block; the id follows in its own and is repeated inside."""
    data = encode("delta", {"text": "a\n\nb\u2028"}, 7)

    first, second, rest = data.split(b"\n\n")
    assert json.loads(first.removeprefix(b"data: ")) == {"type": "delta", "text": "a\n\nb\u2028", "id": "1-7"}
    assert (second, rest) == (b"id: 1-7", b"")
    assert [event.data for event in sse.Decoder().feed(data)] == [first.removeprefix(b"data: ").decode()]


@pytest.mark.parametrize(
    "hostile",
    ["", "7", "1-", "-7", "2-7", "1-7\n", "1-0x7", "1--7", "1-7-7", "1-" + "9" * 10, "¹-7", "١-٧", "a" * 5000],
)
def test_a_foreign_event_id_is_refused_in_one_short_sentence(hostile: str) -> None:
    """What is not an id of ours raises, and is never echoed at length."""
    with pytest.raises(ValueError, match="none of ours") as caught:
        seq_of(hostile)

    assert len(str(caught.value)) < 200


def test_after_the_final_frame_nothing_is_added() -> None:
    """A log ends once."""
    run = Run(new_name(), 0)
    for kind in ("delta", "done", "error", "delta"):
        run.append(kind, {})

    assert [entry.kind for entry in run.entries] == ["delta", "done"]
    assert run.ended


def test_readers_anywhere_get_the_same_frames() -> None:
    """Replay and tail are one read: each reader gets every frame behind its place once, in order."""

    async def follow(run: Run, after: int) -> list[int]:
        seen: list[int] = []
        while not (run.ended and len(run.entries) == after):
            entries = await run.read(after, 1)
            after += len(entries)
            seen += [entry.seq for entry in entries]
        return seen

    async def main() -> list[list[int]]:
        run = Run(new_name(), 0)
        run.append("delta", {"text": "0"})
        readers = [asyncio.create_task(follow(run, after)) for after in (0, 0, 1)]
        for number in range(20):
            await asyncio.sleep(0)
            run.append("delta", {"text": str(number)})
        run.append("done", {})
        return await asyncio.gather(*readers, follow(run, 20))

    whole = list(range(1, 23))
    assert asyncio.run(main()) == [whole, whole, whole[1:], whole[20:]]


def test_a_read_gives_up_after_its_block() -> None:
    """With nothing new, a read returns an empty list in time."""
    assert asyncio.run(asyncio.wait_for(Run(new_name(), 0).read(0, 0.01), 1)) == []


def test_an_orphan_is_stopped_and_a_late_reader_saves_it() -> None:
    """The run ends when its last reader left and none came within the grace; a reader in time keeps it."""

    async def main() -> tuple[bool, bool]:
        saved, lost = make(0.02), make(0.02)
        for run in (saved, lost):
            run.join()
            await asyncio.sleep(0)
            run.leave()
        saved.join()
        await asyncio.sleep(0.06)
        states = saved.ended, lost.ended
        saved.stop()
        await asyncio.sleep(0.01)
        return states

    assert asyncio.run(main()) == (False, True)


def test_stop_twice_is_fine() -> None:
    """Stopping ends the log once."""

    async def main() -> list[str]:
        run = make()
        await asyncio.sleep(0)
        run.stop()
        run.stop()
        await asyncio.sleep(0.01)
        run.stop()
        return [entry.kind for entry in run.entries]

    assert asyncio.run(main()) == ["delta", "done"]


def test_a_run_that_is_stopped_at_once_ends() -> None:
    """Stopped before its producer's first step, a run has its one final frame."""

    async def main() -> list[tuple[str, str]]:
        run = make()
        run.stop()
        await asyncio.sleep(0.01)
        return [(entry.kind, entry.frame["stop_reason"]) for entry in run.entries]

    assert asyncio.run(main()) == [("done", "stopped")]


def test_names_are_guarded_and_memory_is_bounded() -> None:
    """Malformed and taken names are refused; the oldest ended run goes first; running ones are never dropped."""
    runs = Runs(most=2)
    first = runs.add("a" * 16, 0)
    with pytest.raises(ValueError, match="exists already"):
        runs.add("a" * 16, 0)
    for wrong in ("", "short", "a" * 65, "../../etc/passwd-padding", "a" * 16 + "\n"):
        with pytest.raises(ValueError, match="malformed"):
            runs.add(wrong, 0)
    runs.add("b" * 16, 0)
    with pytest.raises(OverflowError, match="under way"):
        runs.add("c" * 16, 0)

    first.append("done", {})
    runs.add("c" * 16, 0)

    assert (runs.get("a" * 16), len(runs.runs), runs.open) == (None, 2, 2)
