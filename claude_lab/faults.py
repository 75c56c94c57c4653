"""What can go wrong, and where: frozen values that a scenario scripts, draws by chance or picks by time.

Two families. A `Refusal` is an HTTP error instead of an answer. A `Break` happens to an answer under way, at a place:
`after` so many text deltas, and `at` one of `PLACES` there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from claude_lab.messages import TYPE_OF

PLACES = (
    "before headers",
    "after headers",
    "between events",
    "inside an event",
    "inside a character",
    "after message_delta",
)
"""Where a `Break` happens; the three in the middle count from `after` text deltas."""

ENDS = ("complete", "fin", "rst", "hang")
"""How a response ends: as HTTP says; the connection closed; reset; never, until the client leaves."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with one request."""

    def __str__(self) -> str:
        said = ((f.name, getattr(self, f.name), f.default) for f in fields(self) if f.name not in ("message", "note"))
        return (
            f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value, usual in said if value != usual)})"
        )


@dataclass(frozen=True, slots=True)
class Ok(Fault):
    """Nothing goes wrong: a place holder in a script."""


ok = Ok()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(Fault):
    """An HTTP error instead of an answer.

    `retry_after` is sent as it is: seconds (an int or a float), or an HTTP date as a string; `retry_after_ms` goes in
    its own header; `should_retry` in `x-should-retry`. `error_code` names the cause under `error.details`.
    `body` replaces the JSON envelope, as a proxy's page does.
    """

    status: int = 500
    type: str | None = None
    message: str = "Internal server error"
    retry_after: float | str | None = None
    retry_after_ms: float | None = None
    should_retry: bool | None = None
    error_code: str | None = None
    body: str | None = None
    content_type: str = "application/json"

    def __post_init__(self) -> None:
        if not 400 <= self.status <= 599:
            raise ValueError(f"A refusal's status is between 400 and 599; {self.status!r} is not an HTTP error.")
        if isinstance(self.retry_after, (int, float)) and self.retry_after < 0:
            raise ValueError(f"retry_after={self.retry_after!r} lies in the past; give seconds >= 0 or an HTTP date.")

    @property
    def error_type(self) -> str:
        """The API's error type: as given, else the one that goes with the status."""
        return self.type or TYPE_OF.get(self.status, "invalid_request_error" if self.status < 500 else "api_error")

    @property
    def headers(self) -> dict[str, str]:
        """The headers that tell a client when, and whether, to come back."""
        told = {
            "retry-after": self.retry_after,
            "retry-after-ms": self.retry_after_ms,
            "x-should-retry": None if self.should_retry is None else str(self.should_retry).lower(),
        }
        return {name: str(value) for name, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimited(Refusal):
    """429: you came too fast. Recorded ones say `x-should-retry: true`, with or without `retry-after`."""

    status: int = 429
    message: str = "This request would exceed your organization's rate limit. Please try again later."
    should_retry: bool | None = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RampLimited(Refusal):
    """429: your traffic grew too fast, though it is below the limit."""

    status: int = 429
    message: str = "Your usage has increased too quickly. Please ramp up gradually."
    should_retry: bool | None = True
    error_code: str | None = "ramp_limit_exceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendLimited(Refusal):
    """429 that no waiting cures: the spend limit is reached. The SDK retries it all the same."""

    status: int = 429
    message: str = "You have reached your specified API usage limits."
    error_code: str | None = "enforced_spend_limit_reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overloaded(Refusal):
    """529: everybody came too fast."""

    status: int = 529
    message: str = "Overloaded"
    should_retry: bool | None = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerError(Refusal):
    """500, or another 5xx by `status`, in the API's own envelope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable(Refusal):
    """503 in the API's envelope."""

    status: int = 503
    message: str = "Service unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut(Refusal):
    """504: the API gave up on itself."""

    status: int = 504
    message: str = "Request timed out"


@dataclass(frozen=True, slots=True, kw_only=True)
class BadGateway(Refusal):
    """502 with a proxy's HTML page instead of the API's envelope."""

    status: int = 502
    body: str | None = (
        "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"
        "<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    content_type: str = "text/html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unauthorized(Refusal):
    """401: the key is wrong."""

    status: int = 401
    message: str = "invalid x-api-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbidden(Refusal):
    """403: the key is right, but not for this."""

    status: int = 403
    message: str = "Your API key does not have permission to use the specified resource."


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpaid(Refusal):
    """402: there is a problem with the bill."""

    status: int = 402
    message: str = "Your credit balance is too low to access the Anthropic API."


@dataclass(frozen=True, slots=True, kw_only=True)
class Break(Fault):
    """Something that happens to an answer under way."""

    after: int = 3
    at: str = "between events"
    PLACES: ClassVar[tuple[str, ...]] = PLACES[1:]

    def __post_init__(self) -> None:
        if self.after < 0:
            raise ValueError(f"after={self.after!r} counts text deltas; give 0 or more.")
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
    PLACES: ClassVar[tuple[str, ...]] = PLACES


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang(Break):
    """Silence for good: the connection stays open until the client leaves."""

    PLACES: ClassVar[tuple[str, ...]] = PLACES


@dataclass(frozen=True, slots=True, kw_only=True)
class Trickle(Break):
    """From there on `size_bytes` at a time, `gap` seconds apart, whatever the events: a slow loris."""

    size_bytes: int = 1
    gap: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert(Break):
    """Bytes that do not belong there, between two events; the answer goes on after them."""

    data: bytes = b""
    PLACES: ClassVar[tuple[str, ...]] = PLACES[1:]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lose(Break):
    """The event after the place is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEnds(Break):
    """From there on lines end in CR LF, or in CR: both legal."""

    end: str = "\r\n"


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
