"""Rate limits: token buckets for requests, input and output tokens, refilled all the time; and what the headers say.

A bucket holds a minute's worth at most. The vendor publishes that limits are token buckets with continuous refill and
that cache reads are not charged to input; how it computes `retry-after` it does not say, so that is an option here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from claude_lab.amounts import is_amount
from claude_lab.faults import RampLimited, RateLimited, Refusal

KINDS = ("requests", "input-tokens", "output-tokens")
WORDS = {
    "requests": "requests per minute",
    "input-tokens": "input tokens per minute",
    "output-tokens": "output tokens per minute",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much per minute, None for no limit, and what a refused client is told.

    `retry_after` is one of `ANSWERS`. `charge` says what output is charged with beforehand: what it will be ("actual"),
    or what it may be ("max_tokens"). `ramp` is the rate, in requests per minute, that traffic starts at: it doubles
    every minute until `requests` is the limit. `burst` is a bucket's size, in minutes' worth.
    """

    requests: float | None = 50
    input_tokens: float | None = 30_000
    output_tokens: float | None = 8_000
    retry_after: str = "seconds"
    charge: str = "actual"
    ramp: float | None = None
    burst: float = 1.0

    def __post_init__(self) -> None:
        for name in ("requests", "input_tokens", "output_tokens", "ramp", "burst"):
            value = getattr(self, name)
            if value is not None and not is_amount(value, above=0):
                raise ValueError(f"{name}={value!r} is not a limit; give a number above 0, or None for no limit.")
        if self.retry_after not in ANSWERS:
            raise ValueError(f"retry_after={self.retry_after!r} is not known; choose one of {tuple(ANSWERS)}.")
        if self.charge not in ("actual", "max_tokens"):
            raise ValueError(f"charge={self.charge!r} is not known; choose 'actual' or 'max_tokens'.")


@dataclass(slots=True)
class Bucket:
    """A token bucket: `rate` tokens a second, `size` at most; it starts full."""

    rate: float
    size: float
    level: float
    at: float

    def refill(self, now: float) -> float:
        """Add what has trickled in since the last time; return the level."""
        self.level = min(self.size, self.level + (now - self.at) * self.rate)
        self.at = now
        return self.level

    def wait(self, amount: float) -> float:
        """Return the seconds until `amount` is there, from the last refill."""
        return max(0.0, (min(amount, self.size) - self.level) / self.rate)

    @property
    def full_in(self) -> float:
        """Seconds until it is full again."""
        return (self.size - self.level) / self.rate


def absent(wait: float, bucket: Bucket, queued: float) -> float | None:
    """Tell nothing."""
    return None


def exact(wait: float, bucket: Bucket, queued: float) -> float:
    """Tell the time to the next token: right for one client, and the same for a hundred."""
    return round(wait, 3)


def seconds(wait: float, bucket: Bucket, queued: float) -> float:
    """Tell whole seconds, rounded up."""
    return max(1, math.ceil(wait))


def full_reset(wait: float, bucket: Bucket, queued: float) -> float:
    """Tell when the bucket will be full again."""
    return max(1, math.ceil(bucket.full_in))


def reservation(wait: float, bucket: Bucket, queued: float) -> float:
    """Tell each client its own place in the queue."""
    return round(queued, 3)


ANSWERS: dict[str, Callable[[float, Bucket, float], float | None]] = {
    "absent": absent,
    "exact": exact,
    "seconds": seconds,
    "reset": full_reset,
    "reservation": reservation,
}
"""What `retry-after` may say."""


class Meter:
    """The buckets of one organization, at work."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.began = now
        self._queue = now
        amounts = (limits.requests, limits.input_tokens, limits.output_tokens)
        self.buckets = [
            None if amount is None else Bucket(amount / 60, amount * limits.burst, amount * limits.burst, now)
            for amount in amounts
        ]
        start = limits.ramp
        self._ramp = None if start is None else Bucket(start / 60, max(1.0, start / 6), max(1.0, start / 6), now)

    def take(self, now: float, input_tokens: float, output_tokens: float) -> Refusal | None:
        """Charge one request, or refuse it and charge nothing."""
        if self._ramp is not None and (refusal := self._ramped(now, self._ramp)):
            return refusal
        wanted = (1.0, input_tokens, output_tokens)
        for kind, bucket, amount in zip(KINDS, self.buckets, wanted, strict=True):
            if bucket is not None and bucket.refill(now) < amount:
                return self._refuse(now, kind, bucket, amount)
        for bucket, amount in zip(self.buckets, wanted, strict=True):
            if bucket is not None:
                bucket.level -= amount
        return None

    def _ramped(self, now: float, ramp: Bucket) -> Refusal | None:
        """Let traffic double every minute, no faster."""
        most = self.limits.requests or math.inf
        ramp.rate = min(most, (self.limits.ramp or most) * 2 ** ((now - self.began) / 60)) / 60
        ramp.size = max(1.0, ramp.rate * 10)
        if ramp.refill(now) < 1:
            return RampLimited(retry_after=self._told(now, ramp, 1))
        ramp.level -= 1
        return None

    def _told(self, now: float, bucket: Bucket, amount: float) -> float | None:
        wait = bucket.wait(amount)
        self._queue = max(now + wait, self._queue + min(amount, bucket.size) / bucket.rate)
        return ANSWERS[self.limits.retry_after](wait, bucket, self._queue - now)

    def _refuse(self, now: float, kind: str, bucket: Bucket, amount: float) -> Refusal:
        limit = f"{bucket.rate * 60:,.0f} {WORDS[kind]}"
        message = f"This request would exceed your organization's rate limit of {limit}. Please try again later."
        return RateLimited(message=message, retry_after=self._told(now, bucket, amount))

    def levels(self, now: float) -> tuple[tuple[float, float, float], ...]:
        """Return limit, remaining, and seconds until full, for requests, input and output tokens."""
        return tuple(
            FREE[index] if bucket is None else (bucket.rate * 60, bucket.refill(now), bucket.full_in)
            for index, bucket in enumerate(self.buckets)
        )


FREE = ((4_000.0, 3_999.0, 0.015), (2_000_000.0, 2_000_000.0, 0.0), (400_000.0, 400_000.0, 0.0))
"""What the headers say where nothing is limited: limit, remaining, seconds until full."""


def stamp(date: float) -> str:
    """Return a Unix time as RFC 3339, in whole seconds, UTC."""
    return datetime.fromtimestamp(date, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def headers(levels: tuple[tuple[float, float, float], ...], date: float) -> dict[str, str]:
    """Return the twelve `anthropic-ratelimit-*` headers; `tokens` is input and output together."""
    both = tuple(map(sum, zip(levels[1][:2], levels[2][:2], strict=True)))
    rows = dict(zip(KINDS, levels, strict=True))
    rows["tokens"] = (both[0], both[1], max(levels[1][2], levels[2][2]))
    told: dict[str, str] = {}
    for kind, (limit, remaining, full_in) in rows.items():
        told[f"anthropic-ratelimit-{kind}-limit"] = f"{limit:.0f}"
        told[f"anthropic-ratelimit-{kind}-remaining"] = f"{max(0.0, math.floor(remaining)):.0f}"
        told[f"anthropic-ratelimit-{kind}-reset"] = stamp(date + math.ceil(full_in))
    return told
