"""Retries around the real SDK, against the fake, in virtual time."""

import json
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from sdk_rows import below

from claude_lab import clock, faults
from claude_lab.clock import run_virtual
from claude_lab.events import TooLong, Unreadable
from claude_lab.failure import Failure, classify, retry_after_of
from claude_lab.fake import FakeClaude
from claude_lab.frames import STOP, frame
from claude_lab.limits import Limits
from claude_lab.retry import RetryPolicy
from claude_lab.retrying import (
    RetryMiddleware,
    StreamInterrupted,
    Truncated,
    call_with_retry,
    failure_of,
    stream_with_retry,
)
from claude_lab.scenario import Scenario
from claude_lab.sse import EventTooLarge
from claude_lab.transport import StreamingASGI

ASK: dict[str, Any] = {
    "model": "claude-haiku-5-5",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}
POLICY = RetryPolicy(max_retries=4, base_delay=1, jitter="none")
CLIENT = anthropic.Anthropic(api_key="sk-lab")
DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


def client_of(fake: FakeClaude, **options: Any) -> anthropic.AsyncAnthropic:
    """The real client, answered by the fake's app in memory."""
    http = httpx2.AsyncClient(transport=StreamingASGI(fake.app))
    settings = {"max_retries": 0, **options}
    return anthropic.AsyncAnthropic(api_key="sk-lab", base_url="http://127.0.0.1", http_client=http, **settings)


def fake_of(*script: Any, **options: Any) -> FakeClaude:
    """A fake that answers at once, after a script."""
    return FakeClaude(Scenario(script, pace="instant", **options))


def test_a_call_is_retried_and_counted_once():
    """Two refusals, three attempts, the waits of the policy; the SDK's own retries are off."""
    fake, told = fake_of(faults.Overloaded(), faults.ServerError()), []

    async def main() -> tuple[str, float]:
        client = client_of(fake)
        message = await call_with_retry(lambda: client.messages.create(**ASK), POLICY, watch=told.append)
        return message.stop_reason, clock.now()

    reason, took = run_virtual(main())

    assert reason in ("end_turn", "max_tokens")
    assert (len(fake.requests), took) == (3, 3.0)
    assert [each.failure.kind for each in told[:2]] == ["overloaded", "server_error"]


def test_retry_after_is_obeyed_from_the_header():
    """The server asks for seven seconds; the policy's own second lies below."""
    fake = fake_of(faults.RateLimited(retry_after=7))

    async def main() -> float:
        client = client_of(fake)
        await call_with_retry(lambda: client.messages.create(**ASK), POLICY)
        return clock.now()

    assert run_virtual(main()) == 7.0


def test_a_spend_limit_fails_at_once():
    """The SDK would try three times, or sleep for a day when told to."""
    fake = fake_of(faults.SpendLimited(retry_after=86_400))

    async def main() -> None:
        client = client_of(fake)
        await call_with_retry(lambda: client.messages.create(**ASK), POLICY)

    with pytest.raises(anthropic.RateLimitError):
        run_virtual(main())
    assert len(fake.requests) == 1


@pytest.mark.parametrize("fault", [
    faults.Overloaded(),
    faults.Drop(at="before headers"),
    faults.Reset(at="after headers"),
    faults.StreamError(after=0),
    faults.Drop(after=0),
    faults.Truncate(after=0),
])  # fmt: skip
def test_a_stream_is_retried_until_its_first_text(fault: faults.Fault):
    """Refused, dropped, or broken in-stream with status 200: the reader sees one whole answer."""
    fake = fake_of(fault, answer="one two three four five six")

    async def main() -> str:
        return "".join([text async for text in stream_with_retry(client_of(fake), POLICY, **ASK)])

    assert run_virtual(main()) == "one two three four five six"
    assert len(fake.requests) == 2
    assert [entry.attempt for entry in fake.requests] == [1, 2]


def test_a_streams_attempts_are_the_policys_alone():
    """The client's own retries are switched off for the stream: two retries are three requests, not nine."""
    fake = fake_of(*[faults.Overloaded()] * 20)

    async def main() -> None:
        async for _ in stream_with_retry(client_of(fake, max_retries=2), RetryPolicy(), **ASK):
            pass

    with pytest.raises(anthropic.OverloadedError):
        run_virtual(main())
    assert len(fake.requests) == 3


USAGE = {"input_tokens": 1, "output_tokens": 1}
NO_REASON = faults.Raw(
    headers={"content-type": "text/event-stream"},
    chunks=(
        frame({"type": "message_start", "message": {"id": "msg_1", "model": "claude-haiku-5-5", "usage": USAGE}}),
        frame({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        frame({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one two"}}),
        STOP,
    ),
)


@pytest.mark.parametrize(("fault", "kind"), [
    (faults.StreamError(after=2), "overloaded"),
    (faults.Drop(after=2), "network_error"),
    (faults.Truncate(after=2), "truncated"),
    (NO_REASON, "truncated"),
])  # fmt: skip
def test_after_the_first_text_the_partial_answer_is_kept(fault: faults.Fault, kind: str):
    """Nothing is retried and nothing is lost: the error carries what came, and says what happened."""
    fake = fake_of(fault, answer="one two three four five six seven eight nine ten")

    async def main() -> None:
        async for _ in stream_with_retry(client_of(fake), POLICY, **ASK):
            pass

    with pytest.raises(StreamInterrupted) as caught:
        run_virtual(main())

    assert caught.value.partial
    assert "one two three four five six seven eight nine ten".startswith(caught.value.partial)
    assert caught.value.failure.kind == kind
    assert len(fake.requests) == 1


def test_the_middleware_retries_every_endpoint():
    """No call site changes: messages, streams and token counts are retried by one policy."""
    fake = fake_of(faults.Overloaded(), faults.ok, faults.RateLimited(retry_after=2))

    async def main() -> str:
        client = RetryMiddleware(POLICY).on(client_of(fake, max_retries=2))
        await client.messages.create(**ASK)
        async with client.messages.stream(**ASK) as stream:
            return await stream.get_final_text()

    assert run_virtual(main())
    assert [(entry.attempt, entry.status) for entry in fake.requests] == [(1, 529), (2, 200), (1, 429), (2, 200)]


def test_the_middleware_hands_on_the_last_error():
    """When the policy gives up the caller gets the SDK's own typed error."""
    fake = fake_of(*[faults.Overloaded()] * 9)

    async def main() -> None:
        client = client_of(fake, middleware=[RetryMiddleware(POLICY)])
        await client.messages.create(**ASK)

    with pytest.raises(anthropic.OverloadedError):
        run_virtual(main())
    assert len(fake.requests) == POLICY.max_attempts == 5


def test_what_is_no_policy_is_named():
    """Where it is given, not at the first request."""
    with pytest.raises(TypeError, match="policy=5 is not a RetryPolicy; use"):
        RetryMiddleware(5)


def test_hidden_retries_are_warned_of():
    """The SDK's own retries, left on, multiply: the warning says what to pass."""
    fake = fake_of(*[faults.Overloaded()] * 9)

    async def main() -> None:
        client = client_of(fake, max_retries=1, middleware=[RetryMiddleware(RetryPolicy(max_retries=1))])
        with pytest.raises(anthropic.OverloadedError):
            await client.messages.create(**ASK)

    with pytest.warns(UserWarning, match="max_retries=0"):
        run_virtual(main())
    assert len(fake.requests) == 4


def test_the_middleware_works_in_a_blocking_client():
    """The same policy, slept by the thread."""
    scenario = Scenario([faults.Overloaded()], pace="instant")

    with FakeClaude(scenario) as fake:
        middleware = RetryMiddleware(RetryPolicy(base_delay=0.001))
        client = anthropic.Anthropic(api_key="sk-lab", base_url=fake.url, max_retries=0, middleware=[middleware])
        assert client.messages.create(**ASK).content
        client.close()

    assert [entry.attempt for entry in fake.requests] == [1, 2]


def test_a_limit_is_waited_out_by_its_own_word():
    """Five calls at two a minute's burst: the middleware gets all through with few attempts too many."""
    fake = FakeClaude(Scenario(pace="instant", limits=Limits(60, None, None, burst=2 / 60, retry_after="reservation")))

    async def main() -> list[str]:
        import asyncio

        client = RetryMiddleware(RetryPolicy(max_retries=5, base_delay=0)).on(client_of(fake))
        calls = (client.messages.create(**ASK, extra_headers={"x-n": str(n)}) for n in range(5))
        return [message.stop_reason for message in await asyncio.gather(*calls)]

    assert len(run_virtual(main())) == 5
    assert len(fake.requests) == 8


@pytest.mark.parametrize(("headers", "seconds"), [
    ({"retry-after": "7"}, 7.0),
    ({"retry-after": "0.5"}, 0.5),
    ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
    ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": DATE}, 30.0),
    ({"retry-after": DATE, "date": DATE}, None),
    ({"retry-after": DATE}, None),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "0"}, None),
    ({"retry-after": "-3"}, None),
    ({"retry-after-ms": "nan"}, None),
    ({}, None),
])  # fmt: skip
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None):
    """Milliseconds first, then seconds, then a date against the response's own; what is past or junk is nothing."""
    assert retry_after_of(headers) == seconds


@pytest.mark.parametrize(("error", "expected"), [
    (httpx2.ReadTimeout("slow"), Failure("timeout", "slow", mid_stream=True)),
    (httpx2.ReadError("reset"), Failure("network_error", "reset", mid_stream=True)),
    (httpx2.RemoteProtocolError("cut"), Failure("network_error", "cut", mid_stream=True)),
    (Truncated("cut"), Failure("truncated", "cut", mid_stream=True)),
    (TimeoutError("late"), Failure("timeout", "late")),
    (anthropic.RetryableError("again"), Failure("unknown", "again", should_retry=True)),
    (json.JSONDecodeError("bad", "{", 0), Failure("server_error", "bad: line 1 column 1 (char 0)", mid_stream=True)),
    (httpx2.DecodingError("no gzip"), Failure("server_error", "no gzip", mid_stream=True)),
    (Unreadable("what"), Failure("server_error", "what", mid_stream=True)),
    (EventTooLarge("more"), Failure("server_error", "more", mid_stream=True)),
    (TooLong("much"), Failure("token_limit", "much", mid_stream=True)),
    (KeyError("mine"), Failure("unknown", "'mine'")),
])  # fmt: skip
def test_each_error_has_its_kind(error: BaseException, expected: Failure):
    """Bare transport errors come from a stream that had begun; unknown errors are nobody's to retry."""
    assert failure_of(error) == expected


@pytest.mark.parametrize("kind", below(httpx2.RequestError), ids=lambda kind: kind.__name__)
def test_every_error_of_the_transport_is_known(kind: type[Exception]):
    """A class that the transport gains must be judged: none is unknown, which nobody could act upon."""
    assert failure_of(kind("why")).kind in ("timeout", "network_error", "server_error")


def test_connection_errors_before_the_head_are_transient():
    """The SDK wraps them; a timeout is one of them."""
    request = httpx2.Request("POST", "http://127.0.0.1")

    assert failure_of(anthropic.APITimeoutError(request)).kind == "timeout"
    assert failure_of(anthropic.APIConnectionError(request=request)).kind == "network_error"
    assert not failure_of(anthropic.APITimeoutError(request)).mid_stream


@pytest.mark.parametrize("line", (Path(__file__).parent / "sdk_errors.txt").read_text().splitlines())
def test_every_status_error_is_judged_as_its_row_says(line: str):
    """From the response, by the SDK's exception, to the verdict: each class by its own status and code."""
    _, status, code, kind, verdict = line.split()
    details = {} if code == "-" else {"details": {"error_code": code}}
    response = httpx2.Response(
        int(status), json={"error": {"message": "no", **details}}, request=httpx2.Request("POST", "http://127.0.0.1")
    )

    failure = failure_of(CLIENT._make_status_error_from_response(response))

    assert (failure.kind, failure.status) == (kind, int(status))
    assert classify(failure).retryable == (verdict == "retry")
