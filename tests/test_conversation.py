"""Conversations: what may be asked, and a lab that answers turns, tools and cached prompts."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from claude_lab import faults
from claude_lab.background import TransportProtocol, serve
from claude_lab.conversation import ChatRequest, marked, refusal
from claude_lab.lab import Lab
from claude_lab.pacing import Pace
from claude_lab.replies import Voice
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.server import create_app
from claude_lab.spending import Ledger, cost

MODEL = "claude-haiku-5-5"
TEXT = "A streamed answer takes its time, and whoever reads it sees each word as it is made, one after the other."
INSTANT = Scenario(voice=Voice(TEXT, thinking=False), pace="instant")
HI = {"role": "user", "content": "Hi"}
WEATHER = {
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One lab for the module; its answers are seen to break by `follow`."""
    with Lab(INSTANT, policy=RetryPolicy(max_retries=2, base_delay=0.001), recovery="continue") as made:
        yield made
        made.check()


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    """One client for the module: each costs a moment to make."""
    with httpx.Client(trust_env=False) as made:
        yield made


def follow(lab: Lab, scenario: Scenario) -> Any:
    """Let the lab's fake follow a scenario, with an empty journal, and return the fake."""
    assert lab.fake is not None
    lab.fake.put(scenario)
    lab.fake.journal.clear()
    return lab.fake


REFUSED = [
    ({"messages": [{"role": "bot", "content": "x"}]}, "messages.0.role: Input should be 'user', 'assistant'"),
    ({"messages": [{"role": "bot", "content": "x"}]}, "got 'bot'"),
    ({"messages": [{"content": "x"}]}, "messages.0.role: Field required"),
    ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": ""}]}, "must have non-empty content"),
    ({"messages": [{"role": "user", "content": []}]}, "must have non-empty content"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "at least 1 character"),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content.0: Input should be an object"),
    ({"messages": [{"role": "assistant", "content": "x"}, HI]}, 'first message must use the "user" role'),
    ({"message": "Hi", "system": 7}, "7 is no system prompt"),
    ({"message": "Hi", "system": {"text": "x"}}, "is no system prompt"),
    ({"message": "Hi", "system": [{"text": "x"}]}, "system.0.type: Field required"),
    ({"message": "Hi", "system": [{"type": "text", "text": "x", "cache_control": {"type": "eternal"}}]}, "ephemeral"),
    ({"message": "Hi", "tools": [{"input_schema": {}}]}, "tools.0.name: Field required"),
    ({"message": "Hi", "tools": [{"name": ""}]}, "tools.0.name: String should have at least 1 character"),
    ({"message": "Hi", "tools": [{"name": "x"}]}, "tools.0.input_schema: Field required"),
    ({"message": "Hi", "tools": [WEATHER, WEATHER]}, "Tool names must be unique"),
    ({"message": "Hi", "tool_choice": {"type": "any"}}, "only be specified while providing tools"),
    ({"message": "Hi", "tools": [WEATHER], "tool_choice": {"type": "tool", "name": "x"}}, "'x' not found"),
    ({"message": "Hi", "tools": [WEATHER], "tool_choice": {"type": "some"}}, "'some'"),
    (
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]},
        "unexpected `tool_use_id`",
    ),
    ({"messages": [HI, {"role": "assistant", "content": [CALL]}, HI]}, "without `tool_result` blocks"),
    ({"message": "Hi", "stop_sequences": [" "]}, "non-whitespace"),
    ({"message": "Hi", "stop_sequences": [""]}, "at least 1 character"),
    ({"message": "Hi", "thinking": {"type": "deep"}}, "'deep'"),
    ({"message": "Hi", "thinking": {"type": "enabled", "budget_tokens": 5000}}, "must be greater than"),
    ({"message": "Hi", "cache": "2h"}, "'5m' or '1h'"),
    ({"message": "Hi", "model": ""}, "at least 1 character"),
    ({"message": "Hi", "temperature": 1}, "temperature"),
    ({"message": "half a wave \ud83c"}, "half a character"),
    ({"messages": [{"role": "user", "content": "\ud83c"}]}, "half a character"),
    ({"message": "Hi", "thinking": {"type": "\ud83c"}}, "half a character"),
    ({"message": "Hi", "model": "\ud83c"}, "half a character"),
    ({"message": "Hi", "\ud83c": 1}, "half a character"),
    ({"message": "Hi", "cache": "\ud83c"}, "half a character"),
]


@pytest.mark.parametrize(("body", "said"), REFUSED)
def test_what_the_api_would_refuse_is_refused_at_the_door(
    lab: Lab, http: httpx.Client, body: dict[str, Any], said: str
) -> None:
    """A 422 that says where and why; the upstream was never asked."""
    fake = follow(lab, INSTANT)

    told = {"content-type": "application/json"}
    response = http.post(f"{lab.url}/chat/stream", content=json.dumps(body).encode(), headers=told)

    assert response.status_code == 422
    assert said in " ".join(each["msg"] + ".".join(map(str, each["loc"])) for each in response.json()["detail"])
    assert len(fake.journal) == 0


def test_what_is_nested_too_deep_is_refused() -> None:
    """What a parser could just read may be too deep to be written again; at every depth there is an answer."""
    answers = set()
    for depth in (10, 500, 900, 2000, 200_000):
        deep: dict[str, Any] = {}
        for _ in range(depth):
            deep = {"a": deep}
        answers.add(refusal({"messages": [HI], "tools": [{**WEATHER, "input_schema": deep}]}))

    assert len(answers) == 2
    assert None in answers
    assert any(said and "nested too deep" in said for said in answers)


JUNK = st.sampled_from(
    [
        None,
        True,
        -1,
        3,
        float("nan"),
        "",
        " ",
        "x",
        "\ud83c",
        [],
        {},
        [7],
        [None],
        [[]],
        {"type": []},
        [{"type": "text"}],
    ]
)
WHOLE: dict[str, Any] = {
    "message": "Hi",
    "messages": [
        HI,
        {"role": "assistant", "content": [{"type": "text", "text": "Let me see."}, CALL]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "Rain"}]},
        {"role": "assistant", "content": "It rains."},
    ],
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "tools": [WEATHER],
    "tool_choice": {"type": "tool", "name": "weather"},
    "thinking": {"type": "disabled"},
    "stop_sequences": ["END"],
    "cache": "5m",
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything in a value."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*path, step)
        yield from places(inner, (*path, step))


@given(st.lists(st.tuples(st.sampled_from(list(places(WHOLE))), JUNK), min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
def test_whatever_is_wrong_is_refused_in_words(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """Junk anywhere in a request is a refusal with a sentence, or is let pass; it never breaks the door."""
    body = copy.deepcopy(WHOLE)
    for path, junk in changes:
        inner = body
        with contextlib.suppress(KeyError, IndexError, TypeError):
            for step in path[:-1]:
                inner = inner[step]
            inner[path[-1]] = junk

    told: list[Any] = []
    try:
        asked = ChatRequest.model_validate(body).upstream(MODEL)
    except ValidationError as error:
        told = [each["msg"] for each in error.errors()]
        asked = {}

    assert all(told)
    assert json.dumps(asked, allow_nan=False, ensure_ascii=False).encode()


def test_the_whole_request_is_none_of_those() -> None:
    """What is varied above is a request that can be asked."""
    assert set(ChatRequest.model_validate(WHOLE).upstream(MODEL)) >= {"system", "tools", "tool_choice", "messages"}


def test_what_is_unknown_here_goes_through() -> None:
    """Blocks and tools of kinds to come are the API's to judge."""
    block = {"type": "hologram", "beam": 7}
    tools = [{"type": "web_search_20990101", "name": "web_search", "max_uses": 3}]
    asked = ChatRequest(messages=[{"role": "user", "content": [block]}], tools=tools).upstream(MODEL)

    assert asked["messages"][0]["content"] == [block]
    assert asked["tools"] == tools


def test_every_field_goes_upstream(lab: Lab) -> None:
    """System blocks, tools, the choice, stop sequences and thinking arrive as they were given."""
    fake = follow(lab, INSTANT)
    given: dict[str, Any] = {
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "tools": [WEATHER],
        "tool_choice": {"type": "none"},
        "stop_sequences": ["whoever"],
        "thinking": {"type": "disabled"},
    }

    run = lab.stream("Hello", **given)

    assert {name: fake.requests[0].body[name] for name in given} == given
    assert (run.stop_reason, run.text) == ("stop_sequence", TEXT.split("whoever")[0])


def test_a_conversation_with_a_tool_goes_round(lab: Lab) -> None:
    """The model calls, the client answers, the model speaks: two requests, over real sockets."""
    fake = follow(lab, INSTANT)
    asked = {"role": "user", "content": "What is the weather in Oslo?"}

    call = lab.stream(messages=[asked], tools=[WEATHER])
    used = call.trace.last("tool")
    assert used is not None
    assert (call.stop_reason, used.value["name"], "city" in used.value["input"]) == ("tool_use", "weather", True)
    assert used.value["tool_id"].startswith("toolu_")
    turn = {"type": "tool_use", "id": used.value["tool_id"], **{name: used.value[name] for name in ("name", "input")}}
    result = {"type": "tool_result", "tool_use_id": turn["id"], "content": "Rain, 7 degrees"}
    said = [asked, {"role": "assistant", "content": [turn]}, {"role": "user", "content": [result]}]
    answer = lab.stream(messages=said, tools=[WEATHER])

    assert answer.text == "The tool answered: Rain, 7 degrees."
    assert fake.requests[1].body["messages"] == said


LONG = "Rules of the house. " * 700


def test_a_cached_prompt_is_told_at_the_start(lab: Lab) -> None:
    """`cache` marks the system prompt and the last turn; the second answer's `start` says what was read."""
    fake = follow(lab, INSTANT)

    first = lab.stream("One", system=LONG, cache="5m").trace.last("start")
    second = lab.stream("Two", system=LONG, cache="5m")
    start = second.trace.last("start")

    assert first is not None
    assert start is not None
    assert (first.value["cached"], start.value["cached"]) == (False, True)
    assert start.value["usage"]["cache_read_input_tokens"] > 2000
    assert second.cost == pytest.approx(cost(MODEL, second.usage))
    assert fake.requests[0].body["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "5m"}


def test_reading_from_the_cache_is_cheaper(lab: Lab) -> None:
    """The same question costs less once its prompt is remembered."""
    follow(lab, Scenario(voice=Voice(TEXT, thinking=False), pace="instant", seed=1))

    costs = [lab.stream("Again", system="Other r" + LONG, cache="1h").cost for _ in range(2)]

    assert costs[0] is not None
    assert costs[1] is not None
    assert costs[1] < costs[0] / 2


def test_breakpoints_are_set_where_they_can_be() -> None:
    """On a text, on the last of several blocks, on a tool's result; never on thinking, nor in what is no turn."""
    mark = {"type": "ephemeral", "ttl": "1h"}
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    thought = {"type": "thinking", "thinking": "hm", "signature": "x"}

    def last(content: Any) -> Any:
        return marked({"messages": [HI, {"role": "user", "content": content}]}, "1h")["messages"][-1]["content"]

    assert last("b") == [{"type": "text", "text": "b", "cache_control": mark}]
    assert last(blocks) == [blocks[0], {**blocks[1], "cache_control": mark}]
    assert last([thought]) == [thought]
    assert last(7) == 7
    assert "cache_control" not in blocks[1]


def test_the_breakpoints_of_a_request_are_bounded() -> None:
    """Four are allowed; the fifth is refused with the count."""
    block = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}

    assert refusal({"messages": [{"role": "user", "content": [block] * 4}]}) is None
    assert "Found 5" in (refusal({"messages": [{"role": "user", "content": [block] * 5}]}) or "")


def test_a_run_knows_its_cost(lab: Lab) -> None:
    """In dollars, as its usage says; None for a model whose price nobody knows."""
    follow(lab, INSTANT)

    run = lab.stream("Hello")
    unpriced = lab.stream("Hello", model="claude-mythos-5-2")

    assert run.cost == pytest.approx(cost(MODEL, run.usage))
    assert f"${run.cost:.6f}" in repr(run)
    assert unpriced.status == "complete"
    assert unpriced.cost is None


def test_under_a_ceiling_a_model_needs_a_price(lab: Lab) -> None:
    """What cannot be priced cannot be kept under a ceiling: 422, and nothing is sent."""
    fake = follow(lab, INSTANT)
    app = create_app(lab.settings, policy=RetryPolicy(), ledger=Ledger(1.0))
    with serve(app, protocol=TransportProtocol) as served:
        body = {"message": "Hi", "model": "claude-mythos-5-2"}
        response = httpx.post(f"{served.url}/chat/stream", json=body, trust_env=False)

    assert (response.status_code, "no price for 'claude-mythos-5-2'" in response.text) == (422, True)
    assert len(fake.journal) == 0


def test_a_lab_mends_what_breaks(lab: Lab) -> None:
    """`Lab(recovery="continue")`: the run is whole, says how often it was asked, and what was billed twice."""
    fake = follow(
        lab, Scenario(faults=[faults.Drop(after=8)], voice=Voice(TEXT, thinking=False), pace=Pace(0, 0.002, 0, 0))
    )

    run = lab.stream("Hello")

    done = run.trace.last("done")
    assert (run.text, run.status, run.attempts) == (TEXT, "complete", 2)
    assert done is not None
    assert (done.value["recoveries"], done.value["billed_twice"]["input_tokens"] > 0) == (1, True)
    assert len(fake.journal) == 2


def test_an_unknown_recovery_is_refused() -> None:
    """A word for it that nobody knows is one clear error."""
    with pytest.raises(ValueError, match="recovery='again'"):
        Lab(recovery="again")  # type: ignore[arg-type]


def test_the_documented_round_runs() -> None:
    """The code in docs/conversations.md does what it says: a call, its answer, the last word, and its cost."""
    text = (Path(__file__).parents[1] / "docs" / "conversations.md").read_text("utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}

    exec(compile(code, "docs/conversations.md", "exec"), names)
    with names["lab"]:
        assert names["run"].text == "The tool answered: Rain, 7 degrees."
        assert names["run"].cost > 0
        assert [turn["role"] for turn in names["said"]] == ["user", "assistant", "user"]
