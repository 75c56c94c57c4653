"""The parts of a run without a page: what they add up to, and how the routes answer."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_server import ANSWER, INSTANT, PREFIX, Bench, bench

from claude_lab import ui
from claude_lab.background import portal
from claude_lab.chats import MOST_EARLIER_BYTES
from claude_lab.runs import Run
from claude_lab.settings import Settings
from claude_lab.sse import Decoder
from claude_lab.ui_response import UIResponse

Frames = list[tuple[str, dict[str, Any]]]
DOC = Path(__file__).parents[1] / "docs" / "front_ends.md"


class Reader:
    """A page's side of the protocol: parts in, texts out; as strict as `useChat` about ids that are not open."""

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []
        self.open: dict[str, dict[str, Any]] = {}
        self.ended = ""

    def take(self, part: dict[str, Any]) -> None:
        """Take one part."""
        kind, _, what = part["type"].partition("-")
        if part["type"] == "reset-step":
            self.parts, self.open = [], {}
        elif what == "start" and kind in ("text", "reasoning"):
            self.open[part["id"]] = {"kind": kind, "text": "", "void": False}
            self.parts.append(self.open[part["id"]])
        elif what == "delta":
            self.open[part["id"]]["text"] += part["delta"]
        elif what == "end":
            self.open.pop(part["id"])["void"] = "providerMetadata" in part
        elif part["type"] in ("finish", "error"):
            assert not self.ended
            self.ended = part["type"]

    def text(self, kind: str) -> str:
        """Return the valid text of a kind."""
        return "".join(part["text"] for part in self.parts if part["kind"] == kind and not part["void"])


def shown(parts: list[list[dict[str, Any]]]) -> Reader:
    """Return a reader that has taken these parts."""
    reader = Reader()
    for part in (part for several in parts for part in several):
        reader.take(part)
    return reader


def without_void(frames: list[tuple[str, list[ui.Part]]]) -> list[list[ui.Part]]:
    """Return what a late reader is told of frames."""
    void = ui.Void()
    for seq, (kind, parts) in enumerate(frames, 1):
        void.note(seq, kind, parts)
    return [void.left(seq, parts) for seq, (_, parts) in enumerate(frames, 1)]


@st.composite
def runs(draw: st.DrawFn) -> tuple[Frames, str]:
    """Draw the frames of a run, with the text that is valid at its end."""
    frames: Frames = [("start", {"run": "r", "model": "m", "usage": {}})]
    text = ""
    for kind in draw(st.lists(st.sampled_from(["delta", "delta", "thinking", "reset", "retry"]), max_size=14)):
        if kind == "reset":
            keep = draw(st.integers(0, len(text)))
            text = text[:keep]
            frames.append((kind, {"keep_chars": keep, "reason": "network_error"}))
        elif kind == "retry":
            frames.append((kind, {"error": "overloaded", "attempt": 1, "wait": 0.1}))
        else:
            piece = draw(st.text("ab🌊", min_size=1, max_size=4))
            text += piece if kind == "delta" else ""
            frames.append((kind, {"text": piece}))
    frames.append(("done", {"stop_reason": "end_turn", "usage": {}}))
    return frames, text


@pytest.mark.parametrize("resets", [False, True])
@given(run=runs(), data=st.data())
def test_every_reader_ends_with_the_valid_text(resets: bool, run: tuple[Frames, str], data: st.DataObject) -> None:
    """From the first frame on; late, without what was void by then; and cut anywhere, then fed the rest by another."""
    frames, text = run
    first, second = ui.Parts("m", resets=resets), ui.Parts("m", resets=resets)
    told = [first.of(seq, *frame) for seq, frame in enumerate(frames, 1)]
    again = [second.of(seq, *frame) for seq, frame in enumerate(frames, 1)]
    late = data.draw(st.integers(0, len(frames)))
    pruned = without_void([(kind, parts) for (kind, _), parts in zip(frames[:late], told, strict=False)])

    live, joined = shown(told), shown([*pruned, *again[late:]])

    assert told == again
    assert (live.text("text"), live.ended, live.open) == (text, "finish", {})
    assert (joined.text("text"), joined.ended, joined.open) == (text, "finish", {})
    if late == len(frames):
        assert not any(part["void"] for part in joined.parts)


@pytest.mark.parametrize("resets", [False, True])
def test_what_an_earlier_reset_took_back_stays_void(resets: bool) -> None:
    """Thinking voided by the first reset does not come again because the second one keeps some text."""
    frames: Frames = [
        ("start", {"run": "r", "model": "m", "usage": {}}),
        ("delta", {"text": "One"}),
        ("thinking", {"text": "Hm"}),
        ("reset", {"keep_chars": 0, "reason": "network_error"}),
        ("delta", {"text": "Two three"}),
        ("reset", {"keep_chars": 4, "reason": "network_error"}),
        ("delta", {"text": "four"}),
        ("done", {"stop_reason": "end_turn", "usage": {}}),
    ]
    parts = ui.Parts("m", resets=resets)
    told = [(frame[0], parts.of(seq, *frame)) for seq, frame in enumerate(frames, 1)]

    late = shown(without_void(told))

    assert [(part["kind"], part["text"], part["void"]) for part in late.parts] == [("text", "Two four", False)]


@pytest.mark.parametrize("resets", [False, True])
def test_what_stood_before_the_answer_stays(resets: bool) -> None:
    """A reset takes back the answer, not what the message held before it, also for who comes late."""
    parts = ui.Parts("m", resets=resets, earlier=[{"type": "text", "text": "Before. "}])
    frames: Frames = [
        ("start", {"run": "r", "model": "m", "usage": {}}),
        ("delta", {"text": "Void"}),
        ("reset", {"keep_chars": 0, "reason": "network_error"}),
        ("delta", {"text": "after"}),
        ("done", {"stop_reason": "end_turn", "usage": {}}),
    ]
    told = [(frame[0], parts.of(seq, *frame)) for seq, frame in enumerate(frames, 1)]

    late = [part["delta"] for parts in without_void(told) for part in parts if part["type"] == "text-delta"]

    assert late == ["Before. ", "after"]


def test_a_long_log_is_written_in_slices() -> None:
    """No write, and no reading ahead of one, takes more than a slice; between them other tasks have their turn."""
    asyncio.run(written_beside_a_clock())


async def written_beside_a_clock() -> None:
    """Write a log of many slices with a reset in it, and count the turns that another task had."""
    run = Run("r" * 20, 30.0)
    run.append("start", {"run": run.name, "model": "m", "usage": {}})
    run.write(1, [("delta", {"text": "word "})] * 5 * UIResponse.most)
    run.append("reset", {"keep_chars": 4, "reason": "network_error"})
    run.append("done", {"stop_reason": "end_turn", "usage": {}})
    turns, sent = 0, []

    async def clock() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    async def receive() -> Any:
        await asyncio.Event().wait()

    ticking = asyncio.create_task(clock())
    await UIResponse(run, Settings(), "m")({"type": "http"}, receive, send)
    ticking.cancel()

    body = b"".join(sent)
    assert turns > 10
    assert (body.count(b'"text-delta"'), body.count(b'"word')) == (1, 1)
    assert body.endswith(ui.DONE)


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    """One bench for the module."""
    with bench() as made:
        yield made


def question(chat: str, *parts: dict[str, Any], role: str = "user") -> dict[str, Any]:
    """A body as `useChat` posts it."""
    said = list(parts) or [{"type": "text", "text": "Hi"}]
    return {"id": chat, "messages": [{"id": "m", "role": role, "parts": said}], "trigger": "submit-message"}


def parts_in(response: httpx.Response) -> list[dict[str, Any]]:
    """Return the parts of a body; the last line of a whole one is `[DONE]`."""
    *parts, last = [event.data for event in Decoder().feed(response.content)]
    assert last == "[DONE]"
    return [json.loads(part) for part in parts]


def test_the_stream_has_the_protocol_s_header_and_our_ids(shared: Bench) -> None:
    """The header names the version; behind the parts of each frame stands its id, and the rest is to be had by it."""
    shared.follow(INSTANT)
    whole = shared.http.post("/chat/ui", json=question("a"))
    path = "/chat/ui/a/stream"

    rests = [
        (event_id, shared.http.get(path, headers={"last-event-id": event_id}).text)
        for event_id in re.findall(r"^id: (.*)$", whole.text, re.M)
    ]

    assert whole.headers[ui.HEADER] == "v1"
    assert "".join(part["delta"] for part in parts_in(whole) if part["type"] == "text-delta") == ANSWER
    assert all(rest == ": ok\n\n" + whole.text.partition(f"id: {event_id}\n\n")[2] for event_id, rest in rests)
    assert shared.http.get(path).text == whole.text
    assert len(shared.fake.journal) == 1


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 422, "not valid JSON"),
        (b"[" * 100_000, 422, "too deeply nested"),
        (b"[]", 422, "not what useChat sends"),
        (json.dumps(question("a", {"type": "text", "text": " "})).encode(), 422, "empty"),
        (json.dumps(question("a") | {"temprature": 1}).encode(), 422, "temprature"),
        (json.dumps(question("a") | {"max_tokens": 0}).encode(), 422, "max_tokens"),
        (json.dumps(question("a") | {"system": 5}).encode(), 422, "system"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence_for_the_page(shared: Bench, body: bytes, status: int, said: str) -> None:
    """Not JSON, for the page shows it as it is; the upstream was never asked."""
    shared.follow(INSTANT)

    response = shared.http.post("/chat/ui", content=body, headers={"content-type": "application/json"})

    assert (response.status_code, response.headers["content-type"]) == (status, "text/plain; charset=utf-8")
    assert said in response.text
    assert len(shared.fake.journal) == 0


def test_a_page_that_leaves_while_it_posts_is_no_failure(shared: Bench) -> None:
    """Half a body and an end: nothing is asked, and nothing dies in the server."""
    shared.follow(INSTANT)
    before = len(portal().failures)
    head = f"POST {PREFIX}/chat/ui HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with socket.create_connection((shared.served.host, shared.served.port), timeout=5) as sock:
        sock.sendall(f'{head}Content-Length: 100\r\n\r\n{{"id": "a",'.encode())
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1024):
            pass

    assert shared.http.get("/health").json()["open_runs"] == 0
    assert len(portal().failures) == before
    assert len(shared.fake.journal) == 0


def test_coming_back_in_vain_has_three_answers(shared: Bench) -> None:
    """204 for a chat that never asked, 404 for an answer that is no longer kept, 400 for an id that is none of ours."""
    shared.follow(INSTANT)
    shared.http.post("/chat/ui", json=question("kept"))
    shared.http.post("/chat/ui", json=question("lost"))
    shared.relay.runs.runs.popitem()

    answers = [
        shared.http.get("/chat/ui/never/stream"),
        shared.http.get("/chat/ui/lost/stream"),
        shared.http.get("/chat/ui/kept/stream", headers={"last-event-id": "x"}),
        shared.http.get("/chat/ui/kept/stream", headers={"x-claude-lab-run": "another-run-of-yours"}),
    ]

    assert [answer.status_code for answer in answers] == [204, 404, 400, 204]
    assert answers[1].text.startswith("There is no run")


def test_a_message_too_long_to_keep_is_not_shown_by_half(shared: Bench) -> None:
    """A turn that goes on with a huge message can be followed from an id, and says aloud that it has no beginning."""
    shared.follow(INSTANT)
    call = {"type": "tool-weather", "toolCallId": "t", "state": "output-available", "input": {}}
    body = question("long", call | {"output": "x" * MOST_EARLIER_BYTES}, role="assistant")
    body["messages"].insert(0, question("long")["messages"][0])
    tools = [{"name": "weather", "input_schema": {"type": "object"}}]

    asked = shared.http.post("/chat/ui", json=body | {"tools": tools})

    assert asked.status_code == 200
    assert shared.http.get("/chat/ui/long/stream").status_code == 409
    assert shared.http.get("/chat/ui/long/stream", headers={"last-event-id": "1-1"}).status_code == 200


def test_the_page_s_python_runs(shared: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines for httpx print the frames of an answer."""
    shared.follow(INSTANT)
    (code,) = re.findall(r"```python\n(.*?)```", DOC.read_text("utf-8"), re.S)

    exec(code, {"url": str(shared.http.base_url).rstrip("/")})

    assert [json.loads(line)["type"] for line in capsys.readouterr().out.splitlines()][-1] == "done"
