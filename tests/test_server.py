"""The server over real sockets: a fake upstream, the real app, httpx in front."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from conftest import soon
from pydantic import SecretStr
from starlette.routing import Match

from claude_lab import faults, page
from claude_lab.background import Served, TransportProtocol, serve
from claude_lab.fake import FakeClaude
from claude_lab.faults import Fault
from claude_lab.pacing import Pace
from claude_lab.replies import Voice
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.server import create_app
from claude_lab.settings import Settings

CANARY = "sk-ant-canary-4711"
PREFIX = "/unguessable"
ANSWER = "One two three four five six seven eight nine ten; naïve 🌊."
PLAIN = Voice(ANSWER, thinking=False)
HI = {"type": "text", "text": "Hi"}
INSTANT = Scenario(voice=PLAIN, pace="instant")
SLOW = Scenario(voice=Voice(ANSWER * 20, thinking=False), pace=Pace(0.0, 0.05, 0.0, 0.0))
ONCE = RetryPolicy(max_retries=0)
AGAIN = RetryPolicy(max_retries=2, base_delay=0.01, jitter="none")


class Bench:
    """A fake, a server before it, and a client of the server."""

    def __init__(self, fake: FakeClaude, served: Served, relay: Any, http: httpx.Client) -> None:
        self.fake, self.served, self.relay, self.http = fake, served, relay, http

    def follow(self, scenario: Scenario, policy: RetryPolicy = ONCE, **changes: Any) -> None:
        """Begin anew: another scenario and policy, an empty journal, settings as they were but for `changes`."""
        self.fake.put(scenario)
        self.fake.journal.clear()
        self.relay.policy = policy
        usual = {"grace": 30.0, "orphan_grace": 0.0, "recovery": "fail", "heartbeat": 15.0, "idle_timeout": 10.0}
        self.relay.settings = self.relay.settings.model_copy(update=usual | changes)

    def ask(self, message: str = "Hello", **fields: Any) -> httpx.Response:
        """Ask and read the whole response."""
        return self.http.post("/chat/stream", json={"message": message, **fields})


@contextmanager
def bench(**options: Any) -> Iterator[Bench]:
    """Serve an app with these settings before a fake."""
    with FakeClaude(INSTANT) as fake:
        settings = Settings(
            api_key=SecretStr(CANARY),
            base_url=fake.url,
            orphan_grace=0.0,
            **{"token": None, "base_delay": 0.01, **options},
        )
        app = create_app(settings, policy=ONCE, prefix=PREFIX)
        with serve(app, protocol=TransportProtocol) as served:
            with httpx.Client(base_url=served.url + PREFIX, trust_env=False, timeout=10) as http:
                yield Bench(fake, served, app.relay, http)


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    """One bench for the module."""
    with bench() as made:
        yield made


def blocks(body: str) -> list[str]:
    """Return a body's blocks."""
    return [block for block in body.split("\n\n") if block]


def frames(body: str) -> list[dict[str, Any]]:
    """Return a body's frames, read as the article's browser client does."""
    return [json.loads(block[6:]) for block in blocks(body) if block.startswith("data:")]


def text_of(body: str) -> str:
    """Return the text of a body's deltas."""
    return "".join(frame["text"] for frame in frames(body) if frame["type"] == "delta")


def test_an_answer_is_start_deltas_and_done(shared: Bench) -> None:
    """The body begins with `: ok`; frames alternate with their ids, count from 1, and hold the whole answer."""
    shared.follow(INSTANT)

    response = shared.ask()

    first, *rest = blocks(response.text)
    got = frames(response.text)
    assert (response.status_code, first) == (200, ": ok")
    assert rest[1::2] == [f"id: 1-{number}" for number in range(1, len(got) + 1)]
    assert [frame["id"] for frame in got] == [block.removeprefix("id: ") for block in rest[1::2]]
    assert {frame["type"] for frame in got[1:-1]} == {"delta"}
    assert (got[0]["type"], got[-1]["type"], got[-1]["stop_reason"]) == ("start", "done", "end_turn")
    assert got[0]["run"] == response.headers["x-claude-lab-run"]
    assert got[-1]["usage"]["output_tokens"] > 0
    assert text_of(response.text) == ANSWER


def test_the_headers_say_stream_and_nothing_of_the_hop(shared: Bench) -> None:
    """Type, no buffering, no cache and no transformation; no `Connection`, which is not the app's."""
    shared.follow(INSTANT)

    headers = shared.ask().headers

    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (headers["x-accel-buffering"], headers["cache-control"]) == ("no", "no-cache, no-transform")
    assert "connection" not in headers


def test_thinking_has_frames_of_its_own(shared: Bench) -> None:
    """What a model thinks is told apart from what it answers."""
    shared.follow(Scenario(voice=Voice(ANSWER, thinking=True), pace="instant"))

    response = shared.ask()

    kinds = [frame["type"] for frame in frames(response.text)]
    assert "thinking" in kinds
    assert kinds.index("thinking") < kinds.index("delta")
    assert text_of(response.text) == ANSWER


def test_a_conversation_goes_upstream_as_it_is(shared: Bench) -> None:
    """`messages`, then `message`, `system`, `model` and `max_tokens` reach the API."""
    shared.follow(INSTANT)
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]

    shared.ask("And?", messages=said, system="Be brief.", max_tokens=77)

    entry = shared.fake.journal.assert_called(1)[0]
    assert entry.body["messages"] == [*said, {"role": "user", "content": "And?"}]
    assert (entry.body["system"], entry.body["max_tokens"], entry.body["stream"]) == ("Be brief.", 77, True)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": ""}, "message is empty"),
        ({"message": " \n\t"}, "message is empty"),
        ({}, "message is empty"),
        ({"messages": []}, "message is empty"),
        ({"message": "Hi", "max_tokens": 0}, "greater than or equal to 1"),
        ({"message": "Hi", "max_tokens": 10**9}, "less than or equal to"),
        ({"message": "Hi", "max_tokens": "many"}, "integer"),
        ({"message": "Hi", "max_tokens": "12"}, "integer"),
        ({"message": "Hi", "max_tokens": True}, "integer"),
        ({"message": 7}, "string"),
        ({"message": "Hi", "temprature": 1}, "temprature"),
        (["Hi"], "dict"),
        ("Hi", "dict"),
    ],
)
def test_what_cannot_be_asked_is_422_and_nothing_is_sent(shared: Bench, body: Any, said: str) -> None:
    """The answer says what is wrong, and the upstream was never asked."""
    shared.follow(INSTANT)

    response = shared.http.post("/chat/stream", json=body)

    assert response.status_code == 422
    assert said in response.text
    assert len(shared.fake.journal) == 0


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"message": ', "application/json", 422),
        (b"\xff\xfe", "application/json", 422),
        (b'{"message": "Hi"}', "text/plain", 415),
        (b"message=Hi", "application/x-www-form-urlencoded", 415),
        (b'{"message": "Hi"}', None, 415),
    ],
)
def test_a_body_that_is_no_json_is_refused(shared: Bench, body: bytes, kind: str | None, status: int) -> None:
    """Broken JSON is 422, another content type 415; nothing is sent upstream."""
    shared.follow(INSTANT)

    response = shared.http.post("/chat/stream", content=body, headers={"content-type": kind} if kind else {})

    assert response.status_code == status
    assert response.json()["detail"]
    assert len(shared.fake.journal) == 0


@pytest.mark.parametrize(
    ("fault", "status", "error", "after"),
    [
        (faults.RateLimited(retry_after=7), 429, "rate_limit", "7"),
        (faults.RateLimited(retry_after_ms=1200), 429, "rate_limit", "2"),
        (faults.RateLimited(), 429, "rate_limit", None),
        (faults.Overloaded(), 503, "overloaded", None),
        (faults.ServerError(), 502, "server_error", None),
        (faults.BadGateway(), 502, "server_error", None),
        (faults.TimedOut(), 504, "timeout", None),
        (faults.Unauthorized(), 502, "auth_error", None),
        (faults.Forbidden(), 502, "auth_error", None),
        (faults.Drop(at="before headers"), 502, "network_error", None),
        (faults.Reset(at="before headers"), 502, "network_error", None),
        (faults.StreamError(at="after headers"), 503, "overloaded", None),
        (faults.Empty(), 502, "truncated", None),
    ],
    ids=str,
)
def test_a_failure_before_the_first_byte_is_an_honest_status(
    shared: Bench, fault: Fault, status: int, error: str, after: str | None
) -> None:
    """The status and Retry-After tell what happened; the body is the one `error` frame."""
    shared.follow(Scenario(faults=[fault], pace="instant"))

    response = shared.ask()

    (frame,) = frames(response.text)
    assert (response.status_code, frame["type"], frame["error"]) == (status, "error", error)
    assert response.headers.get("retry-after") == after
    assert frame["message"]


def test_a_retry_within_the_grace_is_told_in_a_good_stream(shared: Bench) -> None:
    """What a retry cures is status 200, with the `retry` frame before the start; one counter of attempts."""
    shared.follow(Scenario(faults=[faults.Overloaded()], voice=PLAIN, pace="instant"), AGAIN)

    response = shared.ask()

    assert response.status_code == 200
    assert [frame["type"] for frame in frames(response.text)][:3] == ["retry", "start", "delta"]
    assert frames(response.text)[0] == {"type": "retry", "error": "overloaded", "attempt": 1, "wait": 0.01, "id": "1-1"}
    assert text_of(response.text) == ANSWER
    assert [entry.attempt for entry in shared.fake.journal] == [1, 2]


def test_after_the_grace_a_failure_is_told_in_band(shared: Bench) -> None:
    """With the head gone, retries and the final error are frames of a stream with status 200."""
    patient = RetryPolicy(max_retries=2, base_delay=0.1, jitter="none")
    shared.follow(Scenario(faults=[faults.Overloaded()] * 3, pace="instant"), patient, grace=0.05)

    response = shared.ask()

    got = frames(response.text)
    assert response.status_code == 200
    assert blocks(response.text)[0] == ": ok"
    assert [frame["type"] for frame in got] == ["retry", "retry", "error"]
    assert [frame["attempt"] for frame in got[:2]] == [1, 2]
    assert got[2]["error"] == "overloaded"


def test_failed_retries_within_the_grace_are_still_an_honest_status(shared: Bench) -> None:
    """All attempts failed before the grace was over: the last one's status."""
    shared.follow(Scenario(faults=[faults.RateLimited(retry_after_ms=10)] * 3, pace="instant"), AGAIN)

    response = shared.ask()

    assert response.status_code == 429
    assert [frame["type"] for frame in frames(response.text)] == ["retry", "retry", "error"]
    assert len(shared.fake.journal) == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.Drop(after=2), "network_error"),
        (faults.Reset(after=2), "network_error"),
        (faults.Drop(after=2, at="inside a character"), "network_error"),
        (faults.Truncate(after=2), "truncated"),
        (faults.Truncate(at="after message_delta"), "truncated"),
        (faults.StreamError(after=2), "overloaded"),
        (faults.Malformed(after=2), "server_error"),
    ],
    ids=str,
)
def test_a_stream_that_breaks_says_so(shared: Bench, fault: Fault, error: str) -> None:
    """What came is kept, nothing is asked twice, and the last frame is an `error` of that kind; never `done`."""
    shared.follow(Scenario(faults=[fault], voice=PLAIN, pace=Pace(0.0, 0.01, 0.0, 0.0)), AGAIN)

    response = shared.ask()

    got = frames(response.text)
    assert response.status_code == 200
    assert (got[-1]["type"], got[-1]["error"]) == ("error", error)
    assert ANSWER.startswith(text_of(response.text))
    assert text_of(response.text)
    assert "done" not in {frame["type"] for frame in got}
    assert len(shared.fake.journal) == 1


def test_a_silent_upstream_is_given_up_and_pings_do_not_count(shared: Bench) -> None:
    """Content that stays away for `idle_timeout` is a `timeout`, although the socket is kept awake."""
    shared.follow(Scenario(faults=[faults.Stall(after=2, seconds=60, pings=0.05)], pace="instant"), idle_timeout=0.3)

    got = frames(shared.ask().text)

    assert (got[-1]["type"], got[-1]["error"]) == ("error", "timeout")


def test_silence_is_filled_with_comments(shared: Bench) -> None:
    """A heartbeat keeps proxies from giving up, and is no frame; the answer ends well after them."""
    shared.follow(Scenario(faults=[faults.Stall(after=1, seconds=60)], voice=PLAIN, pace="instant"), heartbeat=0.05)
    body = ""
    with shared.http.stream("POST", "/chat/stream", json={"message": "Hi"}) as response:
        for part in response.iter_text():
            body += part
            if blocks(body).count(": ping") >= 3:
                shared.http.delete(f"/chat/stream/{response.headers['x-claude-lab-run']}")

    assert blocks(body).count(": ping") >= 3
    assert [frame["type"] for frame in frames(body)] == ["start", "delta", "done"]
    assert ANSWER.startswith(text_of(body))


def test_a_client_that_leaves_closes_the_upstream_within_a_second(shared: Bench) -> None:
    """With no orphan grace, nobody pays for what nobody reads."""
    shared.follow(SLOW)

    with shared.http.stream("POST", "/chat/stream", json={"message": "Hi"}) as response:
        parts = response.iter_text()
        next(part for part in parts if '"delta"' in part)
        assert shared.fake.journal.open == 1

    assert soon(lambda: shared.fake.journal[0].ended == "client left")
    assert soon(lambda: shared.relay.runs.open == 0)


@pytest.mark.parametrize(("method", "tail"), [("DELETE", ""), ("POST", "/stop")])
def test_a_stop_ends_the_stream_with_done(shared: Bench, method: str, tail: str) -> None:
    """The reader gets `done` with the reason `stopped`, the upstream is closed, and a second stop is fine."""
    shared.follow(SLOW)
    with shared.http.stream("POST", "/chat/stream", json={"message": "Hi"}) as response:
        parts = response.iter_text()
        body = next(part for part in parts if '"delta"' in part)
        path = f"/chat/stream/{response.headers['x-claude-lab-run']}{tail}"
        statuses = [shared.http.request(method, path).status_code for _ in range(2)]
        body += "".join(parts)

    assert statuses == [204, 204]
    assert (frames(body)[-1]["type"], frames(body)[-1]["stop_reason"]) == ("done", "stopped")
    assert soon(lambda: shared.fake.journal[0].ended == "client left")
    assert shared.http.request(method, path).status_code == 204


def test_a_resumed_stream_is_exactly_the_rest(shared: Bench) -> None:
    """From behind any id on come the very bytes that the whole had there; without one, everything."""
    shared.follow(INSTANT)
    whole = shared.ask()
    path = f"/chat/stream/{whole.headers['x-claude-lab-run']}"
    body, got = whole.text.removeprefix(": ok\n\n"), frames(whole.text)

    for frame in got:
        rest = shared.http.get(path, headers={"last-event-id": frame["id"]})
        assert rest.text.removeprefix(": ok\n\n") == body.partition(f"id: {frame['id']}\n\n")[2]
        assert rest.status_code == 200

    assert shared.http.get(path).text == whole.text
    assert len(shared.fake.journal) == 1


def test_two_readers_of_a_running_answer_get_the_same(shared: Bench) -> None:
    """A reader that comes in the middle replays and then follows."""
    shared.follow(Scenario(voice=PLAIN, pace="fast"), orphan_grace=5.0)
    with shared.http.stream("POST", "/chat/stream", json={"message": "Hi"}) as response:
        parts = response.iter_text()
        begun = next(part for part in parts if '"delta"' in part)
        again = shared.http.get(f"/chat/stream/{response.headers['x-claude-lab-run']}").text
        body = begun + "".join(parts)

    assert text_of(again) == text_of(body) == ANSWER


@pytest.mark.parametrize("hostile", ["x", "1-", "2-1", "1-1; DROP", "-1", "1-" + "9" * 200, "0x1-1", "1-1,1-2"])
def test_a_hostile_last_event_id_is_400(shared: Bench, hostile: str) -> None:
    """What is no id of ours is refused in a short sentence, and starts nothing."""
    shared.follow(INSTANT)
    path = f"/chat/stream/{shared.ask().headers['x-claude-lab-run']}"

    response = shared.http.get(path, headers={"last-event-id": hostile})

    assert response.status_code == 400
    assert len(response.json()["detail"]) < 200
    assert len(shared.fake.journal) == 1


def test_an_id_beyond_the_end_waits_for_nothing(shared: Bench) -> None:
    """A place that was never reached is the end of the log."""
    shared.follow(INSTANT)
    path = f"/chat/stream/{shared.ask().headers['x-claude-lab-run']}"

    response = shared.http.get(path, headers={"last-event-id": "1-999999"})

    assert (response.status_code, frames(response.text)) == (200, [])


def test_run_names_are_unique_and_well_formed(shared: Bench) -> None:
    """A client may name its run; a taken or malformed name is 409 and asks nothing; an unknown one is 404."""
    shared.follow(INSTANT)
    name = "named-by-the-client"
    ask = {"json": {"message": "Hi"}}

    statuses = [
        shared.http.post("/chat/stream", **ask, headers={"x-claude-lab-run": run}).status_code
        for run in (name, name, "short", "../" * 10)
    ]

    assert statuses == [200, 409, 409, 409]
    assert len(shared.fake.journal) == 1
    assert {shared.http.request(verb, "/chat/stream/nobody").status_code for verb in ("GET", "DELETE")} == {404}


def test_an_end_without_a_stop_reason_is_no_success(shared: Bench) -> None:
    """The text stays as it came, and the last frame is an `error` of the kind `truncated`; never `done`."""
    message = {"id": "msg_1", "model": "claude-haiku-5-5", "usage": {"input_tokens": 1, "output_tokens": 1}}
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Half"}}
    told = [{"type": "message_start", "message": message}, text, {"type": "message_stop"}]
    chunks = tuple(f"data: {json.dumps(event)}\n\n".encode() for event in told)
    stream = faults.Raw(headers={"content-type": "text/event-stream"}, chunks=chunks, gap=0.02)
    shared.follow(Scenario(faults=[stream]))

    found = frames(shared.ask().text)

    assert [frame["type"] for frame in found] == ["start", "delta", "error"]
    assert found[-1]["error"] == "truncated"


@pytest.mark.parametrize("path", ["/chat/stream", "/chat/ui"])
def test_a_body_beyond_the_api_s_bound_is_not_read_to_its_end(shared: Bench, path: str) -> None:
    """413 with a sentence, also when its length was never told; the upstream is not asked."""
    shared.follow(INSTANT)
    chunk, told = b" " * 2**20, {"content-type": "application/json"}

    response = shared.http.post(path, content=(chunk for _ in range(33)), headers=told)

    assert response.status_code == 413
    assert "33554432 bytes" in response.text
    assert len(shared.fake.journal) == 0


ROUTES = [
    ("POST", "/chat/stream"),
    ("GET", "/chat/stream/name-of-some-run-x"),
    ("DELETE", "/chat/stream/name-of-some-run-x"),
    ("POST", "/chat/stream/name-of-some-run-x/stop"),
    ("GET", "/"),
    ("GET", "/chat.css"),
    ("GET", "/chat.js"),
    ("GET", "/reader.js"),
    ("GET", "/ui.js"),
    ("POST", "/chat/ui"),
    ("GET", "/chat/ui/name-of-some-run-x/stream"),
    ("DELETE", "/chat/ui/name-of-some-run-x/stream"),
    ("GET", "/docs"),
    ("GET", "/docs/oauth2-redirect"),
    ("GET", "/static-offline-docs/swagger-ui.css"),
    ("GET", "/openapi.json"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/_lab/probe?count=1"),
    ("POST", "/_lab/probe?count=1"),
    ("GET", "/nowhere"),
]


START = {
    "type": "message_start",
    "message": {"model": "claude-haiku-5-5", "usage": {"input_tokens": 1, "output_tokens": 1}},
}
MISSHAPEN = {
    "null": [None],
    "a list": [[]],
    "no type": [{}],
    "a start without usage": [{"type": "message_start", "message": {}}],
    "a text of null": [
        START,
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": None}},
    ],
}


@pytest.mark.parametrize("path", ["/chat/stream", "/chat/ui"])
@pytest.mark.parametrize("case", MISSHAPEN)
def test_an_event_of_no_known_shape_is_the_upstreams_error(shared: Bench, case: str, path: str) -> None:
    """It is a server error told in a sentence, on both protocols, and nothing stays open."""
    chunks = tuple(f"data: {json.dumps(event)}\n\n".encode() for event in MISSHAPEN[case])
    raw = faults.Raw(status=200, headers={"content-type": "text/event-stream"}, chunks=chunks)
    shared.follow(Scenario(faults=[raw], pace="instant"))
    asked = {"/chat/stream": {"message": "Hi"}, "/chat/ui": {"id": "c", "messages": [{"role": "user", "parts": [HI]}]}}

    response = shared.http.post(path, json=asked[path])

    assert "The upstream sent an event of a shape" in response.text
    if path == "/chat/stream":
        last = frames(response.text)[-1]
        assert (last["type"], last["error"]) == ("error", "server_error")
    assert shared.relay.runs.open == 0


def test_the_documentation_needs_no_network(shared: Bench) -> None:
    """Whatever the page at `/docs` loads comes from this server, behind its prefix."""
    page = shared.http.get("/docs").text
    loaded = re.findall(r"""(?:href|src)="([^"]+)"|url: '([^']+)'""", page)
    addresses = ["".join(pair) for pair in loaded]

    assert len(addresses) >= 4
    assert all(address.startswith(PREFIX) for address in addresses)
    assert {shared.http.get(shared.served.url + address).status_code for address in addresses} == {200}


@pytest.fixture(scope="module")
def locked() -> Iterator[Bench]:
    """A bench behind a token."""
    with bench(token=SecretStr("right")) as made:
        yield made


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_is_guarded(locked: Bench, method: str, path: str) -> None:
    """Wrong host 400, no prefix 404, no token 401 (but for health and the page), foreign origin 403 on writes."""
    right = {"authorization": "Bearer right"}
    foreign = {"origin": "http://evil.example"}

    def status(headers: dict[str, str], prefix: str = PREFIX) -> int:
        return locked.http.request(method, f"{locked.served.url}{prefix}{path}", headers=headers).status_code

    assert (status(right | {"host": "evil.example"}) == 400) is not path.startswith("/health")
    assert status(right, prefix="") == 404
    assert status(right, prefix=PREFIX[:-1]) == 404
    free = path.startswith("/health") or path in page.PATHS
    assert (status({}) == 401) is not free
    if method != "GET" and not path.endswith("/stop"):
        assert status(right | foreign) == 403
    assert status(right) not in (400, 401, 403, 415)
    assert len(locked.fake.journal) == 0


def test_a_run_is_found_however_the_scheme_is_written(locked: Bench) -> None:
    """`Bearer` when it is made and `bearer` when it is read: it is the token that tells whose run it is."""
    made = locked.http.post("/chat/stream", json={"message": "Hello"}, headers={"authorization": "Bearer right"})
    path = f"/chat/stream/{made.headers['x-claude-lab-run']}"
    again = locked.http.get(path, headers={"authorization": "bearer right"})

    assert (made.status_code, again.status_code) == (200, 200)
    locked.fake.journal.clear()


def test_the_walk_knows_every_route() -> None:
    """A route that is added is walked, also one that the schema does not name."""
    routes = create_app(Settings(api_key="lab", base_url="http://127.0.0.1:9")).app.routes
    scopes = [
        {"type": "http", "method": verb, "path": path.partition("?")[0], "root_path": "", "headers": []}
        for verb, path in ROUTES
    ]
    unknown = [route for route in routes if not any(route.matches(scope)[0] is Match.FULL for scope in scopes)]

    assert len(routes) > 15
    assert unknown == []


def test_an_allowed_origin_may_ask_from_a_browser() -> None:
    """The preflight is answered without a token, and the stream may be read; a foreign page gets neither."""
    ours, foreign = "https://app.example", "http://evil.example"
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,authorization"}
    with bench(token=SecretStr("right"), allowed_origins=(ours,)) as made:

        def preflight(origin: str) -> httpx.Response:
            return made.http.options("/chat/stream", headers={"origin": origin, **asked})

        answers = [preflight(origin) for origin in (ours, foreign)]
        headers = {"origin": ours, "authorization": "Bearer right"}
        response = made.http.post("/chat/stream", json={"message": "Hi"}, headers=headers)

    name = "access-control-allow-origin"
    assert [(each.status_code, each.headers.get(name)) for each in answers] == [(200, ours), (400, None)]
    assert (response.status_code, response.headers[name]) == (200, ours)
    assert "x-claude-lab-run" in response.headers["access-control-expose-headers"]
    assert frames(response.text)[-1]["type"] == "done"


def test_health_says_how_many_runs_are_open(locked: Bench) -> None:
    """The article's fields, and the open runs; without a token."""
    told = locked.http.get("/health").json()

    assert (told["status"], told["open_runs"]) == ("ok", 0)
    assert abs(told["timestamp"] - time.time()) < 60


def test_health_counts_the_attempts_upstream(shared: Bench) -> None:
    """What the retry log says is counted: answered, failed by kind, given up, and the seconds waited."""
    shared.follow(Scenario(faults=[faults.Overloaded(), faults.Overloaded(), faults.Ok()], pace="instant"), AGAIN)
    before = shared.http.get("/health").json()["attempts"]
    shared.ask()
    shared.follow(Scenario(faults=[faults.Unauthorized()], pace="instant"), AGAIN)
    shared.ask()

    after = shared.http.get("/health").json()["attempts"]

    grown = {
        name: after["failed"].get(name, 0) - before["failed"].get(name, 0) for name in ("overloaded", "auth_error")
    }
    assert (after["answered"] - before["answered"], grown) == (1, {"overloaded": 2, "auth_error": 1})
    assert after["given_up"] - before["given_up"] == 1
    assert after["waited"] - before["waited"] == pytest.approx(0.03)


def test_the_key_shows_nowhere(shared: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """No repr, log, journal or error frame holds the key, also when the upstream refuses it."""
    caplog.set_level(logging.DEBUG)
    shared.follow(Scenario(faults=[faults.Unauthorized(), faults.Drop(at="before headers")], pace="instant"))

    told = [shared.ask().text for _ in range(3)]

    relay = shared.relay
    told += [
        repr(thing) for thing in (relay.settings, relay, relay.runs.runs, relay.client, relay.ledger, relay.policy)
    ]
    told += [json.dumps(shared.fake.journal.json()), repr(list(shared.fake.journal)), caplog.text]
    assert not [text for text in told if CANARY in text]
    assert "[redacted]" in shared.fake.journal[0].headers.values()


def test_a_ceiling_refuses_before_anything_is_sent(shared: Bench) -> None:
    """A request that could pass the ceiling is an `invalid_request`, in a sentence, and the upstream is not asked."""
    shared.follow(INSTANT)
    before, shared.relay.ledger.ceiling = shared.relay.ledger.ceiling, 0.0001
    try:
        response = shared.ask(max_tokens=100_000)
    finally:
        shared.relay.ledger.ceiling = before

    assert (response.status_code, frames(response.text)[0]["error"]) == (400, "invalid_request")
    assert "max_cost" in frames(response.text)[0]["message"]
    assert len(shared.fake.journal) == 0
