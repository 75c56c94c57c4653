"""A decision as something to play: what to send, after which wait, and how to end. Pure; faults bend it here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from claude_lab import faults
from claude_lab.frames import PING, Frame, dump, text_frame
from claude_lab.messages import Reply, error_body


@dataclass(slots=True)
class Playback:
    """Chunks of bytes, each with the seconds to wait before it; the head leaves with `head_at`'s wait, or never.

    `end` is one of `faults.ENDS`; `whole` tells whether the answer gets to its end. The last chunk is announced to HTTP
    `missing` bytes longer than it is.
    """

    chunks: list[bytes] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    end: str = "complete"
    head: bool = True
    whole: bool = True
    missing: int = 0

    def add(self, data: bytes, wait: float = 0.0) -> None:
        """Append a chunk."""
        self.chunks.append(data)
        self.waits.append(wait)


def timed(made: list[Frame], ttft: float, head: float, gaps: list[float]) -> Playback:
    """Spread the frames over time: the opening at `head` x `ttft`, the first delta at `ttft`, then gap by gap."""
    played = Playback()
    gap = iter(gaps)
    first, opened = True, False
    for each in made:
        if not opened:
            wait, opened = ttft * head, True
        elif each.paced and first:
            wait, first = ttft - ttft * head, False
        else:
            wait = next(gap) if each.paced else 0.0
        played.add(each.data, wait)
    return played


def place(made: list[Frame], fault: faults.Break) -> int:
    """Return the index of the frame before which, or in which, a break happens."""
    if fault.at == "after headers":
        return 0
    if fault.at == "after message_delta":
        return len(made) - 1
    texts = [index for index, each in enumerate(made) if each.text] or [
        index for index, each in enumerate(made) if each.paced
    ]
    if not texts:
        return len(made) - 2
    if fault.at == "inside a character":
        wide = [index for index in texts[fault.after :] if not made[index].data.isascii()]
        texts = [*texts[: fault.after], *wide] if wide else texts
    return texts[fault.after] if fault.after < len(texts) else texts[-1] + 1


def half(made: list[Frame], index: int, at: str) -> bytes:
    """Return the bytes of the unfinished event at a place: two thirds, or up to the middle of a character, or none.

    An event without a character of several bytes is replaced by one that has one.
    """
    data = made[index].data
    if at in ("inside an event", "inside a chunk"):
        return data[: max(1, 2 * len(data) // 3)]
    if at == "inside a character":
        wide = data if not data.isascii() else text_frame(0, "é").data
        return wide[: next(at for at, byte in enumerate(wide) if byte > 127) + 1]
    return b""


def cut(played: Playback, made: list[Frame], fault: faults.Break, *, end: str) -> Playback:
    """End the playback at the fault's place, in the middle of an event where the place says so."""
    if fault.at == "before headers":
        return Playback([b""], played.waits[:1], end, head=False, whole=False)
    index = place(made, fault)
    short = Playback(played.chunks[:index], played.waits[:index], end, whole=False)
    if rest := half(made, index, fault.at):
        short.add(rest, played.waits[index])
        short.missing = len(made[index].data) - len(rest) if fault.at == "inside a chunk" else 0
    if not short.chunks:
        short.add(b"", played.waits[0])
    return short


def insert(played: Playback, index: int, data: bytes, wait: float = 0.0) -> Playback:
    """Put a chunk in between."""
    played.chunks.insert(index, data)
    played.waits.insert(index, wait)
    return played


def drop(played: Playback, made: list[Frame], fault: faults.Break) -> Playback:
    """Close the connection."""
    return cut(played, made, fault, end="fin")


def reset(played: Playback, made: list[Frame], fault: faults.Break) -> Playback:
    """Reset the connection."""
    return cut(played, made, fault, end="rst")


def truncate(played: Playback, made: list[Frame], fault: faults.Break) -> Playback:
    """End as if all were well."""
    return cut(played, made, fault, end="complete")


def hang(played: Playback, made: list[Frame], fault: faults.Break) -> Playback:
    """Fall silent for good."""
    return cut(played, made, fault, end="hang")


def empty(played: Playback, made: list[Frame], fault: faults.Break) -> Playback:
    """Send the head, and nothing."""
    return Playback([b""], played.waits[:1], whole=False)


def stream_error(played: Playback, made: list[Frame], fault: faults.StreamError) -> Playback:
    """Say that something broke, in the stream, and end."""
    short = truncate(played, made, fault)
    body = error_body(fault.type, fault.message)
    if fault.at in ("inside an event", "inside a character"):
        short.add(b"\n\n")
    short.add(f"event: error\ndata: {dump(body)}\n\n".encode())
    return short


def stall(played: Playback, made: list[Frame], fault: faults.Stall) -> Playback:
    """Wait, then go on; pings may come meanwhile, but not inside an event."""
    if fault.at == "before headers":
        return replace(played, waits=[played.waits[0] + fault.seconds, *played.waits[1:]])
    index = place(made, fault)
    begun = half(made, index, fault.at)
    if begun:
        whole = made[index].data
        played.chunks[index] = whole[len(begun) :] if whole.startswith(begun) else text_frame(0, "é").data[len(begun) :]
        insert(played, index, begun, played.waits[index])
        index += 1
    beats = int(fault.seconds / fault.pings) if fault.pings and not begun else 0
    for _ in range(beats):
        insert(played, index, PING, fault.pings or 0.0)
    played.waits[index + beats] = fault.seconds - beats * (fault.pings or 0.0)
    return played


def trickle(played: Playback, made: list[Frame], fault: faults.Trickle) -> Playback:
    """Send the rest a few bytes at a time."""
    index = place(made, fault)
    rest = b"".join(played.chunks[index:])
    slow = Playback(played.chunks[:index], played.waits[:index])
    for at in range(0, len(rest), fault.size_bytes):
        slow.add(rest[at : at + fault.size_bytes], fault.gap)
    return slow


def put_in(played: Playback, made: list[Frame], fault: faults.Insert) -> Playback:
    """Send bytes that do not belong there, then go on; inside an event they split it."""
    index = place(made, fault)
    begun = half(made, index, fault.at)
    if begun:
        played.chunks[index] = begun + fault.data + made[index].data
        return played
    return insert(played, index, fault.data)


def duplicate(played: Playback, made: list[Frame], fault: faults.Break) -> Playback:
    """Send the event before the place once more."""
    index = max(1, place(made, fault))
    return insert(played, index, made[index - 1].data)


def lose(played: Playback, made: list[Frame], fault: faults.Break) -> Playback:
    """Leave out the event after the place."""
    index = place(made, fault)
    del played.chunks[index], played.waits[index]
    return played


def line_ends(played: Playback, made: list[Frame], fault: faults.LineEnds) -> Playback:
    """End lines in another way, from the place on."""
    index = place(made, fault)
    end = fault.end.encode()
    return replace(played, chunks=played.chunks[:index] + [c.replace(b"\n", end) for c in played.chunks[index:]])


def bom(played: Playback, made: list[Frame], fault: faults.Break) -> Playback:
    """Begin with a byte order mark."""
    return insert(played, 0, b"\xef\xbb\xbf")


BENDS: dict[type[faults.Break], Callable[..., Playback]] = {
    faults.Drop: drop,
    faults.Reset: reset,
    faults.Truncate: truncate,
    faults.Hang: hang,
    faults.Empty: empty,
    faults.StreamError: stream_error,
    faults.Stall: stall,
    faults.Trickle: trickle,
    faults.Duplicate: duplicate,
    faults.Lose: lose,
    faults.LineEnds: line_ends,
    faults.Bom: bom,
}
"""What each kind of break does to a playback; every `Insert` does the same."""


def bend(played: Playback, made: list[Frame], fault: faults.Break) -> Playback:
    """Let a fault happen to a playback."""
    return BENDS.get(type(fault), put_in)(played, made, fault)


def whole(reply: Reply, wait: float, fault: faults.Fault | None) -> Playback:
    """Return the playback of a reply that is not streamed; a break cuts its one body in the middle."""
    data = dump(reply.message()).encode()
    if not isinstance(fault, faults.Break):
        return Playback([data], [wait])
    one = [Frame(data), Frame(b"")]
    at = WHOLE.get(fault.at, fault.at)
    inside = replace(fault, at=at) if at in fault.PLACES else fault
    return bend(Playback([data, b""], [wait, 0.0]), one, inside)


WHOLE = {"between events": "inside an event", "after message_delta": "inside an event"}
"""Where a break happens to a body that has no events."""
