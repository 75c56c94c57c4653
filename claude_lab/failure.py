"""A failed attempt in the lab's words, and the verdict whether asking again can help.

Divergence 1 (from the anthropic SDK): a spend limit is not retried, although it comes as 429 with
`x-should-retry: true`; waiting does not lift it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

KINDS = (
    "rate_limit",
    "overloaded",
    "server_error",
    "network_error",
    "timeout",
    "truncated",
    "auth_error",
    "token_limit",
    "invalid_request",
    "unknown",
)
TRANSIENT = frozenset({"rate_limit", "overloaded", "server_error", "network_error", "timeout", "truncated"})
HOPELESS = frozenset(
    {
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "linked_organization_spend_limit_reached",
    }
)
KIND_OF_TYPE = {
    "rate_limit_error": "rate_limit",
    "overloaded_error": "overloaded",
    "api_error": "server_error",
    "conflict_error": "server_error",
    "timeout_error": "timeout",
    "authentication_error": "auth_error",
    "permission_error": "auth_error",
    "billing_error": "auth_error",
    "request_too_large": "token_limit",
    "invalid_request_error": "invalid_request",
    "not_found_error": "invalid_request",
}
KIND_OF_STATUS = {
    401: "auth_error",
    402: "auth_error",
    403: "auth_error",
    408: "timeout",
    409: "server_error",
    413: "token_limit",
    429: "rate_limit",
    499: "unknown",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
REDIRECTED = "The upstream redirects, which no request with a key follows; check ANTHROPIC_BASE_URL."
RETRYABLE_STATUS = frozenset({408, 409, 429})


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt's failure: `kind` is one of `KINDS`.

    `mid_stream` says that the response had begun (status 200): an `error` event, a cut, a stall. `retry_after` is in
    seconds; `should_retry` is the `x-should-retry` header. Raises ValueError for an unknown kind.
    """

    kind: str
    message: str = ""
    status: int | None = None
    error_type: str | None = None
    error_code: str | None = None
    retry_after: float | None = None
    should_retry: bool | None = None
    request_id: str | None = None
    mid_stream: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"The failure kind {self.kind!r} is unknown; use one of {', '.join(KINDS)}.")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether asking again can help, and why."""

    retryable: bool
    reason: str


def kind_of(status: int | None, error_type: str | None = None) -> str:
    """Return the kind of an API error: the body's type says it best, else the status."""
    if error_type in KIND_OF_TYPE:
        return KIND_OF_TYPE[error_type]
    if status in KIND_OF_STATUS:
        return KIND_OF_STATUS[status]
    if status is None or status < 300:
        return "unknown"
    return "invalid_request" if 400 <= status < 500 else "server_error"


def classify(failure: Failure) -> Verdict:
    """Judge a failure; the first rule that applies decides.

    A spend limit never retries; then `x-should-retry` is obeyed; then 408, 409, 429 and 5xx retry and other error
    statuses do not; without one (in-stream errors, broken connections) the kind decides.
    """
    if failure.error_code in HOPELESS:
        return Verdict(False, f"{failure.error_code}: waiting does not lift a spend limit")
    if failure.should_retry is not None:
        return Verdict(failure.should_retry, f"x-should-retry: {str(failure.should_retry).lower()}")
    if failure.status is not None and failure.status >= 300:
        retryable = failure.status in RETRYABLE_STATUS or failure.status >= 500
        return Verdict(retryable, f"status {failure.status} is {'transient' if retryable else 'final'}")
    retryable = failure.kind in TRANSIENT
    return Verdict(retryable, f"{failure.kind} is {'transient' if retryable else 'final'}")


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a response asks to wait: `retry-after-ms`, else `retry-after` in seconds or as a date.

    A date counts from the response's own `date`, so that the two machines' clocks need not agree. None for nothing,
    for what is past, and for what cannot be read.
    """
    try:
        if told := headers.get("retry-after-ms"):
            after = float(told) / 1000
        elif (told := headers.get("retry-after", "")).replace(".", "", 1).strip().isdigit():
            after = float(told)
        else:
            gap = parsedate_to_datetime(told) - parsedate_to_datetime(headers.get("date", ""))
            after = gap.total_seconds()
    except (TypeError, ValueError):
        return None
    return after if 0 < after < float("inf") else None


def inner(body: Any, *path: str) -> Any:
    """Return what lies at a path of a body, or None."""
    for name in path:
        body = body.get(name) if isinstance(body, Mapping) else None
    return body


def failure_of_response(status: int, headers: Mapping[str, str], body: Any) -> Failure:
    """Return an error response in the lab's words; `body` is its JSON, if it has any."""
    error_type, should = inner(body, "error", "type"), headers.get("x-should-retry")
    return Failure(
        kind_of(status, error_type),
        str(inner(body, "error", "message") or (REDIRECTED if 300 <= status < 400 else "")),
        status=status,
        error_type=error_type,
        error_code=inner(body, "error", "details", "error_code"),
        retry_after=retry_after_of(headers) if status >= 400 else None,
        should_retry=None if should not in ("true", "false") else should == "true",
        request_id=headers.get("request-id"),
        mid_stream=status == 200,
    )
