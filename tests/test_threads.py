"""Threads: the SDK's own tool loop and threads go through, and what the server holds is what was said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from pydantic import BaseModel

from claude_lab.fake import FakeClaude
from claude_lab.scenario import Scenario

HEADERS = {"authorization": "Bearer lab", "anthropic-version": "2026-10-21"}
ASK: dict[str, Any] = {"model": "claude-opus-4-6", "max_tokens": 300}


def user(text: str) -> list[Any]:
    """One turn of the user's."""
    return [{"role": "user", "content": text}]


@pytest.fixture
def fake() -> Iterator[FakeClaude]:
    """A fake without waits."""
    with FakeClaude(Scenario(pace="instant")) as fake:
        yield fake


@pytest.fixture
def sdk(fake: FakeClaude) -> Iterator[anthropic.Anthropic]:
    """The SDK as it comes, at the fake."""
    with anthropic.Anthropic(base_url=fake.url, api_key="lab") as client:
        yield client


class Stay(BaseModel):
    """What a tool takes: a nested model."""

    town: str
    nights: int


@pytest.mark.parametrize("stream", [True, False])
def test_the_sdks_tool_loop_runs_as_it_comes(fake: FakeClaude, sdk: anthropic.Anthropic, stream: bool) -> None:
    """`tool_runner` with its defaults calls the tool with input that fits, sends the result, and ends in text."""
    given: list[Any] = []

    @anthropic.beta_tool
    def book(stay: Stay) -> str:
        """Book a stay."""
        given.append(stay)
        return "booked"

    runner: Any = sdk.beta.messages.tool_runner(**ASK, tools=[book], messages=user("Book it"), stream=stream)
    last = runner.until_done()

    assert Stay.model_validate(given[0] if isinstance(given[0], dict) else given[0].model_dump()).nights == 1
    assert (last.stop_reason, last.content[-1].text) == ("end_turn", "The tool answered: booked.")
    assert [entry.status for entry in fake.journal] == [200, 200]
    assert [entry.body["thread"]["type"] for entry in fake.journal] == ["create", "continue"]
    assert fake.verdict().ok


def test_a_thread_is_charged_for_all_it_holds(sdk: anthropic.Anthropic) -> None:
    """A turn that continues counts the whole conversation as its input, though it sends one message."""
    thread = sdk.beta.messages.thread(**ASK, system="Be brief.")

    first = thread.send(*user("Why is the sky blue?"))
    second = thread.send(*user("And at night?"))

    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens
    assert [message["role"] for message in thread.messages] == ["user", "assistant", "user", "assistant"]


def test_threads_that_cannot_go_on_are_refused_as_the_sdk_knows_it(fake: FakeClaude) -> None:
    """An unknown thread is a 404, a second continuation a 400, each with its code; a thread keeps its system prompt."""
    with httpx.Client(base_url=fake.url, headers=HEADERS) as api:

        def ask(thread: Any, **more: Any) -> httpx.Response:
            return api.post("/v1/messages", json={**ASK, "messages": user("Hi"), "thread": thread} | more)

        id = ask({"type": "create"}).json()["id"]
        follow = {"type": "continue", "previous_message_id": id}
        unknown = ask({"type": "continue", "previous_message_id": "msg_none"})
        fixed = ask(follow, system="Be loud.")
        twice = [ask(follow), ask(follow)]

    assert (unknown.status_code, unknown.json()["error"]["details"]["error_code"]) == (404, "thread_not_found")
    assert [each.status_code for each in (fixed, *twice)] == [400, 200, 400]
    assert twice[1].json()["error"]["details"]["error_code"] == "thread_already_continued"


def test_a_lost_thread_is_replayed_by_the_sdk(fake: FakeClaude, sdk: anthropic.Anthropic) -> None:
    """When the server has forgotten a thread, the SDK sends the whole conversation again, and goes on."""
    thread = sdk.beta.messages.thread(**ASK)
    thread.send(*user("Why is the sky blue?"))
    fake.put(Scenario(pace="instant"))

    thread.send(*user("And at night?"))

    assert [entry.status for entry in fake.journal] == [200, 404, 200]
    assert len(fake.journal[2].body["messages"]) == 3


@pytest.mark.parametrize("thread", [5, {}, {"type": "continue"}, {"type": "continue", "previous_message_id": []}, []])
def test_a_thread_of_another_shape_is_a_400_or_404(fake: FakeClaude, thread: Any) -> None:
    """Whatever stands in `thread`, the answer is the API's own 4xx."""
    body = {**ASK, "messages": user("Hi"), "thread": thread}
    answer = httpx.post(f"{fake.url}/v1/messages", json=body, headers=HEADERS)

    assert answer.status_code in (400, 404)
    assert answer.json()["type"] == "error"
