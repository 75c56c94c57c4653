"""The fake, read by the official TypeScript SDK as npm has it: `ANTHROPIC_BASE_URL` is all it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import lacking, need
from node_program import NodeProgram

from claude_lab import faults
from claude_lab.catalogue import MODELS
from claude_lab.fake import FakeClaude
from claude_lab.faults import Fault
from claude_lab.pacing import Pace
from claude_lab.scenario import Scenario
from claude_lab.tool_checks import ASK_WEATHER, RESULT

HERE = Path(__file__).parent / "sdk_ts"
ASK: dict[str, Any] = {
    "model": "claude-haiku-5-5",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}
STALLED = Scenario([faults.Stall(after=5, seconds=60)], pace=Pace(0.0, 0.02, 0.0, 0.0))
THREE_WORDS = "Sunlight holds all colors"


class Program(NodeProgram):
    """A Node.js program that uses the SDK, in front of a fake; it plays one thing at a time."""

    def __init__(self, fake: FakeClaude, **environment: str) -> None:
        self.fake = fake
        own = {"ANTHROPIC_BASE_URL": fake.url, "ANTHROPIC_API_KEY": "x", **environment}
        super().__init__(need("node"), str(HERE / "use_sdk.mjs"), **own)

    def play(self, play: str, *script: Fault, scenario: Scenario | None = None, **job: Any) -> dict[str, Any]:
        """Play with the faults of a script, or a whole scenario; return what the program told, its error included."""
        self.fake.put(scenario or Scenario(faults=script, pace="instant"))
        self.fake.journal.clear()
        told = self.tell({"play": play, "body": ASK, **job})
        self.fake.journal.settle()
        return told

    @property
    def seen(self) -> list[tuple[int, int | None, str]]:
        """Attempt, status and end of every request of the last play, as the fake's journal has them."""
        return [(entry.attempt, entry.status, entry.ended) for entry in self.fake.journal]


@contextmanager
def running(**environment: str) -> Iterator[Program]:
    """Run a program in front of a fake of its own."""
    need("node")
    if not (HERE / "node_modules").is_dir():
        lacking("the TypeScript SDK is not installed (npm ci --prefix tests/sdk_ts)")
    with FakeClaude() as fake:
        program = Program(fake, **environment)
        try:
            yield program
        finally:
            program.close()


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    """One program for the module."""
    with running() as made:
        yield made


def text_of(message: dict[str, Any]) -> str:
    """The text of a message."""
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")


def test_streamed_and_whole_answers_are_the_same(program: Program) -> None:
    """`messages.create` and `messages.stream` give one text and one usage, and the journal's request id."""
    whole = program.play("whole")
    streamed = program.play("stream")
    request = program.fake.journal[0].request_id

    assert text_of(whole["message"]) == text_of(streamed["message"]) == streamed["text"]
    assert whole["message"]["usage"] == streamed["message"]["usage"]
    assert (streamed["message"]["stop_reason"], streamed["request"]) == ("end_turn", request)


def test_events_come_in_their_order(program: Program) -> None:
    """`create({stream: true})` yields each event the fake sent, but for pings, from the start to the stop."""
    events = program.play("events")["events"]

    assert [event for event in events if event != "content_block_delta"] == [
        "message_start",
        *["content_block_start", "content_block_stop"] * 2,
        "message_delta",
        "message_stop",
    ]


def test_thinking_comes_first(program: Program) -> None:
    """A model of these days thinks; the SDK's `thinking` events make up the block, which is signed."""
    told = program.play("stream")
    block = told["message"]["content"][0]

    assert (block["type"], block["thinking"]) == ("thinking", told["thinking"])
    assert block["signature"]


def test_a_tool_loop_ends(program: Program) -> None:
    """The tool is called once, with an input of its schema put together from its parts; its result ends the loop."""
    told = program.play("tools", body=ASK | ASK_WEATHER, result=RESULT["content"])
    (call,) = told["calls"]

    assert call["name"] == "get_weather"
    assert ("Paris" in call["input"]["place"], call["input"]["unit"]) == (True, "celsius")
    assert str(RESULT["content"]) in text_of(told["message"])
    assert program.seen == [(1, 200, "complete")] * 2


def test_tokens_are_counted_as_they_are_charged(program: Program) -> None:
    """`countTokens` says what the answer's usage says."""
    counted = program.play("count", body={name: ASK[name] for name in ("model", "messages")})

    assert counted["input_tokens"] == program.play("whole")["message"]["usage"]["input_tokens"]


def test_models_come_page_by_page(program: Program) -> None:
    """The SDK's own paging finds every model once, ten at a time."""
    told = program.play("models", limit=10)

    assert sorted(told["ids"]) == sorted(MODELS)
    assert told["one"]["id"] == told["ids"][0]
    assert len(program.seen) == -(-len(MODELS) // 10) + 1


def test_a_refusal_is_retried_by_the_sdk_itself(program: Program) -> None:
    """After a 429 it waits as it was told, comes back once, and nothing can be said against it."""
    told = program.play("stream", faults.RateLimited(retry_after=0.02))
    first, second = program.fake.journal

    assert told["text"].startswith(THREE_WORDS)
    assert program.seen == [(1, 429, "refused"), (2, 200, "complete")]
    assert first.ended_at is not None
    assert second.at - first.ended_at >= 0.02
    assert program.fake.verdict().ok


def test_an_overload_that_lasts_becomes_the_sdks_own_error(program: Program) -> None:
    """After two retries, as many as it makes by default, it throws its `OverloadedError` with what the API said."""
    error = program.play("whole", *[faults.Overloaded(retry_after=0.01)] * 3)["error"]

    assert (error["name"], error["status"], error["type"]) == ("OverloadedError", 529, "overloaded_error")
    assert error["apiMessage"] == "Overloaded"
    assert error["requestID"] == program.fake.journal[-1].request_id
    assert program.seen == [(attempt, 529, "refused") for attempt in (1, 2, 3)]


@pytest.mark.parametrize(
    ("job", "name", "status"),
    [
        ({"body": ASK | {"max_tokens": -1}}, "BadRequestError", 400),
        ({"options": {"apiKey": "invalid"}}, "AuthenticationError", 401),
        ({"body": ASK | {"model": "nobody"}}, "NotFoundError", 404),
    ],
)
def test_what_will_not_pass_is_asked_once(program: Program, job: dict[str, Any], name: str, status: int) -> None:
    """Each 4xx is the SDK's error for it, after one attempt."""
    error = program.play("whole", **job)["error"]

    assert (error["name"], error["status"]) == (name, status)
    assert program.seen == [(1, status, "refused")]


@pytest.mark.parametrize("play", ["stream", "events"])
def test_an_error_in_a_stream_is_told_and_not_retried(program: Program, play: str) -> None:
    """It is an `APIError` without a status, with the type of the event; the text before it was told."""
    told = program.play(play, faults.StreamError(after=3))
    error = told["error"]

    assert told["text"] == THREE_WORDS
    assert (error["name"], error["status"], error["type"]) == ("APIError", None, "overloaded_error")
    assert program.seen == [(1, 200, "fault")]


@pytest.mark.parametrize("fault", [faults.Drop(after=3), faults.Reset(after=3)])
def test_a_cut_connection_is_told_and_not_retried(program: Program, fault: Fault) -> None:
    """The helper wraps it in the SDK's base error; the bare stream throws what `fetch` threw: no error of the SDK."""
    helped, bare = program.play("stream", fault), program.play("events", fault)

    assert (helped["text"], bare["text"]) == (THREE_WORDS, THREE_WORDS)
    assert (helped["error"]["name"], helped["error"]["message"]) == ("AnthropicError", "terminated")
    assert (bare["error"]["name"], bare["error"]["lineage"]) == ("TypeError", [])
    assert program.seen == [(1, 200, "fault")]


def test_a_clean_end_too_soon_is_noticed_by_the_helper_alone(program: Program) -> None:
    """`finalMessage()` rejects; a loop over the bare stream ends as if all had come."""
    helped, bare = (program.play(play, faults.Truncate(after=3)) for play in ("stream", "events"))

    assert "stream ended without producing a Message" in helped["error"]["message"]
    assert (bare["text"], bare["events"][-1]) == (THREE_WORDS, "content_block_delta")
    assert "error" not in bare


@pytest.mark.parametrize(("how", "name"), [("abort", "APIUserAbortError"), ("break", None)])
def test_who_stops_reading_leaves(program: Program, how: str, name: str | None) -> None:
    """`stream.abort()`, or a `break` out of the loop, closes the connection, and the fake stops paying."""
    told = program.play("leave", scenario=STALLED, how=how)

    assert told.get("error", {}).get("name") == name
    assert program.seen == [(1, 200, "client left")]


def test_a_batch_is_made_polled_and_read(program: Program) -> None:
    """Two requests, one of them bad: the SDK polls until the batch has ended and reads both results."""
    bad = ASK | {"messages": []}
    requests = [{"custom_id": "good", "params": ASK}, {"custom_id": "bad", "params": bad}]
    told = program.play("batches", requests=requests)

    assert (told["states"][0], told["states"][-1]) == ("in_progress", "ended")
    assert (told["counts"]["succeeded"], told["counts"]["errored"]) == (1, 1)
    assert text_of(told["results"]["good"]["message"]).startswith(THREE_WORDS)
    assert told["results"]["bad"]["error"]["error"]["type"] == "invalid_request_error"
    assert told["listed"] == [told["id"]]
    assert told["deleted"] == {"id": told["id"], "type": "message_batch_deleted"}


def test_the_environment_alone_chooses_a_scenario() -> None:
    """A program that nobody changed meets the faults of the scenario named in `ANTHROPIC_CUSTOM_HEADERS`."""
    with running(ANTHROPIC_CUSTOM_HEADERS="x-claude-lab-scenario: down") as made:
        told = made.play("whole", options={"maxRetries": 0})

        assert told["error"]["status"] >= 500
        assert len(made.seen) == 1
