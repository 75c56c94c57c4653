"""Runs: one log, many readers, an end, and orphans."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from claude_lab import sse
from claude_lab.clock import VirtualLoop
from claude_lab.log import encode
from claude_lab.runs import Bounds, Run, Runs, Writer, new_name


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
    run = Run(new_name(), 0)
    for _ in range(9):
        run.append("delta", {"text": "a"})

    with pytest.raises(ValueError, match="none of this run's") as caught:
        run.place(hostile)

    assert len(str(caught.value)) < 200


def test_a_place_is_a_number_of_the_log_or_its_end() -> None:
    """An id of the run is its number; one beyond its epoch's end is that end, so that nobody misses what begins there.

    One of an epoch that wrote nothing, or with the number of an earlier one, is refused.
    """
    run = Run(new_name(), 0)
    run.append("delta", {"text": "a"})
    run.turn(2)
    run.append("delta", {"text": "b"})

    places = {"1-0": 0, "2-0": 0, "1-1": 1, "2-2": 2, "1-2": 1, "1-3": 1, "2-999999999": 2}
    assert {event_id: run.place(event_id) for event_id in places} == places
    for foreign in ("0-0", "0-1", "2-1", "3-3"):
        with pytest.raises(ValueError, match="none of this run's"):
            run.place(foreign)


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

    async def main() -> tuple[Run | None, int, int]:
        runs = Runs(Bounds(runs=2))
        first = await runs.add("a" * 16, 0)
        with pytest.raises(ValueError, match="exists already"):
            await runs.add("a" * 16, 0)
        for wrong in ("", "short", "a" * 65, "../../etc/passwd-padding", "a" * 16 + "\n"):
            with pytest.raises(ValueError, match="malformed"):
                await runs.add(wrong, 0)
        await runs.add("b" * 16, 0)
        with pytest.raises(OverflowError, match="under way"):
            await runs.add("c" * 16, 0)
        first.append("done", {})
        await runs.add("c" * 16, 0)
        return await runs.get("a" * 16), len(runs.runs), runs.open

    assert asyncio.run(main()) == (None, 2, 2)


def test_a_run_is_found_by_its_caller_only() -> None:
    """The same name belongs to each caller apart; a stranger finds nothing."""

    async def main() -> list[bool]:
        runs = Runs()
        first = await runs.add("a" * 16, 0, caller="one")
        second = await runs.add("a" * 16, 0, caller="two")
        found = [await runs.get("a" * 16, caller=caller) for caller in ("one", "two", "three")]
        return [found[0] is first, found[1] is second, found[2] is None]

    assert asyncio.run(main()) == [True, True, True]


def test_an_ended_run_is_forgotten_after_its_age() -> None:
    """What ended longer ago than `age` seconds is not found, and its memory is given back; what runs stays."""
    loop = VirtualLoop()

    async def main() -> list[int]:
        runs, told = Runs(Bounds(age=10)), []
        ended = await runs.add("a" * 16, 0)
        ended.append("done", {})
        for wait in (9, 2):
            await asyncio.sleep(wait)
            told.append(int(await runs.get("a" * 16) is not None))
        await runs.add("b" * 16, 0)
        return [*told, len(runs.runs)]

    try:
        assert loop.run_until_complete(main()) == [1, 0, 1]
    finally:
        loop.close()


def test_a_run_that_outgrows_its_log_ends_with_an_error() -> None:
    """The final frame says what to do, the producer is stopped, and what came before it is kept."""

    async def main() -> Run:
        run = Run(new_name(), 0, Bounds(run_bytes=2000))

        async def produce() -> None:
            while True:
                run.append("delta", {"text": "x" * 100})
                await asyncio.sleep(0)

        run.start(produce())
        assert run.producer is not None
        await asyncio.wait({run.producer}, timeout=5)
        return run

    run = asyncio.run(main())

    assert run.entries[-1].frame["error"] == "token_limit"
    assert "MAX_RUN_BYTES=2000" in run.entries[-1].frame["message"]
    assert 2000 < run.entries.size_bytes < 2600


def test_all_runs_together_are_bounded() -> None:
    """When their bytes reach the bound, ended runs that nobody reads go, oldest first; what must stay refuses more."""

    async def main() -> list[list[str]]:
        runs, left = Runs(Bounds(total_bytes=2500)), []
        for name in "abcd":
            run = await runs.add(name * 16, 0)
            run.append("delta", {"text": name * 1000})
            if name != "b":
                run.append("done", {})
            else:
                run.join()
            left.append([kept[0] for _, kept in runs.runs])
        ended = [runs.runs["", name * 16] for name in "cd"]
        for run in ended:
            run.join()
        with pytest.raises(OverflowError, match="MAX_BYTES=2500"):
            await runs.add("e" * 16, 0)
        for run in ended:
            run.leave()
        await runs.add("e" * 16, 0)
        return [*left, [kept[0] for _, kept in runs.runs]]

    assert [*map("".join, asyncio.run(main()))] == ["a", "ab", "abc", "bcd", "bde"]


def test_readers_are_counted_and_bounded() -> None:
    """One reader too many is refused; when one has left, the next may come."""
    run = Run(new_name(), 0, Bounds(readers=2))
    run.ended = True
    run.join()
    run.join()
    with pytest.raises(OverflowError, match="2 readers"):
        run.join()

    run.leave()
    run.join()

    assert run.readers == 2


def test_after_a_turn_the_producer_before_writes_nothing() -> None:
    """A zombie's frames, its final one too, are dropped; the new producer's have the new epoch."""
    run = Run(new_name(), 0)
    zombie = Writer(run)
    zombie.append("delta", {"text": "a"})

    writer = run.turn(2)
    zombie.extend([("delta", {"text": "lost"}), ("done", {})])
    writer.append("delta", {"text": "b"})

    assert [(entry.epoch, entry.seq, entry.frame) for entry in run.entries] == [
        (1, 1, {"text": "a"}),
        (2, 2, {"text": "b"}),
    ]
    assert not run.ended


def test_a_reader_that_is_cancelled_leaves_no_trace() -> None:
    """Nobody waits for a reader that has gone."""

    async def main() -> int:
        run = Run(new_name(), 0)
        reading = asyncio.create_task(run.read(0, 60))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        return len(run._waiting)

    assert asyncio.run(main()) == 0


@pytest.mark.parametrize("frame", [{}, {"text": "a\r\nb\u2028"}, {"id": "toolu_1", "name": "f", "input": {"id": 1}}])
def test_the_bytes_are_those_of_the_format(frame: dict[str, Any]) -> None:
    """The short way to a frame's bytes gives what the encoder of the format gives."""
    own = {name: value for name, value in frame.items() if name != "id"}
    told = json.dumps({"type": "delta", **own, "id": "3-7"})

    assert encode("delta", frame, 7, 3) == sse.encode(told) + sse.encode(id="3-7")
