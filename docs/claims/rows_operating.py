"""The article's sentences of steps 3 and 4, in its order."""

from __future__ import annotations

from claims import errors, listings, loops, project, proxies, streaming
from claims.claim import Claim

LESSON_2 = "[lesson 2](../notebooks/02_retry_experiments.ipynb)"
LESSON_3 = "[lesson 3](../notebooks/03_nginx_buffering.ipynb)"
POLICY = "`claude_lab.retry.classify`"

ERRORS = [
    Claim(
        "Each error type calls for a different response:",
        errors.two_kinds_of_429,
        lambda seen: seen.spend_limit_requests == seen.ours_requests,
        "Two 429s of the same class, RateLimitError: a passing one was {passing}; one for a spend limit cost the"
        " article's loop {spend_limit_requests} requests, ours {ours_requests}.",
        f"Go by status, `error_code` and `x-should-retry`: {POLICY}.",
        when=("you look below the SDK's class", lambda seen: seen.ours_requests == 1),
    ),
    Claim(
        "RateLimitError | rate_limit | Retry with exponential backoff",
        errors.two_kinds_of_429,
        lambda seen: seen.passing == "answered" and seen.spend_limit == "answered",
        "A passing 429: {passing}; a spend limit's: `{spend_limit}` after {spend_limit_requests} requests.",
        f"Never retry a spend limit: {POLICY}.",
        when=("no spend limit is behind the 429", lambda seen: seen.passing == "answered"),
    ),
    Claim(
        "AuthenticationError | auth_error | Fail immediately, check API key",
        errors.refused_for_good,
        lambda seen: set(seen.requests) == {1},
        "Requests for a 401 and a 400: {requests}; they ended with {ended}.",
        f"The same: {POLICY}.",
    ),
    Claim(
        "BadRequestError | token_limit | Fail immediately, shorten message",
        errors.bad_requests,
        lambda seen: seen.shortened == seen.raised,
        "Of {raised} kinds of BadRequestError a shorter message cured {shortened}; of {said_too_long} it was said that"
        " the prompt is too long. A body too large is {size_status}, which the SDK raises as {size_error}.",
        "Show the API's own words, for they say which it is; shorten there, and at 413.",
        when=("its words are that the prompt is too long", lambda seen: 0 < seen.both == seen.shortened),
    ),
    Claim(
        "APIConnectionError | network_error | Retry with limits",
        errors.drops,
        lambda seen: seen.early == seen.late == "answered",
        "Dropped once before the head, the call was {early} after {early_requests} requests; dropped once in mid-answer"
        " it ended with {late} after {late_requests}, for the loop does not know that error.",
        "Retry before the first text, then tell: `claude_lab.retrying.stream_with_retry`.",
        when=("the answer has not begun", lambda seen: seen.early == "answered"),
    ),
    Claim(
        "Other | unknown | Fail immediately, log the event",
        errors.other_errors,
        lambda seen: seen.article == seen.ours,
        "Statuses {statuses}, once each before an answer: the article's loop survived {article}; ours, which goes by"
        " the API's documentation, {ours}.",
        f"Retry 408, 409, 429 and every 5xx, 529 among them: {POLICY}.",
        when=(
            "the status is none of 408, 409 and 5xx",
            lambda seen: seen.left_alone and all(each in (408, 409) or each >= 500 for each in seen.ours),
        ),
    ),
    Claim(
        "An exponential backoff function that only retries rate limits and network errors:",
        loops.loop_and_client,
        lambda seen: seen.overloaded == 1,
        "Around a client with its default of {default} retries: {overloaded} requests for a 529, {limited} for a 429;"
        " around one without any: {bare_final} for a 529, a 500 and a 403, {bare_limited} for a 429, {bare_dropped}"
        " for a dropped connection.",
        "`max_retries=0` on the client wherever a policy is in charge.",
        when=(
            "the client was made with max_retries=0",
            lambda seen: set(seen.bare_final) == {1} and min(seen.bare_limited, seen.bare_dropped) > 1,
        ),
    ),
    Claim(
        "MAX_RETRIES = 3",
        listings.max_retries,
        lambda seen: seen.retries == seen.constant,
        "Refused for good, the loop with {constant} makes {requests} requests: {retries} of them are retries.",
        "`max_retries` counts retries, as the SDK's does; `RETRY_UNIT=attempts` counts as the article.",
        when=("you read it as attempts", lambda seen: seen.requests == seen.constant),
    ),
    Claim(
        "return await fn(*args, **kwargs)",
        loops.around_a_stream,
        lambda seen: seen.error == "none",
        "Given the SDK's `messages.stream` it raises `{error}`, after {requests} requests: it cannot protect the"
        " article's own endpoint. Given `messages.create` it raises: {whole}.",
        "`claude_lab.retrying.stream_with_retry`.",
        when=("fn is no stream", lambda seen: seen.whole == "none"),
    ),
    Claim(
        "raise # No point retrying these — propagate immediately",
        errors.refused_for_good,
        lambda seen: set(seen.requests) == {1},
        "Requests for a 401 and a 400: {requests}.",
        "The same.",
    ),
    Claim(
        "When I tested this pattern locally — simulating a flaky API that fails twice before succeeding — the result"
        " was Result: success (after 3 attempts).",
        loops.flaky,
        lambda seen: seen.ended == "answered" and seen.attempts == 3,
        "The call was {ended} after {attempts} attempts.",
        f"The same trial with a third failure: {LESSON_2}.",
    ),
    Claim(
        "The backoff worked as expected.",
        loops.flaky,
        lambda seen: seen.waits == (1.0, 2.0),
        "Waits of {waits} virtual seconds.",
        'Add jitter, or a crowd of clients comes back in step: `RetryPolicy(jitter="full")`.',
    ),
    Claim(
        "Rate limits differ per Anthropic plan,",
        loops.two_plans,
        lambda seen: None if len(set(seen.served)) > 1 else False,
        "That plans differ is documented, not measured. Where they do it matters: with limits of {limits} requests a"
        " minute the article's loop serves {served} % of 60 calls a minute.",
        "Read your own limits from the headers: `Scenario.from_headers`.",
        beyond="accounts on two plans",
    ),
    Claim(
        "and if your retry interval is too short, you'll hit the same rate limit again.",
        loops.interval,
        lambda seen: seen.short == "RateLimitError" and seen.long == "answered",
        "One request every {seconds_between} s: a base of 0.1 s ended with {short}, a base of 5 s was {long}.",
        "Obey `retry-after`: `RetryPolicy`.",
    ),
    Claim(
        "I'd recommend externalizing these values as environment variables based on your API plan.",
        loops.from_environment,
        lambda seen: (seen.requests, seen.wait) == (6, 2.5),
        "Set to 6 and 2.5, and every request refused: the listing as printed makes {requests} requests and waits {wait}"
        " s at first; with its constants read from the environment {changed_requests} and {changed_wait}.",
        "Let an experiment choose them: `sweep(...).recommend(...).to_env()`, [sweeps](sweeps.md); our server reads"
        " them.",
        when=(
            "the loop reads them from there, which the article's does not",
            lambda seen: (seen.changed_requests, seen.changed_wait) == (6, 2.5),
        ),
    ),
]

DEPLOYMENT = [
    Claim(
        "In container environments like Kubernetes or ECS, a health check endpoint is non-negotiable:",
        streaming.readers,
        lambda seen: not seen.sync_health,
        "What a probe would see: during a stream of the first listing /health answered: {sync_health}; of the async"
        " one: {async_health}.",
        "`/health/live` and `/health/ready` of our server.",
        beyond="a cluster",
    ),
    Claim(
        "For K8s readiness / liveness probes",
        streaming.readers,
        lambda seen: seen.sync_health,
        "/health answered during a stream: sync client {sync_health}, async client {async_health}.",
        "The async client: a blocked loop answers no probe, and the pod is killed in mid-answer.",
        when=("the client is async", lambda seen: seen.async_health),
    ),
    Claim(
        "COPY requirements.txt .",
        project.image,
        lambda seen: not seen.missing,
        "The Dockerfile copies {copied} by name; not in the article's tree: {missing}; once that is written, missing:"
        " {missing_once_written}.",
        "List the four packages of the article's `pip install` in it.",
        when=("you write that file, which the article's tree lacks", lambda seen: not seen.missing_once_written),
    ),
    Claim(
        "For Nginx reverse proxy, you must disable buffering to let SSE flow properly:",
        proxies.cures,
        lambda seen: len(seen.neither) == seen.roads,
        "Of {roads} roads these hold a stream while nginx buffers: {neither}; with the line alone {line_alone}, with"
        " the app's header alone {header_alone}.",
        f"The line or the header, one is enough for one hop: {LESSON_3}, `claude-lab lint`.",
        when=(
            "the app does not send X-Accel-Buffering: no, and the road is {neither}",
            lambda seen: seen.neither and not seen.header_alone,
        ),
    ),
    Claim(
        "proxy_buffering off; # Critical: disable SSE buffering",
        proxies.cures,
        lambda seen: set(seen.header_alone) - set(seen.both),
        "Of {roads} roads through the article's whole system these hold a stream: {both}; without the line"
        " {header_alone}; without the header too {neither}.",
        "Keep it for the day when a hop takes the header away, and `proxy_http_version 1.1` with it.",
        when=(
            "the app sends no header, and the road is {neither}",
            lambda seen: seen.neither and not seen.line_alone,
        ),
    ),
    Claim(
        "proxy_read_timeout 300s; # Allow long streaming sessions",
        proxies.read_timeout,
        lambda seen: seen.steady_lost_bytes > 0,
        "A stream longer than the timeout ({longer_than_timeout}) with short gaps lost {steady_lost_bytes} bytes; one"
        " with a pause beyond it lost {paused_lost_bytes}.",
        "The timeout counts one pause, not the session: a heartbeat every 15 s (`HEARTBEAT`).",
        when=("you mean long pauses, not the session", lambda seen: seen.paused_lost_bytes > 0),
    ),
    Claim(
        "Leaving out proxy_buffering off means Nginx collects the entire stream in its buffer and sends it all at"
        " once.",
        proxies.collected,
        lambda seen: not seen.streams and len(seen.long_at_once) == seen.roads,
        "Over plain HTTP, through nginx with the article's other lines, events came one by one {streams}. Predicted"
        " without the header, one burst for 5.6 KB: {at_once}; for 113 KB: {long_at_once}.",
        f"Send the header, or keep the line: {LESSON_3}.",
        when=(
            "the app sends no header, and the road is {at_once}, with gzip however long the answer",
            lambda seen: "gzip" in seen.long_at_once,
        ),
    ),
    Claim(
        "That's not streaming — it's just a slow response.",
        proxies.stairs,
        lambda seen: seen.short_bursts == seen.long_bursts == 1,
        "With nginx 1.22's own defaults bursts for {short_bytes} bytes: {short_bursts}; for {long_bytes} bytes:"
        " {long_bursts}, of {steps} bytes.",
        "`claude-lab doctor URL` names the hop that holds and the cure.",
        when=("the answer is no longer than nginx's buffer", lambda seen: seen.short_bursts == 1),
    ),
    Claim(
        "This is a mistake nearly everyone makes the first time they put SSE behind Nginx.",
        proxies.by_default,
        lambda seen: not seen.streams,
        "Without any line about it {held} holds a stream, {streams} do not.",
        "`claude-lab lint nginx.conf` in CI.",
        when=("the proxy is {held}", lambda seen: bool(seen.held)),
        beyond="a count of people",
    ),
]
