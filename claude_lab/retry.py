"""When to ask again: failures, their classification, and a policy whose waits are an iterator.

Values only: nothing here sleeps, reads a clock or draws a number of its own; `now` and `rand` are handed in.
A driver asks `policy.begin(now)`, then `state.after(failure, now=..., rand=...)` at each failure, and obeys.

Divergences from the anthropic SDK's own loop:
1. A spend limit is not retried, although it comes as 429 with `x-should-retry: true`: waiting does not lift it.
2. `retry-after` is a floor with the jitter on top, and above `max_retry_after` the policy gives up; the SDK obeys it
   exactly, whatever it says, and so gathers everybody at one instant (jitter "sdk" does the same).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

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
RETRYABLE_STATUS = frozenset({408, 409, 429})


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt's failure in the lab's words: `kind` is one of `KINDS`.

    `mid_stream` says that the response had begun (status 200): an `error` event, a cut, a stall. `retry_after` is in
    seconds; `should_retry` is the `x-should-retry` header.
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
    if status is None or status < 400:
        return "unknown"
    return "server_error" if status >= 500 else "invalid_request"


def classify(failure: Failure) -> Verdict:
    """Judge a failure; the first rule that applies decides.

    A spend limit never retries; then `x-should-retry` is obeyed; then 408, 409, 429 and 5xx retry and other error
    statuses do not; without one (in-stream errors, broken connections) the kind decides.
    """
    if failure.error_code in HOPELESS:
        return Verdict(False, f"{failure.error_code}: waiting does not lift a spend limit")
    if failure.should_retry is not None:
        return Verdict(failure.should_retry, f"x-should-retry: {str(failure.should_retry).lower()}")
    if failure.status is not None and failure.status >= 400:
        retryable = failure.status in RETRYABLE_STATUS or failure.status >= 500
        return Verdict(retryable, f"status {failure.status} is {'transient' if retryable else 'final'}")
    retryable = failure.kind in TRANSIENT
    return Verdict(retryable, f"{failure.kind} is {'transient' if retryable else 'final'}")


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not ask again; `reason` says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Jitter:
    """How a wait spreads below its ceiling: `fixed` of it is certain, the rest is drawn."""

    fixed: float
    exact_retry_after: bool = False


JITTERS = {
    "none": Jitter(1.0),
    "full": Jitter(0.0),
    "equal": Jitter(0.5),
    "decorrelated": Jitter(0.0),
    "sdk": Jitter(0.75, exact_retry_after=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently to ask again.

    `max_retries` counts the attempts after the first. The n-th wait (n from 0) has the ceiling
    min(max_delay, base_delay * 2**n), and `jitter` draws below it: "none" takes it all, "full" U(0, c),
    "equal" c/2 + U(0, c/2), "sdk" 3c/4 + U(0, c/4); "decorrelated" is min(max_delay, U(base_delay, 3 * last wait)).
    Source: Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015; and the anthropic SDK.
    `retry_after` from the server is a floor, with the drawn part on top; beyond `max_retry_after` the policy gives up.
    `deadline` is in seconds from the beginning of the call: no wait may end after it.

    Raises ValueError for a count, a delay or a jitter that cannot be meant.
    """

    max_retries: int = 2
    base_delay: float = 1.0
    max_delay: float = 60.0
    jitter: str = "full"
    honor_retry_after: bool = True
    max_retry_after: float = 300.0
    deadline: float | None = None

    def __post_init__(self) -> None:
        if self.max_retries < 0 or self.max_retries != int(self.max_retries):
            raise ValueError(f"max_retries={self.max_retries!r} is not a count; use 0 for a single attempt.")
        for name in ("base_delay", "max_delay", "max_retry_after"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name}={value!r} is not a delay; use seconds, 0 or more.")
        if self.jitter not in JITTERS:
            raise ValueError(f"jitter={self.jitter!r} is unknown; use one of {', '.join(JITTERS)}.")
        if self.deadline is not None and not self.deadline > 0:
            raise ValueError(f"deadline={self.deadline!r} leaves no time; use seconds above 0, or None.")

    @property
    def max_attempts(self) -> int:
        """How often the upstream may be asked for one call: the first attempt and the retries."""
        return self.max_retries + 1

    def waits(self, rand: Callable[[], float]) -> Iterator[float]:
        """Yield the backoff waits in seconds, `max_retries` of them; `rand` returns numbers in [0, 1)."""
        last = self.base_delay
        for retries in range(self.max_retries):
            fixed, spread = self.draw(retries, last, rand())
            last = fixed + spread
            yield last

    def draw(self, retries: int, last: float, chance: float) -> tuple[float, float]:
        """Return the certain and the drawn part, in seconds, of the wait after `retries` earlier ones."""
        if self.jitter == "decorrelated":
            fixed = min(self.max_delay, self.base_delay)
            return fixed, min(self.max_delay, fixed + chance * max(0.0, 3 * last - fixed)) - fixed
        # 2**62 is far above any cap, and stays a float's exact power of two.
        ceiling = min(self.max_delay, self.base_delay * 2.0 ** min(retries, 62))
        share = JITTERS[self.jitter].fixed
        return share * ceiling, (1.0 - share) * ceiling * chance

    def begin(self, now: float) -> State:
        """Return the state of one call that starts `now`."""
        return State(self, now, last=self.base_delay)

    def but(self, **changes: object) -> Self:
        """Return a copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]  # the fields' own checks follow


@dataclass(slots=True)
class State:
    """Where one call stands: `after` answers each of its failures."""

    policy: RetryPolicy
    started: float
    retries: int = 0
    last: float = 0.0

    def after(self, failure: Failure, *, now: float, rand: Callable[[], float]) -> Wait | GiveUp:
        """Say how long to wait before the next attempt, or why there is none; draws one number per wait."""
        verdict = classify(failure)
        if not verdict.retryable:
            return GiveUp(verdict.reason)
        if self.retries >= self.policy.max_retries:
            return GiveUp(f"max_retries={self.policy.max_retries} used up")
        floor = (failure.retry_after or 0.0) if self.policy.honor_retry_after else 0.0
        if floor > self.policy.max_retry_after:
            return GiveUp(f"retry-after {floor:g} s is longer than max_retry_after={self.policy.max_retry_after:g}")
        seconds = self._wait(floor, rand())
        if self.policy.deadline is not None and now + seconds > self.started + self.policy.deadline:
            return GiveUp(f"the deadline of {self.policy.deadline:g} s would pass")
        self.retries += 1
        return Wait(seconds)

    def _wait(self, floor: float, chance: float) -> float:
        fixed, spread = self.policy.draw(self.retries, self.last, chance)
        self.last = fixed + spread
        if floor > 0 and JITTERS[self.policy.jitter].exact_retry_after:
            return floor
        return max(floor, fixed) + spread
