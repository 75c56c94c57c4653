"""A reply as prebuilt bytes: one `text/event-stream` block per Messages API event, made once and played many times."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from claude_lab.messages import Block, Reply, Text

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
encode_string = json.encoder.encode_basestring


@dataclass(frozen=True, slots=True)
class Frame:
    """One event's bytes: a `paced` one waits its turn, others leave with the one before; `text` is a text delta."""

    data: bytes
    paced: bool = False
    text: bool = False


def dump(value: Any) -> str:
    """Return compact JSON with its characters as they are, as the API writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def frame(event: dict[str, Any], *, padding: int = 0) -> bytes:
    """Return the block of one event; `padding` spaces follow its JSON value, inside the closing brace."""
    kind = event["type"]
    if kind == "ping":
        return PING
    return f"event: {kind}\ndata: {dump(event)[:-1]}{' ' * padding}}}\n\n".encode()


@functools.lru_cache(maxsize=16_384)
def text_frame(index: int, piece: str) -> Frame:
    """Return the frame of one text delta, remembered: the same pieces come again and again."""
    value = encode_string(piece)
    data = (
        'event: content_block_delta\ndata: {"type":"content_block_delta",'
        f'"index":{index},"delta":{{"type":"text_delta","text":{value}}}}}\n\n'
    )
    return Frame(data.encode(), paced=True, text=True)


def block_frames(index: int, block: Block) -> Iterator[Frame]:
    """Yield the frames of one block."""
    yield Frame(frame({"type": "content_block_start", "index": index, "content_block": block.start()}))
    if index == 0:
        yield Frame(PING)
    if isinstance(block, Text) and not block.citations:
        yield from (text_frame(index, piece) for piece in block.pieces)
    else:
        for delta in block.deltas():
            event = {"type": "content_block_delta", "index": index, "delta": delta}
            yield Frame(frame(event), paced=True, text=delta["type"] == "text_delta")
    yield Frame(frame({"type": "content_block_stop", "index": index}))


@functools.lru_cache(maxsize=256)
def text_frames(index: int, block: Text) -> tuple[Frame, ...]:
    """Return the frames of a text block, remembered whole."""
    return tuple(block_frames(index, block))


def frames(reply: Reply) -> list[Frame]:
    """Return the frames of a whole reply, in order."""
    made = [Frame(frame({"type": "message_start", "message": reply.head()}))]
    for index, block in enumerate(reply.blocks):
        if isinstance(block, Text) and not block.citations:
            made += text_frames(index, block)
        else:
            made += block_frames(index, block)
    made.append(Frame(frame({"type": "message_delta", "delta": reply.stop(), "usage": reply.usage.delta()})))
    made.append(Frame(STOP))
    return made


def pad(made: Frame, spaces: int) -> Frame:
    """Return the frame with spaces before its last brace, as the API pads its events; `ping` is left alone."""
    if made.data is PING:
        return made
    return Frame(made.data[:-3] + b" " * spaces + b"}\n\n", made.paced, made.text)
