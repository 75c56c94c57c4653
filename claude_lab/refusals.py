"""Faults that answer instead of an answer: HTTP errors, as the API and the proxies before it send them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields

from claude_lab.messages import TYPE_OF


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


def header(value: object) -> bool:
    """Tell whether a value can stand in a header: a text of plain ASCII, on one line."""
    return isinstance(value, str) and re.fullmatch(r"[ -~]*", value) is not None


def sendable(value: object) -> bool:
    """Tell whether a value is a text that UTF-8 can write: half a surrogate pair is none."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def seconds(value: object) -> bool:
    """Tell whether a value is a length of time, from 0 to a century."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= CENTURY


CENTURY = 100 * 366 * 86_400
TIME = "a time to wait: a number from 0 to a century"
TEXT = "a text that UTF-8 can write"
HELD: dict[str, tuple[Callable[[object], bool], str]] = {
    "retry_after": (
        lambda value: seconds(value) or header(value),
        f"{TIME} in seconds, or a date or other plain ASCII on one line",
    ),
    "retry_after_ms": (lambda value: isinstance(value, (int, float)) and seconds(value / 1000), TIME),
    "retry_at": (seconds, TIME),
    "should_retry": (lambda value: isinstance(value, bool), "true or false"),
    "content_type": (header, "plain ASCII on one line"),
    **dict.fromkeys(("type", "message", "error_code", "body"), (sendable, TEXT)),
}
"""What the fields of a refusal may hold besides None, and how that is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(Fault):
    """An HTTP error instead of an answer.

    `retry_after` is sent as it is: seconds, or any text; `retry_after_ms` has a header of its own; `retry_at` is told
    as an HTTP date so many seconds ahead; `should_retry` goes in `x-should-retry`. `error_code` names the cause under
    `error.details`. `body` replaces the JSON envelope, as a proxy's page does.
    """

    status: int = 500
    type: str | None = None
    message: str = "Internal server error"
    retry_after: float | str | None = None
    retry_after_ms: float | None = None
    retry_at: float | None = None
    should_retry: bool | None = None
    error_code: str | None = None
    body: str | None = None
    content_type: str = "application/json"

    def __post_init__(self) -> None:
        if isinstance(self.status, bool) or not isinstance(self.status, int) or not 400 <= self.status <= 599:
            raise ValueError(f"A refusal's status is between 400 and 599; {self.status!r} is not an HTTP error.")
        for name, (fits, wanted) in HELD.items():
            value = getattr(self, name)
            if value is not None and not fits(value):
                raise ValueError(f"{name}={value!r} of {type(self).__name__} must be {wanted}.")

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
