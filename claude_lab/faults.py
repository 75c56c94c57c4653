"""What can go wrong, and where: frozen values that a scenario scripts, draws by chance or picks by time.

Two families. A `Refusal` is an HTTP error instead of an answer. A `Break` happens to an answer under way, at a place:
`after` so many text deltas, and `at` one of `PLACES` there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from claude_lab.refusals import (
    TEXT,
    BadGateway,
    Fault,
    Forbidden,
    Ok,
    Overloaded,
    RampLimited,
    RateLimited,
    Refusal,
    ServerError,
    SpendLimited,
    TimedOut,
    Unauthorized,
    Unavailable,
    Unpaid,
    ok,
    sendable,
)

PLACES = (
    "before headers",
    "after headers",
    "between events",
    "inside an event",
    "inside a chunk",
    "inside a character",
    "after message_delta",
)
"""Where a `Break` happens; the four in the middle count from `after` text deltas.

"inside a chunk" breaks off a chunk of HTTP that announced more; "inside a character" takes the next delta with a
character of several bytes.
"""

STREAMED = tuple(place for place in PLACES if place not in ("before headers", "inside a chunk"))
"""The places where an answer is under way and may go on."""

BETWEEN = ("after headers", "between events", "after message_delta")
"""The places where no event is under way."""

ENDS = ("complete", "fin", "rst", "hang")
"""How a response ends: as HTTP says; the connection closed; reset; never, until the client leaves."""


def check_fields(fault: Fault) -> None:
    """Raise ValueError where a fault has something else for a number or a text, or a number below 0."""
    for each in fields(fault):
        value = getattr(fault, each.name)
        if isinstance(each.default, (int, float)) and not isinstance(each.default, bool):
            whole = isinstance(each.default, int)
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not value >= 0:
                wanted = "a whole number" if whole else "a number"
                raise ValueError(f"{each.name}={value!r} of {type(fault).__name__} must be {wanted}, 0 or more.")
        if isinstance(each.default, str) and not sendable(value):
            raise ValueError(f"{each.name}={value!r} of {type(fault).__name__} must be {TEXT}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Break(Fault):
    """Something that happens to an answer under way."""

    after: int = 3
    at: str = "between events"
    PLACES: ClassVar[tuple[str, ...]] = STREAMED

    def __post_init__(self) -> None:
        check_fields(self)
        if self.at not in self.PLACES:
            raise ValueError(f"{type(self).__name__} cannot happen at={self.at!r}; choose one of {self.PLACES}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop(Break):
    """The connection closes (FIN) in the middle of the response."""

    PLACES: ClassVar[tuple[str, ...]] = PLACES


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Break):
    """The connection is reset (RST)."""

    PLACES: ClassVar[tuple[str, ...]] = PLACES


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate(Break):
    """The response ends cleanly, as HTTP goes, but without `message_stop`: the cut nobody notices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamError(Break):
    """An `error` event in the stream, after status 200, and then the end."""

    type: str = "overloaded_error"
    message: str = "Overloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall(Break):
    """Silence for `seconds`, then the answer goes on; `pings` seconds apart keep the socket awake, None sends none."""

    seconds: float = 30.0
    pings: float | None = None
    PLACES: ClassVar[tuple[str, ...]] = ("before headers", *STREAMED)

    def __post_init__(self) -> None:
        Break.__post_init__(self)
        if self.pings is not None and not (isinstance(self.pings, (int, float)) and self.pings > 0):
            raise ValueError(f"pings={self.pings!r} of Stall must be seconds above 0, or None for no pings.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang(Break):
    """Silence for good: the connection stays open until the client leaves."""

    PLACES: ClassVar[tuple[str, ...]] = PLACES


@dataclass(frozen=True, slots=True, kw_only=True)
class Trickle(Break):
    """From there on `size_bytes` at a time, `gap` seconds apart, whatever the events: a slow loris."""

    size_bytes: int = 1
    gap: float = 0.01
    PLACES: ClassVar[tuple[str, ...]] = BETWEEN

    def __post_init__(self) -> None:
        Break.__post_init__(self)
        if not self.size_bytes:
            raise ValueError("size_bytes=0 of Trickle would never end; give 1 or more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert(Break):
    """Bytes that do not belong there, between two events; the answer goes on after them."""

    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed(Insert):
    """A delta whose JSON is broken."""

    data: bytes = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":\n\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEvent(Insert):
    """An event of a type that does not exist yet."""

    data: bytes = (
        b'event: content_block_hint\ndata: {"type":"content_block_hint","index":0,"hint":{"confidence":0.5}}\n\n'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownDelta(Insert):
    """A delta of a type that does not exist yet."""

    data: bytes = (
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"mood_delta","mood":"calm"}}\n\n'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unnamed(Insert):
    """An error without its `event:` line: readers that go by the name never see it."""

    data: bytes = b'data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Comments(Insert):
    """Comment lines, an id and a retry time: all legal, and all meaningless here."""

    data: bytes = b": keep-alive\n\nid: 42\nretry: 1000\n\n:\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Insert):
    """A proxy's HTML page in the middle of the stream."""

    data: bytes = b"<html><body><h1>504 Gateway Time-out</h1></body></html>\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Separators(Insert):
    """A delta with U+2028, U+2029 and U+0085 raw in its text: no line ends here, but some readers think so."""

    data: bytes = (
        "event: content_block_delta\n"
        'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
        '"text":"a\u2028b\u2029c\u0085d"}}\n\n'
    ).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage(Insert):
    """Bytes that are not UTF-8."""

    data: bytes = b"\xff\xfe\xfa\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate(Break):
    """The last event before the place comes twice."""

    PLACES: ClassVar[tuple[str, ...]] = BETWEEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Lose(Break):
    """The event after the place is lost."""

    PLACES: ClassVar[tuple[str, ...]] = BETWEEN


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEnds(Break):
    """From there on lines end in CR LF, or in CR: both legal."""

    end: str = "\r\n"
    PLACES: ClassVar[tuple[str, ...]] = BETWEEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Bom(Break):
    """The stream begins with a byte order mark: legal, at the beginning."""

    at: str = "after headers"
    PLACES: ClassVar[tuple[str, ...]] = ("after headers",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty(Break):
    """Status 200 and not one event."""

    at: str = "after headers"
    PLACES: ClassVar[tuple[str, ...]] = ("after headers",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw(Fault):
    """Anything else: a status, headers, the chunks of the body with `gap` seconds before each, and how to end."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    chunks: tuple[bytes, ...] = ()
    gap: float = 0.0
    end: str = "complete"

    def __post_init__(self) -> None:
        check_fields(self)
        if not 200 <= self.status <= 599:
            raise ValueError(f"status={self.status!r} of Raw ends no request; give 200 to 599.")
        for name, value in self.headers.items():
            if not re.fullmatch(r"[\w!#$&^`|~*+.-]+", name) or not re.fullmatch(r"[ -~]*", value):
                raise ValueError(f"{name!r}: {value!r} is not a header; names and values are plain ASCII.")
        if self.end not in ENDS:
            raise ValueError(f"end={self.end!r} is not a way to end a response; choose one of {ENDS}.")
        object.__setattr__(self, "chunks", tuple(self.chunks))


def named(name: str, **options: Any) -> Fault:
    """Return the fault of that name, as a scenario read from JSON writes it. Raises ValueError for unknown ones."""
    kind = globals().get(name)
    if name == "ok":
        return ok
    if not (isinstance(kind, type) and issubclass(kind, Fault)):
        raise ValueError(f"There is no fault {name!r}; choose one of {sorted(KINDS)}.")
    try:
        return kind(**options)
    except TypeError as error:
        raise ValueError(f"{name} does not take these options: {error}.") from None


def kinds(family: type[Fault] = Fault) -> dict[str, type[Fault]]:
    """Return the faults of a family, by name."""
    found: dict[str, type[Fault]] = {}
    for kind in family.__subclasses__():
        found |= {kind.__name__: kind, **kinds(kind)}
    return found


KINDS = {name: kind for name, kind in kinds().items() if name not in ("Break", "Insert")}
"""Every kind of fault, by name."""

__all__ = [
    "BETWEEN",
    "ENDS",
    "KINDS",
    "PLACES",
    "STREAMED",
    "BadGateway",
    "Bom",
    "Break",
    "Comments",
    "Drop",
    "Duplicate",
    "Empty",
    "Fault",
    "Forbidden",
    "Garbage",
    "Hang",
    "Insert",
    "LineEnds",
    "Lose",
    "Malformed",
    "Ok",
    "Overloaded",
    "Page",
    "RampLimited",
    "RateLimited",
    "Raw",
    "Refusal",
    "Reset",
    "Separators",
    "ServerError",
    "SpendLimited",
    "Stall",
    "StreamError",
    "TimedOut",
    "Trickle",
    "Truncate",
    "Unauthorized",
    "Unavailable",
    "UnknownDelta",
    "UnknownEvent",
    "Unnamed",
    "Unpaid",
    "kinds",
    "named",
    "ok",
]
