"""Faults: what they are at the door, and what they do to bytes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from claude_lab import faults, playback
from claude_lab.faults import Break, Refusal
from claude_lab.frames import frames
from claude_lab.messages import Reply, Text, cut
from claude_lab.playback import Playback
from claude_lab.sse import Decoder

REPLY = Reply("msg_1", "m", (Text(tuple(cut("Blue light — the short waves — bounces about more than red. 🌤️ So."))),))
FRAMES = frames(REPLY)
WHOLE = b"".join(each.data for each in FRAMES)


def played(fault: Break) -> Playback:
    """The reply, bent by a fault."""
    usual = playback.timed(FRAMES, 1.0, 0.8, [0.1] * (sum(each.paced for each in FRAMES) - 1))
    return playback.bend(usual, FRAMES, fault)


def sent(fault: Break) -> bytes:
    """The bytes that leave under a fault."""
    return b"".join(played(fault).chunks)


def breaks(**options: Any) -> list[Break]:
    """Every kind of break at every place."""
    kinds = [kind for name, kind in faults.kinds(Break).items() if name != "Insert"]
    return [kind(at=place, **options) for kind in kinds for place in kind.PLACES]


def test_there_are_25_kinds_at_seven_places() -> None:
    """The kinds and places that the lab promises exist."""
    assert len(faults.KINDS) >= 25
    assert len(faults.PLACES) == 7
    assert len(breaks()) >= 60


@pytest.mark.parametrize("fault", breaks(), ids=str)
def test_every_break_plays_at_every_place(fault: Break) -> None:
    """A bent playback has a wait for each chunk, a known end, and no negative wait."""
    bent = played(fault)

    assert len(bent.chunks) == len(bent.waits)
    assert bent.end in faults.ENDS
    assert min(bent.waits) >= 0


@pytest.mark.parametrize("after", [0, 1, 5, 10_000])
def test_a_cut_lets_so_many_deltas_through(after: int) -> None:
    """`after` counts whole text deltas; more than there are means all of them."""
    events = Decoder().feed(sent(faults.Drop(after=after)))

    total = sum(each.text for each in FRAMES)
    assert sum("text_delta" in event.data for event in events) == min(after, total)


def test_a_cut_inside_a_character_leaves_half_of_it() -> None:
    """The bytes end in the middle of a character that the answer really has."""
    data = sent(faults.Drop(at="inside a character"))

    assert WHOLE.startswith(data)
    with pytest.raises(UnicodeDecodeError):
        data.decode()


def test_a_plain_answer_gets_a_character_to_break_in() -> None:
    """An answer in ASCII is given one, so that the fault can happen."""
    plain = frames(Reply("msg_1", "m", (Text(("a", "b", "c", "d", "e")),)))
    bent = playback.bend(playback.timed(plain, 0, 0, [0.0] * 4), plain, faults.Drop(at="inside a character"))

    with pytest.raises(UnicodeDecodeError):
        b"".join(bent.chunks).decode()


@pytest.mark.parametrize("kind", [faults.Stall, faults.Trickle])
def test_delays_change_no_byte(kind: type[Break]) -> None:
    """Stalls without pings and trickles send the same bytes, at every place."""
    assert all(sent(kind(at=place)) == WHOLE for place in kind.PLACES)


def test_a_stall_is_as_long_as_it_says() -> None:
    """The waits of a stalled answer sum to the usual ones, plus the stall minus the gap it replaces."""
    usual = sum(played(faults.Lose(after=0)).waits)
    stalled = sum(played(faults.Stall(seconds=30.0, pings=4.0)).waits)

    assert stalled - usual == pytest.approx(30.0, abs=0.2)


def test_line_ends_and_boms_are_legal() -> None:
    """CR LF, CR and a byte order mark change nothing for a reader that keeps to the standard."""
    usual = Decoder().feed(WHOLE)

    for fault in (faults.LineEnds(at="after headers"), faults.LineEnds(end="\r", at="after headers"), faults.Bom()):
        assert Decoder().feed(sent(fault)) == usual


def test_a_duplicate_is_two_equal_events_in_a_row() -> None:
    """One event comes twice, and only one."""
    events = Decoder().feed(sent(faults.Duplicate(after=3)))

    assert sum(one == two for one, two in pairwise(events)) == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: faults.Drop(at="nowhere"), "choose one of"),
        (lambda: faults.Drop(after=-1), "after=-1 of Drop must be a whole number"),
        (lambda: faults.Bom(at="between events"), "Bom cannot happen at='between events'"),
        (lambda: faults.RateLimited(retry_after=-1), "retry_after=-1 of RateLimited must be a time to wait"),
        (lambda: faults.RateLimited(retry_after=float("nan")), "retry_after=nan"),
        (lambda: faults.RateLimited(retry_after="soon\r\nx: y"), "plain ASCII on one line"),
        (lambda: faults.ServerError(content_type="text/html\n"), "content_type='text/html\\n'"),
        (lambda: faults.Overloaded(message="\ud800"), "message='\\ud800' of Overloaded must be a text"),
        (lambda: faults.Overloaded(should_retry="yes"), "should_retry='yes' of Overloaded must be true or false"),
        (lambda: Refusal(status=200), "200 is not an HTTP error"),
        (lambda: faults.Raw(end="bang"), "end='bang' is not a way to end"),
        (lambda: faults.named("Flood"), "There is no fault 'Flood'"),
        (lambda: faults.named("Drop", deep=1), "Drop does not take these options"),
    ],
)
def test_impossible_faults_are_refused_at_the_door(make: Any, said: str) -> None:
    """A fault that cannot be raises one sentence that names the value."""
    with pytest.raises(ValueError) as raised:
        make()

    assert said in str(raised.value)


def test_faults_are_values_and_print_as_they_are_written() -> None:
    """Equal faults are equal, can be keys, and print without what is usual."""
    assert {faults.Overloaded(): 1}[faults.Overloaded()] == 1
    assert str(faults.Drop(after=5)) == "Drop(after=5)"
    assert str(faults.RateLimited(retry_after=2)) == "RateLimited(retry_after=2)"
