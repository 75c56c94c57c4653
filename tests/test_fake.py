"""The fake, over a real socket, read by the real SDK."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest

from claude_lab import faults
from claude_lab.background import TRANSPORT
from claude_lab.fake import FakeClaude
from claude_lab.pacing import Pace
from claude_lab.player import Connection
from claude_lab.scenario import Request, Scenario
from claude_lab.sse import Decoder

ASK: dict[str, Any] = {
    "model": "claude-haiku-5-5",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}


@asynccontextmanager
async def client(fake: FakeClaude) -> AsyncIterator[Any]:
    """The unmodified SDK pointed at a fake, with its strictest validation."""
    from anthropic import AsyncAnthropic

    async with AsyncAnthropic(
        base_url=fake.url, api_key="x", max_retries=0, timeout=5, _strict_response_validation=True
    ) as made:
        yield made


async def text_of(fake: FakeClaude, **more: Any) -> str:
    """Stream an answer and return its text."""
    async with client(fake) as sdk, sdk.messages.stream(**ASK | more) as stream:
        return "".join([text async for text in stream.text_stream])


def test_the_sdk_streams_an_answer_under_strict_validation() -> None:
    """The unmodified SDK reads text, usage, stop reason and request id from a stream."""

    async def ask(fake: FakeClaude) -> Any:
        async with client(fake) as sdk, sdk.messages.stream(**ASK) as stream:
            return await stream.get_final_message(), stream.response.headers["request-id"]

    with FakeClaude(Scenario(pace="instant")) as fake:
        message, request_id = asyncio.run(ask(fake))

    assert (message.stop_reason, message.usage.output_tokens > 100) == ("end_turn", True)
    assert request_id == fake.journal[0].request_id


def test_streamed_and_whole_answers_are_the_same() -> None:
    """The two forms of one answer have the same text and the same counts."""

    async def both(fake: FakeClaude) -> Any:
        async with client(fake) as sdk, sdk.messages.stream(**ASK) as stream:
            return await stream.get_final_message(), await sdk.messages.create(**ASK)

    with FakeClaude(Scenario(pace="instant")) as fake:
        streamed, whole = asyncio.run(both(fake))

    assert streamed.content[-1].text == whole.content[-1].text
    assert streamed.usage.output_tokens == whole.usage.output_tokens


def test_a_script_is_used_up_one_fault_per_request() -> None:
    """Two scripted refusals, then all is well."""
    from anthropic import OverloadedError, RateLimitError

    script = [faults.RateLimited(retry_after=2), faults.Overloaded()]
    with FakeClaude(Scenario(faults=script, pace="instant")) as fake:
        with pytest.raises(RateLimitError) as limited:
            asyncio.run(text_of(fake))
        with pytest.raises(OverloadedError):
            asyncio.run(text_of(fake))
        text = asyncio.run(text_of(fake))

    assert limited.value.response.headers["retry-after"] == "2"
    assert [entry.ended for entry in fake.journal] == ["refused", "refused", "complete"]
    assert text.startswith("Sunlight")


def test_a_drop_comes_after_so_many_deltas() -> None:
    """`Drop(after=3)` lets three text deltas through and then closes the connection."""

    async def read(fake: FakeClaude, got: list[str]) -> None:
        async with client(fake) as sdk, sdk.messages.stream(**ASK) as stream:
            got.extend([text async for text in stream.text_stream if got.append(text) or False])

    got: list[str] = []
    with FakeClaude(Scenario(faults=[faults.Drop(after=3)], pace="instant")) as fake:
        with pytest.raises(httpx2.RemoteProtocolError):
            asyncio.run(read(fake, got))

    assert (len(got), fake.journal[0].ended) == (3, "fault")


def test_a_client_that_leaves_is_noticed_at_once() -> None:
    """The journal shows no open answer soon after the reader has gone, although the answer had seconds to go."""

    async def leave(fake: FakeClaude) -> tuple[int, int]:
        async with client(fake) as sdk, sdk.messages.stream(**ASK) as stream:
            async for _ in stream.text_stream:
                break
            before = fake.journal.open
        for _ in range(100):
            if not fake.journal.open:
                break
            await asyncio.sleep(0.01)
        return before, fake.journal.open

    with FakeClaude() as fake:
        before, after = asyncio.run(leave(fake))

    assert (before, after, fake.journal[0].ended) == (1, 0, "client left")


def test_the_journal_never_holds_a_key() -> None:
    """Neither the bearer key nor an `x-api-key` can be found in what the journal keeps."""
    with FakeClaude(Scenario(pace="instant")) as fake:
        asyncio.run(text_of(fake, extra_headers={"x-api-key": "sk-secret"}))

    assert "sk-secret" not in repr([vars_of(entry) for entry in fake.journal])
    assert fake.journal[0].headers["authorization"] == "[redacted]"


def vars_of(entry: Any) -> dict[str, Any]:
    """Every field of a journal entry."""
    return {name: getattr(entry, name) for name in entry.__slots__}


def raw_exchange(fake: FakeClaude, request: bytes) -> bytes:
    """Send bytes to a fake and read until it closes."""
    host, port = fake.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        sock.sendall(request)
        return b"".join(iter(lambda: sock.recv(65_536), b""))


def http_request(version: str, body: dict[str, Any], **headers: str) -> bytes:
    """A request as bytes, that asks to close the connection."""
    data = json.dumps(body).encode()
    usual = {
        "host": "localhost",
        "authorization": "Bearer lab",
        "anthropic-version": "2026-10-21",
        "content-length": str(len(data)),
        "connection": "close",
    }
    lines = [f"POST /v1/messages {version}", *(f"{name}: {value}" for name, value in (usual | headers).items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def test_http_1_0_gets_a_stream_without_chunk_frames() -> None:
    """A proxy that speaks HTTP/1.0 reads bare events until the connection closes."""
    with FakeClaude(Scenario(pace=Pace(0.01, 0.001))) as fake:
        head, _, body = raw_exchange(fake, http_request("HTTP/1.0", {**ASK, "stream": True})).partition(b"\r\n\r\n")

    assert b"transfer-encoding" not in head.lower()
    assert Decoder().feed(body)[-1].event == "message_stop"


def test_a_prefix_hides_everything_else() -> None:
    """Under a capability prefix the API and its control answer there, and nowhere else."""
    with FakeClaude(Scenario(pace="instant"), prefix="/secret") as fake:
        root = fake.url.removesuffix("/secret")
        headers = {"authorization": "Bearer lab", "anthropic-version": "2026-10-21"}
        inside = httpx.post(f"{fake.url}/v1/messages", json=ASK, headers=headers)
        outside = httpx.post(f"{root}/v1/messages", json=ASK, headers=headers)
        control = httpx.get(f"{root}/_lab/journal")

    assert (inside.status_code, outside.status_code, control.status_code) == (200, 404, 404)


def test_control_shows_and_takes_scenarios() -> None:
    """`/_lab/scenario` takes a name or JSON, refuses nonsense in one sentence, and the journal can be emptied."""
    with FakeClaude(Scenario(pace="instant")) as fake, httpx.Client(base_url=fake.url) as api:
        api.put("/_lab/scenario", content=b"down")
        shown = api.get("/_lab/scenario").json()
        nonsense = api.put("/_lab/scenario", content=b'{"faults": ["Flood"]}')
        headers = {"authorization": "Bearer lab", "anthropic-version": "2026-10-21"}
        refused = api.post("/v1/messages", json=ASK, headers=headers)
        kept = len(api.get("/_lab/journal").json())
        emptied = api.delete("/_lab/journal").json()

    assert shown["odds"] == [{"fault": {"kind": "Unavailable"}, "probability": 1.0}]
    assert (refused.status_code, kept, emptied) == (503, 1, [])
    assert nonsense.status_code == 400
    assert "There is no fault 'Flood'" in nonsense.json()["error"]["message"]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (b'{"answer": "\\ud800"}', "This scenario is not valid JSON"),
        (b'{"seed": 1e400}', "1e400 is out of range"),
        (b'{"seed": 1.5}', "seed=1.5 is not a whole number"),
        (b'{"faults": [{"kind": "RateLimited", "retry_after": "soon\\r\\nx: y"}]}', "retry_after="),
        (b'{"faults": [{"kind": "RateLimited", "retry_at": 1e300}]}', "retry_at="),
        (b'{"faults": [{"kind": "RateLimited", "retry_after_ms": "x"}]}', "retry_after_ms="),
        (b'{"faults": [{"kind": "StreamError", "message": 5}]}', "message=5 of StreamError"),
        (b'{"faults": [{"kind": "Stall", "pings": -1}]}', "pings=-1"),
        (b'{"faults": [{"kind": "Trickle", "size_bytes": 0}]}', "size_bytes=0"),
        (b'{"voice": {"overlap": "x"}}', "overlap='x'"),
        (b"[" * 100_000, "too deeply nested"),
    ],
)
def test_what_cannot_be_played_is_refused_and_nothing_changes(told: bytes, why: str) -> None:
    """A scenario that would break the fake is a 400 with one sentence, and the one before goes on."""
    headers = {"authorization": "Bearer lab", "anthropic-version": "2026-10-21"}
    with FakeClaude(Scenario(pace="instant", seed=5)) as fake, httpx.Client(base_url=fake.url, headers=headers) as api:
        refused = api.put("/_lab/scenario", content=told)
        chosen = api.post("/v1/messages", json=ASK, headers={"x-claude-lab-scenario": told[:2_000].decode()})
        answered = api.post("/v1/messages", json=ASK)
        shown = api.get("/_lab/scenario").json()

    assert (refused.status_code, chosen.status_code, answered.status_code, shown["seed"]) == (400, 400, 200, 5)
    assert why in refused.json()["error"]["message"]


def test_a_raw_wait_that_is_no_number_is_passed_on() -> None:
    """A raw step may say any header; the journal reads a wait from it only where it is one."""
    step = faults.Raw(status=429, headers={"retry-after-ms": "soon"})
    headers = {"authorization": "Bearer lab", "anthropic-version": "2026-10-21"}
    with FakeClaude(Scenario(pace="instant", faults=[step])) as fake:
        answer = httpx.post(f"{fake.url}/v1/messages", json=ASK, headers=headers)

    assert (answer.status_code, answer.headers["retry-after-ms"]) == (429, "soon")
    assert fake.journal[0].retry_after is None


def test_a_header_chooses_a_scenario_for_one_client() -> None:
    """`x-claude-lab-scenario` scripts its own requests and leaves the others alone."""
    flaky = {"x-claude-lab-scenario": '{"pace": "instant", "faults": ["Overloaded"]}'}
    headers = {"authorization": "Bearer lab", "anthropic-version": "2026-10-21"}
    with FakeClaude(Scenario(pace="instant")) as fake, httpx.Client(base_url=fake.url, headers=headers) as api:
        chosen = [api.post("/v1/messages", json=ASK, headers=flaky).status_code for _ in range(2)]
        usual = api.post("/v1/messages", json=ASK).status_code
        wrong = api.post("/v1/messages", json=ASK, headers={"x-claude-lab-scenario": "nonsense"}).status_code

    assert (chosen, usual, wrong) == ([529, 200], 200, 400)


def test_virtual_time_plays_the_decision_to_the_letter() -> None:
    """On a virtual clock the first delta comes at the decision's ttft, and the last after its gaps."""
    from anthropic import AsyncAnthropic

    from claude_lab import clock
    from claude_lab.transport import StreamingASGI

    scenario = Scenario(seed=3, pace="slow", answer="one two three four five six seven eight nine ten")
    fake = FakeClaude(scenario)
    times: list[float] = []

    async def read() -> None:
        transport = httpx2.AsyncClient(transport=StreamingASGI(fake.app))
        async with AsyncAnthropic(base_url="http://fake", api_key="x", http_client=transport) as sdk:
            began = clock.now()
            headers = {"x-claude-lab-call": "a", "x-claude-lab-attempt": "1"}
            body = {**ASK, "model": "claude-opus-4-6"}
            async with sdk.messages.stream(**body, extra_headers=headers) as stream:
                times.extend([clock.now() - began async for _ in stream.text_stream])

    clock.run_virtual(read())
    decision = scenario.world().admit(0.0, Request(call="a", input_tokens=13))
    assert times[0] == pytest.approx(decision.ttft, abs=1e-9)
    assert times[-1] - times[0] == pytest.approx(sum(decision.gaps(len(times) - 1)), abs=1e-9)


def test_a_drop_needs_no_transport() -> None:
    """Under a server without the extension a drop returns before the response is complete, which closes it."""
    from claude_lab import background

    with background.serve(FakeClaude(Scenario(faults=[faults.Drop(after=2)], pace="instant")).app) as served:
        headers = {"authorization": "Bearer lab", "anthropic-version": "2026-10-21"}
        with httpx.stream("POST", f"{served.url}/v1/messages", json={**ASK, "stream": True}, headers=headers) as answer:
            with pytest.raises(httpx.RemoteProtocolError):
                answer.read()


class Full:
    """A transport whose buffer the reader never empties."""

    def get_write_buffer_size(self) -> int:
        """A megabyte waits."""
        return 1 << 20

    def is_closing(self) -> bool:
        """The reader is slow, not gone."""
        return False

    def write(self, data: bytes) -> None:
        """Nothing may be added."""
        raise AssertionError("written past a full buffer")


def test_a_slow_reader_does_not_fill_the_memory() -> None:
    """With much unread in the buffer the fake goes through the server, which waits for the reader."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"http_version": "1.1", "extensions": {TRANSPORT: Full()}}
    connection = Connection(scope, send, send)  # type: ignore[arg-type]  # nothing is received here
    asyncio.run(connection.body(b"abc"))

    assert sent == [{"type": "http.response.body", "body": b"abc", "more_body": True}]
