"""The player: whatever the plan, nothing dies on the portal, and the journal tells the end."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from conftest import LONG, soon

from claude_lab import answers, background, faults
from claude_lab.fake import FakeClaude
from claude_lab.faults import Break, Hang
from claude_lab.pacing import Pace
from claude_lab.replies import REFUSAL
from claude_lab.scenario import Scenario

HEADERS = {"authorization": "Bearer lab", "anthropic-version": "2026-10-21"}
ASK: dict[str, Any] = {
    "model": "claude-opus-4-6",
    "max_tokens": 60,
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}
SHORT = httpx.Timeout(5, read=0.1)
QUICK: dict[str, dict[str, Any]] = {"Stall": {"seconds": 0.01}, "Trickle": {"gap": 0.0001, "size_bytes": 500}}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeClaude]:
    """One fake; afterwards nothing has died on the portal."""
    before = len(background.portal().failures)
    with FakeClaude(Scenario(pace="instant")) as fake:
        yield fake
    assert background.portal().failures[before:] == []


def breaks() -> list[Break]:
    """Every kind of break at every place, quick ones."""
    kinds = {name: kind for name, kind in faults.kinds(Break).items() if name != "Insert"}
    return [kind(at=at, **QUICK.get(name, {})) for name, kind in kinds.items() for at in kind.PLACES]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_every_break_ends_in_an_answer_or_an_error(fake: FakeClaude, stream: bool) -> None:
    """Each break at each place, streamed and whole: an answer or a transport error, and all is closed."""
    with httpx.Client(base_url=fake.url, headers=HEADERS) as api:
        for fault in breaks():
            fake.put(Scenario(faults=[fault], pace="instant"))
            fake.journal.clear()
            patience = SHORT if isinstance(fault, Hang) else LONG
            with contextlib.suppress(httpx.TransportError):
                answer = api.post("/v1/messages", json={**ASK, "stream": stream}, timeout=patience)
                assert answer.status_code == 200, fault
            assert soon(lambda: len(fake.journal) == 1)
            assert fake.journal.settle()[0].fault == str(fault)


@pytest.mark.parametrize("end", faults.ENDS)
def test_raw_steps_end_as_they_say(fake: FakeClaude, end: str) -> None:
    """A raw step ends complete, closed, reset or never."""
    raised = {"complete": None, "fin": httpx.RemoteProtocolError, "rst": httpx.ReadError, "hang": httpx.ReadTimeout}[
        end
    ]
    fake.put(Scenario(faults=[faults.Raw(chunks=(b"half",), end=end)]))
    if raised is None:
        answer = httpx.post(f"{fake.url}/v1/messages", json=ASK, headers=HEADERS)
        assert answer.content == b"half"
    else:
        patience = SHORT if end == "hang" else LONG
        with pytest.raises(raised):
            httpx.post(f"{fake.url}/v1/messages", json=ASK, headers=HEADERS, timeout=patience)
    fake.journal.settle()


PROMPTS = ["streaming", "retry", "nginx", "sky", "hello", "token", "cache", "resume", "else", REFUSAL]


def test_the_strict_sdk_reads_every_answer(fake: FakeClaude) -> None:
    """Every built-in answer, padded, with thinking, through the SDK's strictest validation, whole and streamed."""
    fake.put(Scenario(pace="instant", padding=True))
    assert len(PROMPTS) >= len(answers.KEYWORDS) + 2
    with anthropic.Anthropic(base_url=fake.url, api_key="x", _strict_response_validation=True) as sdk:
        for prompt in PROMPTS:
            body = {"model": "claude-haiku-5-5", "max_tokens": 900, "messages": [{"role": "user", "content": prompt}]}
            with sdk.messages.stream(**body) as stream:
                streamed = stream.get_final_message()
            whole = sdk.messages.create(**body)
            assert [(block.type, getattr(block, "text", "")) for block in streamed.content] == [
                (block.type, getattr(block, "text", "")) for block in whole.content
            ]
            assert streamed.stop_reason == whole.stop_reason


def test_a_journal_that_does_not_settle_names_what_is_under_way() -> None:
    """An answer that is being read is open: waiting for it ends in a sentence that names it."""
    with FakeClaude(Scenario(pace=Pace(0.0, 5.0))) as fake:
        with httpx.stream("POST", f"{fake.url}/v1/messages", json={**ASK, "stream": True}, headers=HEADERS) as answer:
            pieces = answer.iter_raw()  # kept: a forgotten iterator closes the connection
            next(pieces)
            with pytest.raises(TimeoutError, match="POST /v1/messages"):
                fake.journal.settle(within=0.05)
        assert fake.journal.settle()[0].ended == "client left"


def test_stopping_the_fake_ends_its_answers() -> None:
    """An answer under way when the fake stops is cut, the journal says so, and the stop does not wait for their end."""
    with FakeClaude(Scenario(pace=Pace(0.0, 600.0))) as fake:
        with httpx.stream("POST", f"{fake.url}/v1/messages", json={**ASK, "stream": True}, headers=HEADERS) as answer:
            pieces = answer.iter_raw()  # kept: a forgotten iterator closes the connection
            next(pieces)
            fake.stop()

    assert fake.journal.open == 0
    assert fake.journal[0].ended in ("stopped", "client left")


def test_a_fake_behind_its_plan_stops_writing_when_the_reader_resets(caplog: pytest.LogCaptureFixture) -> None:
    """While the loop was blocked the reader reset and many pieces came due: none is written, and nothing is logged."""
    body = json.dumps({**ASK, "max_tokens": 300, "stream": True}).encode()
    head = [f"{name}: {value}" for name, value in {**HEADERS, "host": "127.0.0.1", "content-length": len(body)}.items()]

    def blocked(reader: socket.socket) -> None:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        reader.close()
        time.sleep(0.5)

    with FakeClaude(Scenario(pace=Pace(0.0, 0.005))) as fake, caplog.at_level(logging.WARNING):
        reader = socket.create_connection(("127.0.0.1", int(fake.url.rpartition(":")[2])))
        reader.sendall("\r\n".join(["POST /v1/messages HTTP/1.1", *head, "", ""]).encode() + body)
        assert reader.recv(100).startswith(b"HTTP/1.1 200")
        background.portal().loop.call_soon_threadsafe(blocked, reader)
        fake.journal.settle()

    assert fake.journal[0].ended == "client left"
    assert caplog.messages == []
