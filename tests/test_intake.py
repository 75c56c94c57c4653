"""Bodies: what is no JSON says why, what is large leaves the loop free, what is wrong everywhere is told once."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from claude_lab.background import serve
from claude_lab.bodies import MOST
from claude_lab.conversation import ChatRequest, refusal
from claude_lab.intake import LARGE_BYTES, MOST_TOLD, MOST_VALUES, made, turns
from claude_lab.server import create_app
from claude_lab.settings import Settings

HI = {"role": "user", "content": "Hi"}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    """A client of a server whose upstream is never asked."""
    app = create_app(Settings(api_key="lab", base_url="http://127.0.0.1:9"))
    with serve(app) as served, httpx.Client(base_url=served.url, trust_env=False) as made:
        yield made


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "Expecting value"),
        (b'{"message": ', "Expecting value"),
        (b'{"message":"x","tools":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too deeply nested"),
        (b'{"message":"x","tool_choice":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}", "too deeply nested"),
        (b'{"message":"\xe4"}', "not UTF-8"),
        (b'{"message":"x","max_tokens":' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"message":"x","tools":[{"name":"a","input_schema":{"x":NaN}}]}', "NaN is not JSON"),
        (b'{"message":"\\ud800"}', "half a character"),
        (b'{"message":"x","tools":[' + b"{}," * 1_100_000 + b"{}]}", f"at most {MOST_VALUES}"),
    ],
)
@pytest.mark.parametrize("path", ["/chat/stream", "/chat/ui"])
def test_a_body_that_is_no_json_is_422_and_says_why(http: httpx.Client, path: str, raw: bytes, said: str) -> None:
    """Whatever is wrong with the bytes, the status is the same and the sentence is about the body."""
    response = http.post(path, content=raw, headers=JSON)

    assert response.status_code == 422
    assert said in response.text


@pytest.mark.parametrize("name", ["system", "tools", "messages", "stop_sequences"])
def test_what_is_wrong_in_every_element_is_told_once(name: str) -> None:
    """A list is looked at up to its first problem: one error, whatever its length."""
    with pytest.raises(ValidationError) as caught:
        ChatRequest.model_validate({"message": "x", name: [[]] * 90_000})

    assert caught.value.error_count() == 1
    assert f"{name}.0" in str(caught.value)


def test_of_fields_that_are_unknown_a_few_are_told() -> None:
    """A body of a hundred thousand strange fields is refused with some of their names."""
    with pytest.raises(ValidationError) as caught:
        ChatRequest.model_validate({"message": "x", **{f"field-{n}": 1 for n in range(100_000)}})

    assert caught.value.error_count() <= MOST_TOLD


@pytest.mark.parametrize("name", ["messages", "system", "tools", "stop_sequences"])
def test_lists_have_an_end(name: str) -> None:
    """No list is longer than the API's longest."""
    request = {"messages": [HI], name: [HI if name == "messages" else {}] * (MOST + 1)}

    assert f"{name}: List should have at most {MOST}" in (refusal(request) or "")


def test_a_refusal_quotes_the_beginning_of_what_is_long() -> None:
    """A role of a megabyte is not sent back."""
    said = refusal({"messages": [{"role": "x" * 1_000_000, "content": "Hi"}]})

    assert said is not None
    assert len(said) < 300


def test_calls_without_number_are_matched_in_one_pass() -> None:
    """Twenty thousand calls with their results fit; to look for each in a list would take minutes."""
    calls = [{"type": "tool_use", "id": f"t{n}", "name": "f", "input": {}} for n in range(20_000)]
    results = [{"type": "tool_result", "tool_use_id": f"t{n}"} for n in range(20_000)]
    messages = [HI, {"role": "assistant", "content": calls}, {"role": "user", "content": results}]

    assert refusal({"messages": messages}) is None


@pytest.mark.parametrize("large", [False, True])
def test_a_large_body_is_read_beside_the_loop(large: bool) -> None:
    """A small one is read at once, a large one in a thread of its own."""
    raw = b'{"message":"%b"}' % (b"a" * (LARGE_BYTES if large else 10))

    def make(body: Any) -> tuple[int, str]:
        return len(body["message"]), threading.current_thread().name

    length, thread = asyncio.run(made(raw, make))

    assert length == len(raw) - len(b'{"message":""}')
    assert ("intake" in thread) == large


def test_a_process_that_forks_reads_large_bodies_too() -> None:
    """The thread of the parent is not the child's: it takes one of its own, and does not wait for ever."""
    raw = b'{"message":"%b"}' % (b"a" * LARGE_BYTES)
    assert asyncio.run(made(raw, len)) == 1

    assert turns(-1) is not turns(os.getpid())
    assert asyncio.run(made(raw, len)) == 1
