"""Checks of a stream's head: what the headers say of the request, the organization and its limits."""

from __future__ import annotations

import re
from datetime import datetime

from claude_lab.exchange import Api, equal, expect, rule

RECORDED = "recorded exchange"


LIMITS = "API docs: rate limits"


ERRORS = "API docs: errors"


@rule(RECORDED)
def stream_is_not_cached(api: Api) -> None:
    """The head says `cache-control: no-cache`."""
    equal(api.stream().headers.get("cache-control"), "no-cache", "cache-control")


@rule(ERRORS)
def request_id_on_streams(api: Api) -> None:
    """Each stream has a `request-id` that begins with `req_`."""
    expect(re.fullmatch(r"req_\w{20,}", api.stream().headers.get("request-id", "")), "no request-id header")


@rule(ERRORS)
def request_ids_differ(api: Api) -> None:
    """Two requests have two request ids."""
    first, second = (api.stream(fresh=True).headers.get("request-id") for _ in range(2))
    expect(first != second, f"both are {first!r}")


@rule(RECORDED)
def organization_is_named(api: Api) -> None:
    """The head names the organization."""
    expect(api.stream().headers.get("anthropic-organization-id"), "no anthropic-organization-id header")


@rule(RECORDED)
def head_hardens_the_transport(api: Api) -> None:
    """The head has `strict-transport-security` and `x-robots-tag`."""
    headers = api.stream().headers
    expect("strict-transport-security" in headers and "x-robots-tag" in headers, "one of them is missing")


def limit_header(kind: str) -> None:
    """Register the check of one kind of limit."""

    def run(api: Api) -> None:
        headers = api.stream().headers
        told = [headers.get(f"anthropic-ratelimit-{kind}-{part}") for part in ("limit", "remaining", "reset")]
        expect(all(told), f"limit, remaining and reset are {told}")
        expect(int(told[0] or 0) >= int(told[1] or 0) >= 0, f"limit {told[0]}, remaining {told[1]}")

    rule(LIMITS, f"limit_headers_of_{kind}", f"The head tells limit, remaining and reset of {kind}.")(run)


for each in ("requests", "tokens", "input-tokens", "output-tokens"):
    limit_header(each)


@rule(LIMITS)
def limit_resets_are_dates(api: Api) -> None:
    """A reset is an RFC 3339 time in UTC, with a Z."""
    told = api.stream().headers.get("anthropic-ratelimit-requests-reset", "")
    expect(told.endswith("Z"), f"it is {told!r}")
    datetime.fromisoformat(told)


@rule(LIMITS)
def limit_of_tokens_is_the_sum(api: Api) -> None:
    """The limit of tokens is that of input and that of output together."""
    headers = api.stream().headers
    total, *parts = (
        int(headers.get(f"anthropic-ratelimit-{kind}-limit", -1))
        for kind in ("tokens", "input-tokens", "output-tokens")
    )
    equal(total, sum(parts), "the limit of tokens")
