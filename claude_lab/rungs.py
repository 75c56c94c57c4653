"""The rungs of the ladder that have the real SDK on them: an unmodified AsyncAnthropic, and who answers it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from anthropic import APIConnectionError, APIStatusError, AsyncAnthropic
from httpx2 import TransportError

from claude_lab import clock, tokens
from claude_lab.background import TransportProtocol, serve
from claude_lab.callers import Ask, AttemptFailed, asked
from claude_lab.fake import FakeClaude
from claude_lab.faults import Break, StreamError
from claude_lab.frames import dump, frames
from claude_lab.messages import Reply, Text, Usage, error_body
from claude_lab.model import traffic_of
from claude_lab.plan import call_name
from claude_lab.retrying import Truncated, failure_of
from claude_lab.scenario import Scenario
from claude_lab.transport import Answer, PlayedTransport, StreamingASGI

EVENT_STREAM = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
HERE = "http://127.0.0.1"
UNTIL_TOO_LONG = httpx2.Timeout(3600.0)


def text_of(count: int) -> str:
    """Return a text of exactly so many tokens."""
    return " ".join(["word"] * count)


def body_of(scenario: Scenario) -> dict[str, Any]:
    """Return the request with as many tokens as the traffic says. Raises ValueError for fewer than its frame has."""
    traffic = traffic_of(scenario)
    body: dict[str, Any] = {
        "model": "claude-haiku-5-5",
        "max_tokens": traffic.output_tokens,
        "thinking": {"type": "disabled"},
        "messages": [{"role": "user", "content": "word"}],
    }
    more = traffic.input_tokens - tokens.count_request(body)
    if more < 0:
        raise ValueError(f"input_tokens={traffic.input_tokens!r} is less than a message's frame; give {-more} more.")
    body["messages"][0]["content"] = text_of(1 + more)
    return body


def of_client(client: AsyncAnthropic, scenario: Scenario) -> Ask:
    """Return how to ask with a client: one streamed request an attempt, read to its end."""
    body = body_of(scenario)

    async def ask(index: int, attempt: int) -> AsyncGenerator[None, None]:
        headers = {"x-claude-lab-call": call_name(index), "x-claude-lab-attempt": str(attempt)}
        started = ended = False
        try:
            async with await client.messages.create(**body, stream=True, extra_headers=headers) as stream:
                async for event in stream:
                    if not started and event.type == "content_block_delta":
                        started = True
                        yield
                    ended = event.type == "message_stop"
            if not ended:
                raise Truncated("The stream ended without message_stop.")
        except (APIStatusError, APIConnectionError, TransportError, Truncated) as error:
            raise AttemptFailed(failure_of(error)) from error

    return ask


@asynccontextmanager
async def client_over(transport: httpx2.AsyncBaseTransport, scenario: Scenario, url: str = HERE) -> AsyncIterator[Ask]:
    """Ask with an unmodified AsyncAnthropic whose own retries are off."""
    http = httpx2.AsyncClient(transport=transport, timeout=UNTIL_TOO_LONG)
    async with AsyncAnthropic(
        api_key="sk-lab", base_url=url, max_retries=0, timeout=UNTIL_TOO_LONG, http_client=http
    ) as client:
        yield of_client(client, scenario)


def canned(deltas: int) -> tuple[bytes, bytes, bytes]:
    """Return the bytes of an answer: up to and with its first delta, one more delta, and the closing."""
    pieces = tuple(["word "] * deltas)
    made = [each.data for each in frames(Reply("msg_01", "claude-haiku-5-5", (Text(pieces),), Usage(1, deltas)))]
    first = next(place for place, data in enumerate(made) if b"text_delta" in data)
    return b"".join(made[: first + 1]), made[first], b"".join(made[first + deltas :])


def played(scenario: Scenario) -> Callable[[httpx2.Request], Answer]:
    """Return what answers a request with the world's decision, in as few deltas as it takes."""
    world = scenario.world(began=0.0)
    opening, delta, closing = canned(1)

    def play(request: httpx2.Request) -> Answer:
        index = int(request.headers["x-claude-lab-call"].removeprefix("call-"))
        decision = world.admit(clock.now(), asked(scenario, index, int(request.headers["x-claude-lab-attempt"])))
        if (refusal := decision.refusal) is not None:
            body = error_body(refusal.error_type, refusal.message, error_code=refusal.error_code)
            return Answer(refusal.status, {**JSON, **refusal.headers}, [(0.0, dump(body).encode())])
        if not isinstance(decision.fault, Break):
            return Answer(200, EVENT_STREAM, [(decision.ttft, opening + closing)])
        steps = [(decision.ttft, opening), *((gap, delta) for gap in decision.gaps(decision.fault.after - 1))]
        return broken(decision.fault, steps)

    return play


def broken(fault: Break, steps: list[tuple[float, bytes]]) -> Answer:
    """Return an answer that ends as the fault says."""
    if isinstance(fault, StreamError):
        said = f"event: error\ndata: {dump(error_body(fault.type, fault.message))}\n\n".encode()
        return Answer(200, EVENT_STREAM, [*steps, (0.0, said)])
    ends = {"Drop": "fin", "Reset": "rst"}
    return Answer(200, EVENT_STREAM, steps, end=ends.get(type(fault).__name__, "complete"))


@asynccontextmanager
async def over_world(scenario: Scenario) -> AsyncIterator[Ask]:
    """Let the world answer the SDK in memory."""
    async with client_over(PlayedTransport(played(scenario)), scenario) as ask:
        yield ask


def fake_of(scenario: Scenario, began: float) -> FakeClaude:
    """Return the fake with answers as long as the traffic says; its outages count from `began`."""
    answering = replace(scenario, answer=text_of(traffic_of(scenario).output_tokens))
    fake = FakeClaude(answering)
    fake.world.began = began
    return fake


@asynccontextmanager
async def over_app(scenario: Scenario) -> AsyncIterator[Ask]:
    """Let the fake's app answer the SDK in memory."""
    async with client_over(StreamingASGI(fake_of(scenario, 0.0).app), scenario) as ask:
        yield ask


@asynccontextmanager
async def over_unix_socket(scenario: Scenario) -> AsyncIterator[Ask]:
    """Let the fake answer through uvicorn and a UNIX socket, on the same virtual loop."""
    with tempfile.TemporaryDirectory(prefix="claude-lab-") as folder:
        path = str(Path(folder) / "fake.sock")
        config = uvicorn.Config(
            fake_of(scenario, 0.0).app, uds=path, http=TransportProtocol, ws="none", lifespan="off", log_config=None,
            access_log=False, timeout_keep_alive=10**9, timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(config)
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        transport = httpx2.AsyncHTTPTransport(uds=path, limits=httpx2.Limits(max_connections=None))
        try:
            async with client_over(transport, scenario) as ask:
                yield ask
        finally:
            await server.shutdown()


@asynccontextmanager
async def over_tcp(scenario: Scenario) -> AsyncIterator[Ask]:
    """Let the fake answer over TCP on 127.0.0.1, in real time."""
    fake = fake_of(scenario, clock.now())
    served = await asyncio.to_thread(serve, fake.app, protocol=TransportProtocol)
    transport = httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=None))
    try:
        async with client_over(transport, scenario, served.url) as ask:
            yield ask
    finally:
        await asyncio.to_thread(served.stop)


RUNGS: dict[str, Callable[[Scenario], AbstractAsyncContextManager[Ask]]] = {
    "sdk": over_world,
    "asgi": over_app,
    "uds": over_unix_socket,
    "wall": over_tcp,
}
