"""The log of a run: bytes, and entries read back from them."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_lab.log import Entry, Log, encode

KINDS = st.sampled_from(["delta", "start", "tool"])
FRAMES = st.dictionaries(st.sampled_from(["text", "usage", "input"]), st.text() | st.integers() | st.none())


def filled(*turns: tuple[int, list[tuple[str, dict[str, object]]]]) -> Log:
    """Return a log with what each epoch wrote."""
    log = Log()
    for epoch, frames in turns:
        first = len(log) + 1
        data = [encode(kind, frame, seq, epoch) for seq, (kind, frame) in enumerate(frames, first)]
        log.add(epoch, [kind for kind, _ in frames], data)
    return log


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
@given(st.lists(st.tuples(KINDS, FRAMES)))
def test_a_frame_is_read_back_from_its_bytes(frames: list[tuple[str, dict[str, object]]]) -> None:
    """Types, frames and numbers come back as they were given, half a character too."""
    log = filled((1, frames), (2, [("delta", {"text": "\ud800"})]))

    assert [(entry.kind, entry.frame) for entry in log] == [*frames, ("delta", {"text": "\ud800"})]
    assert [entry.seq for entry in log] == list(range(1, len(frames) + 2))


def test_an_entry_knows_the_epoch_of_its_producer() -> None:
    """Each entry has the epoch of whoever wrote it, at the places where the producer changed too."""
    delta = ("delta", {"text": "a"})
    log = filled((1, [delta, delta]), (3, [delta]), (3, [delta]), (4, [delta]))

    assert [entry.epoch for entry in log] == [1, 1, 3, 3, 4]
    assert [log.epoch(at) for at in range(5)] == [1, 1, 3, 3, 4]


def test_a_log_is_a_sequence_of_entries() -> None:
    """It is counted, indexed and cut as a list is, and knows its size in bytes."""
    log = filled((1, [("start", {"run": "r"}), ("delta", {"text": "a"})]))

    assert len(log) == 2
    assert log[-1] == Entry(2, "delta", encode("delta", {"text": "a"}, 2), 1)
    assert log[1:] == [log[1]]
    assert log.size_bytes == sum(len(entry.data) for entry in log)
