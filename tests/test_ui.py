"""`POST /chat/ui` read by the real `useChat` of the npm package `ai`, versions 6 and 7, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import need, soon
from node_program import NodeProgram
from pydantic import SecretStr
from redis_server import redis_server
from test_server import ANSWER, INSTANT, PLAIN, PREFIX, Bench, bench

from claude_lab import faults
from claude_lab.pacing import Pace
from claude_lab.proxy import Cut, Proxy, Route, Rule
from claude_lab.replies import Voice
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario

HERE = Path(__file__).parent / "ui"
STEADY = Pace(0.0, 0.002, 0.0, 0.0)
LONG = ". ".join(f"{ANSWER} Number {number} 🌊" for number in range(6))
SLOW = Scenario(voice=Voice(LONG, thinking=False), pace=STEADY)
SLOWER = Scenario(voice=Voice(LONG, thinking=False), pace=Pace(0.0, 0.1, 0.0, 0.0))
WEATHER = {"name": "weather", "description": "Tells it.", "input_schema": {"type": "object", "properties": {}}}
CUT = "The network cut the answer before its end."


class Driver(NodeProgram):
    """A Node.js process with the real `useChat` of one version, which plays one scenario at a time."""

    def __init__(self, node: str, version: int, url: str) -> None:
        self.version = version
        super().__init__(node, str(HERE / "use_chat.mjs"), str(version), url, NODE_ENV="production")
        self.count = 0

    def play(self, api: str, play: str = "ask", **job: Any) -> dict[str, Any]:
        """Play a scenario in a chat of its own and return what the page showed and heard."""
        self.count += 1
        chat = f"chat {self.version}/{self.count}"
        line = {"api": api, "chat": chat, "play": play, "texts": ["Hello"], **job}
        told = self.tell(line)
        assert "failed" not in told, told["failed"]
        return told


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    """One bench for the module."""
    with bench() as made:
        yield made


@pytest.fixture(scope="module")
def proxy(shared: Bench) -> Iterator[Proxy]:
    """A hop between the page and the server, which breaks as it is told."""
    with Proxy(shared.served.url) as made:
        yield made


@pytest.fixture(scope="module", params=[6, 7])
def page(request: pytest.FixtureRequest, shared: Bench) -> Iterator[Driver]:
    """The two versions: 6 on the Node.js that is installed, 7 on the one from npm."""
    node22 = need(str(HERE / "node_modules" / "node" / "bin" / "node"))
    driver = Driver(need("node") if request.param == 6 else node22, request.param, shared.served.url + PREFIX)
    yield driver
    driver.close()


def api(shared: Bench) -> str:
    """Where the page asks."""
    return f"{shared.served.url}{PREFIX}/chat/ui"


def broken(proxy: Proxy, how: str, after_bytes: int, **rule: Any) -> str:
    """Let the hop break every answer after so many bytes; return where the page asks."""
    upstream = proxy.routes[""].upstream
    proxy.routes[""] = Route(upstream, Rule(**rule), Cut(after_bytes, how))  # type: ignore[arg-type]  # a test's words
    return f"{proxy.url}{PREFIX}/chat/ui"


@contextmanager
def another_way_back(proxy: Proxy, at: str) -> Iterator[str]:
    """Let who comes back pass unharmed."""
    there = f"{PREFIX}/chat/ui/"
    proxy.routes[there] = Route(proxy.routes[""].upstream + there)
    try:
        yield at
    finally:
        del proxy.routes[there]


def kinds(told: dict[str, Any]) -> list[str]:
    """The types of the last message's parts."""
    return [part["type"] for part in told["messages"][-1]["parts"]]


def whole(told: dict[str, Any], text: str = ANSWER) -> bool:
    """Whether a page shows this whole answer and says it is done, in all the ways it has."""
    last = told["messages"][-1]
    (finish,) = told["finishes"][-1:]
    return (
        (told["status"], told["error"], told["texts"][-1], last["metadata"]["complete"])
        == ("ready", None, text, True)
        and not (finish["isAbort"] or finish["isError"] or finish["isDisconnect"])
        and finish["finishReason"] is not None
    )  # fmt: skip


def test_a_text_arrives_whole(shared: Bench, page: Driver) -> None:
    """The answer is on screen, ready, with the run, the usage and the reason of its end as metadata."""
    shared.follow(INSTANT)

    told = page.play(api(shared))

    metadata = told["messages"][-1]["metadata"]
    assert whole(told)
    assert kinds(told) == ["step-start", "text"]
    assert told["messages"][-1]["id"] == metadata["run"]
    assert (told["finishes"][0]["finishReason"], metadata["stop_reason"]) == ("stop", "end_turn")
    assert metadata["usage"]["output_tokens"] > 0


def test_thinking_is_a_part_of_its_own(shared: Bench, page: Driver) -> None:
    """What a model thinks comes as reasoning before the text, and is done."""
    shared.follow(Scenario(voice=Voice(ANSWER, thinking=True), pace="instant"))

    told = page.play(api(shared))

    assert whole(told)
    assert kinds(told) == ["step-start", "reasoning", "text"]
    assert {part["state"] for part in told["messages"][-1]["parts"][1:]} == {"done"}


def test_a_long_answer_arrives_whole(shared: Bench, page: Driver) -> None:
    """Thousands of deltas: none is lost, none comes twice."""
    answer = ANSWER * 200
    shared.follow(Scenario(voice=Voice(answer, thinking=False), pace="instant"))

    assert whole(page.play(api(shared), body={"max_tokens": 20_000}), answer)


@pytest.mark.parametrize("fetched_whole", [False, True])
def test_every_byte_may_come_alone(shared: Bench, page: Driver, fetched_whole: bool) -> None:
    """Emoji, flags, right-to-left text and U+2028 survive a network that cuts between any two bytes."""
    answer = "naïve 🌊 👩‍👩‍👧 🇺🇳 שלום \u2028 e\u0301 \ud7ff 漢字"
    shared.follow(Scenario(voice=Voice(answer, thinking=False), pace="instant"))

    assert whole(page.play(api(shared), split=True, whole=fetched_whole), answer)


def test_an_answer_may_be_empty(shared: Bench, page: Driver) -> None:
    """No text at all, and yet complete: the page can tell it from a cut."""
    shared.follow(Scenario(voice=Voice("", thinking=False), pace="instant"))

    assert whole(page.play(api(shared)), "")


def test_an_answer_that_ran_out_of_tokens_says_so(shared: Bench, page: Driver) -> None:
    """The reason is `length`; the page's own fields reach the API."""
    shared.follow(INSTANT)

    told = page.play(api(shared), body={"max_tokens": 3})

    assert shared.fake.journal[0].body["max_tokens"] == 3
    assert (told["status"], told["finishes"][0]["finishReason"]) == ("ready", "length")


def test_a_conversation_keeps_its_history_and_its_system_prompt(shared: Bench, page: Driver) -> None:
    """The second question goes upstream with the first, with its answer, and with the system message."""
    shared.follow(INSTANT)
    system = {"id": "s", "role": "system", "parts": [{"type": "text", "text": "Be brief."}]}

    told = page.play(api(shared), texts=["One?", "Two?"], messages=[system])

    sent = shared.fake.journal[1].body
    assert whole(told)
    assert sent["system"] == "Be brief."
    assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant", "user"]
    assert [turn["content"][0]["text"] for turn in sent["messages"]] == ["One?", ANSWER, "Two?"]


def test_a_tool_is_called_and_its_result_goes_back(shared: Bench, page: Driver) -> None:
    """The page runs the tool; call and result go upstream, and the answer to them is in the same message."""
    shared.follow(INSTANT)

    told = page.play(api(shared), texts=["weather"], results="Rain.", body={"tools": [WEATHER]})

    first, second = (entry.body["messages"] for entry in shared.fake.journal)
    call, result = second[1]["content"][0], second[2]["content"][0]
    assert len(first) == 1
    assert (call["name"], result["content"], result["tool_use_id"]) == ("weather", "Rain.", call["id"])
    assert [finish["finishReason"] for finish in told["finishes"]] == ["tool-calls", "stop"]
    assert told["calls"] == [call["id"]]
    assert kinds(told) == ["step-start", "tool-weather", "step-start", "text"]
    assert whole(told, "The tool answered: Rain..")


@pytest.mark.parametrize(
    ("fault", "status", "sentence"),
    [
        (faults.RateLimited(retry_after=7), 429, "rate limit"),
        (faults.Overloaded(), 503, "Overloaded"),
        (faults.Unauthorized(), 502, ""),
        (faults.Empty(), 502, ""),
    ],
    ids=["429", "529", "401", "empty"],
)
def test_a_failure_before_the_answer_is_a_status_and_a_sentence(
    shared: Bench, page: Driver, fault: faults.Fault, status: int, sentence: str
) -> None:
    """`useChat` shows the sentence, not a piece of JSON; the status is honest."""
    shared.follow(Scenario(faults=[fault] * 2, pace="instant"))
    question = {"id": "c", "messages": [{"role": "user", "parts": [{"type": "text", "text": "Hi"}]}]}

    told = page.play(api(shared))
    raw = shared.http.post("/chat/ui", json=question)

    assert (told["status"], told["error"]["message"]) == ("error", raw.text)
    assert (raw.status_code, raw.headers["content-type"]) == (status, "text/plain; charset=utf-8")
    assert sentence.lower() in raw.text.lower()
    assert raw.text[:1] not in ("", "{")


@pytest.mark.parametrize("fetched_whole", [False, True])
@pytest.mark.parametrize(
    "fault",
    [faults.StreamError(after=2), faults.Truncate(after=2), faults.Drop(after=2), faults.Reset(after=2)],
    ids=["error", "truncated", "closed", "reset"],
)
def test_an_upstream_that_breaks_is_an_error_on_the_page(
    shared: Bench, page: Driver, fault: faults.Fault, fetched_whole: bool
) -> None:
    """What came stays on screen, the state is `error`, and the metadata tells its kind; it never looks complete."""
    shared.follow(Scenario(faults=[fault], voice=PLAIN, pace=Pace(0.0, 0.02, 0.0, 0.0)))

    told = page.play(api(shared), whole=fetched_whole)

    metadata = told["messages"][-1]["metadata"]
    assert (told["status"], told["finishes"][-1]["isError"], metadata["complete"]) == ("error", True, False)
    assert metadata["error"] in ("overloaded", "truncated", "network_error")
    assert told["error"]["message"]
    assert ANSWER.startswith(told["texts"][-1])
    assert told["texts"][-1]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_cut_on_the_way_is_an_error_on_a_bare_page(shared: Bench, proxy: Proxy, page: Driver, how: str) -> None:
    """FIN or RST inside a chunked body: the fetch fails, and the page says `error` with half a text."""
    shared.follow(SLOW)

    told = page.play(broken(proxy, how, 1500))

    assert (told["status"], told["finishes"][-1]["isError"]) == ("error", True)
    assert LONG.startswith(told["texts"][-1])
    assert 0 < len(told["texts"][-1]) < len(LONG)
    assert told["messages"][-1]["metadata"]["complete"] is False


def test_a_clean_looking_cut_can_be_told_on_a_bare_page(shared: Bench, proxy: Proxy, page: Driver) -> None:
    """A hop that ends bodies with the connection hides a cut from `fetch`: bare `useChat` says `ready`.

    It is no secret to who looks: no reason of its end, `complete` is not true, and the text is still `streaming`.
    """
    shared.follow(SLOW)

    told = page.play(broken(proxy, "close", 1500, chunked=False))

    last = told["messages"][-1]
    assert (told["status"], told["error"]) == ("ready", None)
    assert 0 < len(told["texts"][-1]) < len(LONG)
    assert told["finishes"][-1]["finishReason"] is None
    assert (last["metadata"]["complete"], last["parts"][-1]["state"]) == (False, "streaming")


@pytest.mark.parametrize(("how", "chunked"), [("close", True), ("reset", True), ("close", False)])
def test_the_whole_fetch_heals_cuts(shared: Bench, proxy: Proxy, page: Driver, how: str, chunked: bool) -> None:
    """Every connection is cut after so many bytes, and yet the answer is whole, asked for once, with nothing twice."""
    shared.follow(SLOW, orphan_grace=5.0)
    proxy.passages.clear()

    told = page.play(broken(proxy, how, 1200, chunked=chunked), whole=True)

    assert whole(told, LONG)
    assert len(shared.fake.journal) == 1
    assert [each.ended for each in proxy.passages][:3] == ["cut"] * 3


@pytest.mark.parametrize("after_bytes", [420, 600, 900])
def test_the_whole_fetch_heals_a_cut_in_the_first_events(
    shared: Bench, proxy: Proxy, page: Driver, after_bytes: int
) -> None:
    """Before any event was whole it has no id to go back with, and is sent everything: still nothing comes twice."""
    shared.follow(SLOW, orphan_grace=5.0)

    with another_way_back(proxy, broken(proxy, "close", after_bytes)) as at:
        told = page.play(at, whole=True)

    assert whole(told, LONG)
    assert len(shared.fake.journal) == 1


@pytest.mark.parametrize(("how", "chunked"), [("close", True), ("reset", True), ("close", False)])
def test_the_whole_fetch_gives_up_loudly(shared: Bench, proxy: Proxy, page: Driver, how: str, chunked: bool) -> None:
    """Where the rest cannot be had, because the run is gone, every cut is an error: never `ready` with half a text."""
    shared.follow(SLOW, orphan_grace=0.0)

    told = page.play(broken(proxy, how, 1500, chunked=chunked), whole=True)

    assert told["status"] == "error"
    assert told["texts"][-1] != LONG
    assert told["messages"][-1]["metadata"]["complete"] is False


def text_block(*words: str) -> dict[str, Any]:
    """A block of text that comes in these words."""
    return {"type": "text", "text": "", "deltas": [{"type": "text_delta", "text": word} for word in words]}


def thought_block(*words: str) -> dict[str, Any]:
    """A block of thinking that comes in these words."""
    deltas = [{"type": "thinking_delta", "thinking": word} for word in words]
    return {"type": "thinking", "thinking": "", "signature": "", "deltas": deltas}


def tool_block(*pieces: str) -> dict[str, Any]:
    """A call whose input comes in these pieces of JSON."""
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}, "deltas": deltas}


def raw_answer(*blocks: dict[str, Any], stop_reason: str) -> faults.Raw:
    """An upstream's answer of these blocks."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": []}
    told = message | {"stop_reason": None, "usage": {"input_tokens": 3, "output_tokens": 1}}
    said: list[dict[str, Any]] = [{"type": "message_start", "message": told}]
    for index, block in enumerate(blocks):
        deltas = block.pop("deltas")
        said.append({"type": "content_block_start", "index": index, "content_block": block})
        said.extend({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
        said.append({"type": "content_block_stop", "index": index})
    said.append({"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": {"output_tokens": 9}})
    said.append({"type": "message_stop"})
    chunks = tuple(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in said)
    return faults.Raw(headers={"content-type": "text/event-stream"}, chunks=chunks)


def test_several_blocks_are_several_parts(shared: Bench, page: Driver) -> None:
    """Text, thinking, more text and a tool call stand on the page in their order."""
    blocks = [
        text_block("Let me ", "see. "),
        thought_block("Hm."),
        text_block("So", "?"),
        tool_block('{"in', '": "Oslo"}'),
    ]
    shared.follow(Scenario(faults=[raw_answer(*blocks, stop_reason="tool_use")]))

    told = page.play(api(shared))

    assert whole(told, "Let me see. So?")
    assert kinds(told) == ["step-start", "text", "reasoning", "text", "tool-weather"]
    assert told["messages"][-1]["parts"][-1]["input"] == {"in": "Oslo"}


def test_a_retry_is_told_while_the_page_waits(shared: Bench, page: Driver) -> None:
    """The page hears of it as `data-retry`; then the answer comes, and nothing of the retry stays in the message."""
    policy = RetryPolicy(max_retries=2, base_delay=0.1, jitter="none")
    shared.follow(Scenario(faults=[faults.Overloaded()], voice=PLAIN, pace="instant"), policy, grace=0.02)

    told = page.play(api(shared))

    assert whole(told)
    assert [(each["type"], each["data"]["error"]) for each in told["data"]] == [("data-retry", "overloaded")]
    assert kinds(told) == ["step-start", "text"]


def test_a_slow_start_is_waited_for(shared: Bench, page: Driver) -> None:
    """Heartbeats keep the connection; the page ignores them."""
    slow = Pace(0.4, 0.0, 0.0, 0.0)
    shared.follow(Scenario(voice=PLAIN, pace=slow), grace=0.05, heartbeat=0.05)

    assert whole(page.play(api(shared)))
    assert whole(page.play(api(shared), whole=True))


@pytest.mark.parametrize("fetched_whole", [False, True])
def test_stop_on_the_page_stops_the_spending(shared: Bench, page: Driver, fetched_whole: bool) -> None:
    """The page knows that it stopped (`isAbort`); the upstream is left."""
    shared.follow(SLOWER)

    told = page.play(api(shared), "stop", after=20, whole=fetched_whole)

    assert (told["status"], told["finishes"][-1]["isAbort"]) == ("ready", True)
    assert 20 <= len(told["texts"][-1]) < len(LONG)
    assert soon(lambda: shared.fake.journal[0].ended == "client left")


@pytest.mark.parametrize("fetched_whole", [False, True])
def test_a_run_stopped_elsewhere_is_an_error_on_the_page(shared: Bench, page: Driver, fetched_whole: bool) -> None:
    """Nobody pressed Stop here, so half a text must not look like an answer."""
    shared.follow(SLOWER)

    told = page.play(api(shared), "stop", after=20, remote=True, whole=fetched_whole)

    metadata = told["messages"][-1]["metadata"]
    assert (told["status"], told["error"]["message"]) == ("error", "The answer was stopped before its end.")
    assert (metadata["stop_reason"], metadata["complete"]) == ("stopped", False)
    assert soon(lambda: shared.fake.journal[0].ended == "client left")


@pytest.mark.parametrize("fetched_whole", [False, True])
@pytest.mark.parametrize("kept", [False, True])
def test_a_page_that_is_loaded_anew_has_it_all(shared: Bench, page: Driver, kept: bool, fetched_whole: bool) -> None:
    """With `resume` it shows the answer from its first word on, once, whether it had kept the first half or not."""
    shared.follow(SLOW, orphan_grace=5.0)

    told = page.play(api(shared), "reload", after=30, keep=kept, whole=fetched_whole)

    assert whole(told, LONG)
    assert told["texts"] == ["Hello", LONG]
    assert len(shared.fake.journal) == 1


def test_a_page_loaded_anew_in_the_middle_of_a_tool_turn_keeps_the_call(shared: Bench, page: Driver) -> None:
    """The message is built again with the call and its result before the answer, and the tool is not run again."""
    shared.follow(Scenario(voice=PLAIN, pace=Pace(0.0, 0.02, 0.0, 0.0)), orphan_grace=5.0)

    told = page.play(
        api(shared), "reload", texts=["weather"], after=5, keep=True, results="Rain in Oslo.", body={"tools": [WEATHER]}
    )

    assert whole(told, "The tool answered: Rain in Oslo..")
    assert kinds(told) == ["step-start", "tool-weather", "step-start", "text"]
    assert told["messages"][-1]["parts"][1]["output"] == "Rain in Oslo."
    assert [len(told["messages"]), len(shared.fake.journal), told["calls"]] == [2, 2, []]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_page_that_was_cut_resumes_by_hand(shared: Bench, proxy: Proxy, page: Driver, how: str) -> None:
    """`resumeStream()` after the error shows the whole answer, once; that is what bare `useChat` can do."""
    shared.follow(SLOW, orphan_grace=5.0)

    with another_way_back(proxy, broken(proxy, how, 1500)) as at:
        told = page.play(at, "resume")

    assert told["broken"]["status"] == "error"
    assert len(told["broken"]["texts"][-1]) < len(LONG)
    assert whole(told, LONG)
    assert told["texts"] == ["Hello", LONG]


def test_where_there_is_nothing_to_resume_the_page_is_ready(shared: Bench, page: Driver) -> None:
    """A chat that never asked is answered 204."""
    told = page.play(api(shared), "idle", whole=True)

    assert (told["status"], told["error"], told["messages"]) == ("ready", None, [])


def begun_anew(shared: Bench, recovery: str, *, overlap: int = 0) -> None:
    """Let the upstream break off once in the middle of a text, and the server mend that."""
    voice = Voice(LONG, thinking=False, overlap=overlap)
    scenario = Scenario(faults=[faults.Drop(after=20)], voice=voice, pace=Pace(0.0, 0.005, 0.0, 0.0))
    shared.follow(
        scenario, RetryPolicy(max_retries=2, base_delay=0.01, jitter="none"), recovery=recovery, orphan_grace=5
    )


@pytest.mark.parametrize("fetched_whole", [False, True])
def test_what_is_void_is_marked_for_version_6(shared: Bench, page: Driver, fetched_whole: bool) -> None:
    """It cannot be taken off the page; it is marked, and with one condition where texts are drawn the page is right."""
    begun_anew(shared, "restart")

    told = page.play(api(shared), whole=fetched_whole)

    last = told["messages"][-1]
    valid = [part for part in last["parts"] if "text" in part and not part.get("providerMetadata")]
    assert (told["status"], last["metadata"]["complete"]) == ("ready", True)
    assert [part["text"] for part in valid] == [LONG]
    assert kinds(told) == ["step-start", "text", "text"]
    assert [each["data"]["keep_chars"] for each in told["data"] if each["type"] == "data-reset"] == [0]


def test_what_is_void_is_gone_in_version_7(shared: Bench, page: Driver) -> None:
    """A page that says `?ai=7` hears of it as `reset-step`; version 6 would not know the part, and says so aloud."""
    begun_anew(shared, "restart")

    told = page.play(f"{api(shared)}?ai=7")

    if page.version == 7:
        assert whole(told, LONG)
        assert kinds(told) == ["step-start", "text"]
    else:
        assert (told["status"], told["error"]["name"]) == ("error", "AI_TypeValidationError")


@pytest.mark.parametrize("overlap", [0, 12])
def test_a_seam_leaves_the_right_text(shared: Bench, page: Driver, overlap: int) -> None:
    """An answer that was continued reads as one, whatever was said twice at the seam."""
    begun_anew(shared, "continue", overlap=overlap)

    told = page.play(f"{api(shared)}?ai={page.version}")

    valid = [part for part in told["messages"][-1]["parts"] if "text" in part and not part.get("providerMetadata")]
    assert (told["status"], "".join(part["text"] for part in valid)) == ("ready", LONG)
    assert told["messages"][-1]["metadata"]["complete"] is True
    assert [each["type"] for each in told["data"]][-1] == "data-reset"


def test_who_comes_late_never_sees_what_is_void(shared: Bench, page: Driver) -> None:
    """A page that is loaded anew after the restart is built from what is valid alone, in version 6 too."""
    begun_anew(shared, "restart")

    told = page.play(api(shared), "reload", after=len(LONG) // 2)

    assert whole(told, LONG)
    assert kinds(told) == ["step-start", "text"]


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    """A real Redis of the module's own."""
    with redis_server() as url:
        yield url


@pytest.mark.parametrize("fetched_whole", [False, True])
def test_a_page_may_come_back_to_another_worker(redis: str, page: Driver, fetched_whole: bool) -> None:
    """The workers share their chats as they share their runs: the answer is whole, and was asked for once."""
    with bench(redis_url=SecretStr(redis)) as one, bench(redis_url=SecretStr(redis)) as other:
        for each in (one, other):
            each.follow(SLOW, orphan_grace=5.0)

        told = page.play(api(one), "reload", after=30, back=api(other), whole=fetched_whole)

        assert whole(told, LONG)
        assert [len(one.fake.journal), len(other.fake.journal)] == [1, 0]
