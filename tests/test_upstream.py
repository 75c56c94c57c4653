"""The upstream: the SDK's request, the events in batches, and what every fault of the fake becomes."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest
from origin import CHUNKED, Origin, chunk, origin
from pydantic import SecretStr

from claude_lab import faults, incoming
from claude_lab.attempts import Attempts
from claude_lab.background import portal
from claude_lab.events import Unreadable
from claude_lab.fake import FakeClaude
from claude_lab.frames import STOP, frame
from claude_lab.incoming import body_of
from claude_lab.pacing import Pace
from claude_lab.replies import Voice
from claude_lab.retry import RetryPolicy
from claude_lab.retrying import Refused, Truncated
from claude_lab.scenario import Scenario
from claude_lab.settings import Settings
from claude_lab.spending import CeilingReached, Ledger, cost
from claude_lab.upstream import Batch, events, failure_of, make_client

MODEL = "claude-haiku-5-5"
ASK = {"model": MODEL, "max_tokens": 500, "messages": [{"role": "user", "content": "Hello"}]}
ANSWER = "One two three four five six seven eight nine ten; naïve 🌊."
PLAIN = Voice(ANSWER, thinking=False)
MANY = 120


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeClaude]:
    """One fake for the module."""
    with FakeClaude() as made:
        yield made


def batches(
    fake: FakeClaude, *script: faults.Fault, retries: int = 0, pace: Pace | str = "instant", **options: Any
) -> list[Batch]:
    """Ask a fake on its own loop, so that both take turns, and return the batches; raises what the stream raises."""
    fake.put(Scenario(faults=script, voice=PLAIN, pace=pace))
    fake.journal.clear()

    async def ask() -> list[Batch]:
        policy = RetryPolicy(max_retries=retries, base_delay=0.001)
        async with make_client(Settings(api_key=SecretStr("x"), base_url=fake.url)) as client:
            return [batch async for batch in events(client, ASK, Attempts(policy), **options)]

    return portal().run(ask())


def test_the_first_batch_holds_all_up_to_the_first_piece(fake: FakeClaude) -> None:
    """Whoever gets a batch has content: before that a failure can still be retried, or told as a status."""
    got = batches(fake, pace=Pace(0.0, 0.01, 0.0, 0.0))

    kinds = [event["type"] for event in got[0]]
    assert kinds[0] == "message_start"
    assert "content_block_delta" in kinds
    assert len(got) > 3
    assert got[-1][-1]["type"] == "message_stop"


def test_the_batches_hold_the_whole_answer(fake: FakeClaude) -> None:
    """No event is lost or comes twice."""
    got = [event for batch in batches(fake) for event in batch if event["type"] == "content_block_delta"]

    assert "".join(event["delta"]["text"] for event in got) == ANSWER


@pytest.mark.parametrize(
    ("fault", "kind", "mid_stream"),
    [
        (faults.RateLimited(), "rate_limit", False),
        (faults.Overloaded(), "overloaded", False),
        (faults.Unauthorized(), "auth_error", False),
        (faults.Drop(at="before headers"), "network_error", False),
        (faults.Drop(after=2), "network_error", True),
        (faults.Reset(after=2), "network_error", True),
        (faults.Truncate(after=2), "truncated", True),
        (faults.Empty(), "truncated", True),
        (faults.StreamError(after=2), "overloaded", True),
        (faults.Malformed(after=2), "server_error", True),
    ],
    ids=str,
)
def test_every_fault_has_its_kind(fake: FakeClaude, fault: faults.Fault, kind: str, mid_stream: bool) -> None:
    """What is raised is a failure of that kind, and nothing was asked twice."""
    with pytest.raises(Exception) as caught:
        batches(fake, fault, pace=Pace(0.0, 0.01, 0.0, 0.0))

    failure = failure_of(caught.value)
    assert (failure.kind, failure.mid_stream) == (kind, mid_stream)
    assert len(fake.journal) == 1


@pytest.mark.parametrize("gap", [0.0, 0.01])
def test_an_end_without_a_stop_reason_is_no_success(fake: FakeClaude, gap: float) -> None:
    """`message_stop` alone does not make an answer whole; in one read with all before, or after it."""
    message = {"id": "msg_1", "model": "claude-haiku-5-5", "usage": {"input_tokens": 1, "output_tokens": 1}}
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Half"}}
    told = [{"type": "message_start", "message": message}, text, {"type": "message_stop"}]
    chunks = tuple(f"data: {json.dumps(event)}\n\n".encode() for event in told)
    head = {"content-type": "text/event-stream"}

    with pytest.raises(Truncated, match="without a stop reason") as caught:
        batches(fake, faults.Raw(status=200, headers=head, chunks=chunks, gap=gap))

    assert failure_of(caught.value).mid_stream


@pytest.mark.parametrize(
    "fault", [faults.UnknownEvent(), faults.UnknownDelta(), faults.Comments(), faults.Bom(), faults.Page()], ids=str
)
def test_what_says_nothing_passes(fake: FakeClaude, fault: faults.Fault) -> None:
    """Events of types to come, comments, a byte order mark and lines that are no fields hurt nobody."""
    assert batches(fake, fault)[-1][-1]["type"] == "message_stop"


def test_attempts_are_counted_once_and_named(fake: FakeClaude) -> None:
    """Retries are the policy's alone: each is numbered, and all have the call's name."""
    batches(fake, faults.Overloaded(), faults.Drop(at="before headers"), faults.Empty(), retries=3)

    entries = fake.requests
    assert [entry.attempt for entry in entries] == [1, 2, 3, 4]
    assert len({entry.call for entry in entries}) == 1


def test_after_the_first_piece_nothing_is_retried(fake: FakeClaude) -> None:
    """A second try would repeat what somebody has read."""
    with pytest.raises(Exception) as caught:
        batches(fake, faults.Drop(after=3), retries=3, pace=Pace(0.0, 0.01, 0.0, 0.0))

    assert failure_of(caught.value).kind == "network_error"
    assert len(fake.journal) == 1


def test_what_comes_in_one_read_with_a_failure_is_not_lost() -> None:
    """Text that was received is text: the failure is raised behind it, once the answer has begun."""

    def event(kind: str, **fields: Any) -> bytes:
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), json.dumps({"type": kind, **fields}).encode())

    def delta(text: str) -> bytes:
        return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    async def script(origin: Origin, writer: asyncio.StreamWriter) -> None:
        begun = event("message_start", message={"usage": {"input_tokens": 1}}) + delta("one ")
        for data in (begun, delta("two ") + delta("three") + event("error", error={"type": "overloaded_error"})):
            writer.write((CHUNKED if data is begun else b"") + chunk(data))
            await writer.drain()
            await seen.wait()

    async def ask(url: str) -> None:
        async with make_client(Settings(api_key=SecretStr("x"), base_url=url)) as client:
            async for batch in events(client, ASK, Attempts(RetryPolicy(max_retries=0))):
                got.extend(event["delta"]["text"] for event in batch if "delta" in event)
                portal().loop.call_soon_threadsafe(seen.set)

    got: list[str] = []
    seen = asyncio.Event()
    with origin(script) as served, pytest.raises(Refused):
        asyncio.run(ask(served.url))

    assert got == ["one ", "two ", "three"]


def test_the_reader_behind_the_transport_is_found(fake: FakeClaude) -> None:
    """The body comes from aiohttp's own reader, not through the generators in front of it."""
    fake.put(Scenario(voice=PLAIN, pace="instant"))

    async def ask() -> Any:
        async with make_client(Settings(api_key=SecretStr("x"), base_url=fake.url)) as client:
            async with client.messages.with_streaming_response.create(**ASK, stream=True) as response:
                return body_of(response)

    assert isinstance(asyncio.run(ask()).func.__self__, aiohttp.StreamReader)


@pytest.mark.parametrize(("url", "trusts"), [("http://127.0.0.1:8001", False), ("https://gateway.example", True)])
def test_proxies_are_for_what_is_elsewhere(url: str, trusts: bool) -> None:
    """The environment's proxies may be the only way to the API; an upstream on this machine needs none."""
    client = make_client(Settings(api_key=SecretStr("x"), base_url=url))

    assert client._client.trust_env is trusts


def test_pings_do_not_count_as_content(fake: FakeClaude) -> None:
    """A stream kept awake by pings alone is given up in `idle_timeout` seconds."""
    with pytest.raises(TimeoutError, match=r"0\.2 seconds"):
        batches(fake, faults.Stall(after=1, seconds=5, pings=0.02), idle_timeout=0.2)


def scripted(script: Any, **options: Any) -> list[dict[str, Any]]:
    """Ask an upstream that plays `script` and return the events; raises what reading them raises."""

    async def ask(url: str) -> list[dict[str, Any]]:
        async with make_client(Settings(api_key=SecretStr("x"), base_url=url)) as client:
            attempts = Attempts(RetryPolicy(max_retries=0))
            return [event async for batch in events(client, ASK, attempts, **options) for event in batch]

    with origin(script) as served:
        return asyncio.run(ask(served.url))


BEGUN = frame({"type": "message_start", "message": {"model": MODEL, "usage": {"input_tokens": 1, "output_tokens": 1}}})
OPENED = frame({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
WORD = frame({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}})
ENDED = frame({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}) + STOP


@pytest.mark.parametrize("first", [BEGUN, BEGUN + OPENED + WORD], ids=["before content", "after it"])
def test_an_upstream_without_a_word_of_an_answer_is_given_up(first: bytes) -> None:
    """Events that say nothing are bounded like an answer: what is held does not grow with what is sent."""
    sent = 0

    async def flood(origin: Origin, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(CHUNKED + chunk(first))
        while sent < 50_000_000:
            writer.write(chunk(OPENED * 1000))
            sent += len(OPENED) * 1000
            await writer.drain()

    with pytest.raises(Unreadable, match="without a word of an answer") as caught:
        scripted(flood, most_bytes=300_000)

    assert failure_of(caught.value).kind == "server_error"
    assert sent < 50_000_000


@pytest.mark.parametrize("event", [{"type": "brand_new"}, {"type": "ping"}, json.loads(OPENED.split(b"data: ")[1])])
def test_only_content_renews_the_patience(event: dict[str, Any]) -> None:
    """Events of no or of any unknown meaning keep no stream open."""

    async def murmur(origin: Origin, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(BEGUN + OPENED + WORD))
        for _ in range(200):
            writer.write(chunk(frame(event)))
            await writer.drain()
            await asyncio.sleep(0.02)

    with pytest.raises(TimeoutError, match=r"0\.2 seconds"):
        scripted(murmur, idle_timeout=0.2)


def test_a_whole_answer_waits_for_no_end_of_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream that neither ends the body nor closes after `message_stop` is left."""
    monkeypatch.setattr(incoming, "NEAR", 0.05)

    async def linger(origin: Origin, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(BEGUN + OPENED + WORD + ENDED))
        await writer.drain()
        await asyncio.to_thread(origin.left.wait, 5)
        left.append(origin.left.is_set())
        over.set()

    left: list[bool] = []
    over = threading.Event()
    got = scripted(linger, idle_timeout=30.0)
    over.wait(5)

    assert [event["type"] for event in got][-1] == "message_stop"
    assert left == [True]


PACKED = CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
MOVED = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (MOVED, "The upstream redirects"),
        (PACKED + chunk(BEGUN + WORD), "decompress"),
        (CHUNKED + chunk(BEGUN + b"data: " + b"[" * 100_000 + b"\n\n"), "nested too deep"),
        (CHUNKED + chunk(b"data: " + b"x" * 2_000_000), "without a word"),
    ],
    ids=["redirect", "broken gzip", "deep JSON", "endless event"],
)
def test_what_nobody_can_read_is_an_error_of_the_upstream(answer: bytes, said: str) -> None:
    """A bad gateway with a sentence, and not an unknown error of ours."""

    async def play(origin: Origin, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    with pytest.raises(Exception) as caught:
        scripted(play)

    failure = failure_of(caught.value)
    assert failure.kind == "server_error"
    assert said in failure.message


def test_a_head_that_does_not_come_is_given_up(fake: FakeClaude) -> None:
    """Before there is anything to read the same patience counts."""
    with pytest.raises(TimeoutError, match=r"No answer came for 0\.2 seconds") as caught:
        batches(fake, faults.Hang(at="before headers"), idle_timeout=0.2)

    assert failure_of(caught.value).kind == "timeout"


def test_more_streams_are_open_at_once_than_a_pool_usually_holds(fake: FakeClaude) -> None:
    """The hundred and first stream does not wait for another to end: none ends before all have begun."""
    fake.put(Scenario(voice=PLAIN, pace=Pace(0.0, 30.0, 0.0, 0.0)))
    fake.journal.clear()

    async def first(client: Any) -> None:
        begun = events(client, ASK, Attempts(RetryPolicy()))
        async with aclosing(begun):
            await anext(begun)
            waiting.release()
            await over.wait()

    async def ask() -> None:
        async with make_client(Settings(api_key=SecretStr("x"), base_url=fake.url)) as client:
            tasks = [asyncio.create_task(first(client)) for _ in range(MANY)]
            async with asyncio.timeout(20):
                for _ in range(MANY):
                    await waiting.acquire()
            over.set()
            await asyncio.gather(*tasks)

    waiting, over = asyncio.Semaphore(0), asyncio.Event()
    asyncio.run(ask())

    assert len(fake.journal) == MANY


def test_half_a_surrogate_pair_is_read_as_the_standard_parser_reads_it(fake: FakeClaude) -> None:
    """JSON allows it; a strict parser must not cost the answer."""
    start = {"type": "message_start", "message": {"model": MODEL, "usage": {"input_tokens": 1, "output_tokens": 1}}}
    lone = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
    lone += b'{"type":"text_delta","text":"\\ud83d"}}\n\n'
    end = frame({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}})
    chunks = (frame(start), lone, end, STOP)
    got = batches(fake, faults.Raw(chunks=chunks, headers={"content-type": "text/event-stream"}))

    texts = [event["delta"]["text"] for batch in got for event in batch if event["type"] == "content_block_delta"]
    assert texts == ["\ud83d"]


def test_a_whole_answer_costs_its_usage_and_a_refused_one_nothing(fake: FakeClaude) -> None:
    """The reservation of each attempt is settled by what is known of it."""
    ledger = Ledger(1.0)

    got = batches(fake, faults.Overloaded(), retries=1, ledger=ledger)

    usage = got[0][0]["message"]["usage"] | got[-1][-2]["usage"]
    assert ledger.spent == pytest.approx(cost(MODEL, usage))


@pytest.mark.parametrize(
    "fault", [faults.Drop(at="before headers"), faults.Drop(after=3), faults.Truncate(after=3)], ids=str
)
def test_what_is_not_known_stays_reserved(fake: FakeClaude, fault: faults.Fault) -> None:
    """What broke before its usage was final may have cost the most: the count in `message_start` is none."""
    ledger = Ledger(1.0)
    worst = Ledger(1.0).reserve(ASK)

    with pytest.raises(Exception) as caught:
        batches(fake, fault, ledger=ledger, pace=Pace(0.0, 0.01, 0.0, 0.0))

    assert failure_of(caught.value).kind in ("network_error", "truncated")
    assert ledger.spent == pytest.approx(worst)


def test_leaving_early_does_not_get_around_the_ceiling(fake: FakeClaude) -> None:
    """A reader that leaves after the first batch keeps the whole reservation on the account."""
    ledger, worst = Ledger(1.0), Ledger(1.0).reserve(ASK)
    fake.put(Scenario(voice=PLAIN, pace=Pace(0.0, 0.05, 0.0, 0.0)))

    async def ask() -> None:
        async with make_client(Settings(api_key=SecretStr("x"), base_url=fake.url)) as client:
            async with aclosing(events(client, ASK, Attempts(RetryPolicy()), ledger=ledger)) as got:
                await anext(got)

    asyncio.run(ask())
    assert ledger.spent == pytest.approx(worst)


def test_the_ceiling_stops_each_attempt_before_it_is_sent(fake: FakeClaude) -> None:
    """Nothing is asked that could pass it, neither at first nor on a retry."""
    with pytest.raises(CeilingReached):
        batches(fake, ledger=Ledger(1e-9))
    assert len(fake.journal) == 0

    worst = Ledger(1.0).reserve(ASK)
    with pytest.raises(CeilingReached):
        batches(fake, faults.Drop(at="before headers"), retries=3, ledger=Ledger(worst * 1.5))
    assert len(fake.journal) == 1


def test_whoever_takes_a_batch_may_keep_it_for_longer_than_the_patience(fake: FakeClaude) -> None:
    """The patience is with the upstream alone: what it has sent meanwhile is there, and nobody is interrupted."""
    fake.put(Scenario(voice=PLAIN, pace="instant"))

    async def slowly() -> list[dict[str, Any]]:
        came = []
        async with make_client(Settings(api_key=SecretStr("x"), base_url=fake.url)) as client:
            async for batch in events(client, ASK, Attempts(RetryPolicy()), idle_timeout=0.05):
                await asyncio.sleep(0.12)
                came += batch
        return came

    assert asyncio.run(slowly())[-1]["type"] == "message_stop"
