"""Two servers on one Redis, before one fake: any of them serves, stops and resumes; nobody else may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from conftest import soon
from pydantic import SecretStr
from redis import Redis
from redis_server import redis_server

from claude_lab import faults
from claude_lab.background import Served, TransportProtocol, serve
from claude_lab.fake import FakeClaude
from claude_lab.pacing import Pace
from claude_lab.replies import Voice
from claude_lab.retry import RetryPolicy
from claude_lab.runs import Run
from claude_lab.scenario import Scenario
from claude_lab.server import create_app
from claude_lab.settings import Settings

TEXT = "One two three four five six seven eight nine ten; naïve 🌊."
INSTANT = Scenario(voice=Voice(TEXT, thinking=False), pace="instant")
QUICK = Scenario(voice=Voice(TEXT, thinking=False), pace=Pace(0.0, 0.01, 0.0, 0.0))
STALL = faults.Stall(after=20, seconds=60)
LONG = Scenario([STALL], voice=Voice(TEXT * 8, thinking=False), pace=Pace(0.0, 0.01, 0.0, 0.0))
SLOW = Scenario(voice=Voice(TEXT * 20, thinking=False), pace=Pace(0.0, 0.05, 0.0, 0.0))
ASK = {"json": {"message": "Hello"}}


class Server:
    """One server: its relay, where it is, and a client of it."""

    def __init__(self, stack: ExitStack, fake: FakeClaude, redis_url: str, prefix: str, **options: Any) -> None:
        usual = {"api_key": SecretStr("lab"), "base_url": fake.url, "token": None, "orphan_grace": 30.0, "lease": 60.0}
        settings = Settings(redis_url=SecretStr(redis_url), **usual | options)
        app = create_app(settings, policy=RetryPolicy(max_retries=0), prefix=prefix)
        self.relay: Any = app.relay
        self.served: Served = stack.enter_context(serve(app, protocol=TransportProtocol))
        self.http = stack.enter_context(httpx.Client(base_url=self.served.url + prefix, trust_env=False, timeout=10))


class Bench:
    """A fake and a Redis, and servers as they are asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.fake = stack.enter_context(FakeClaude(INSTANT))
        self.redis_url = stack.enter_context(redis_server())

    def play(self, scenario: Scenario) -> None:
        """Begin anew with another scenario."""
        self.fake.put(scenario)
        self.fake.journal.clear()

    @contextmanager
    def servers(self, *options: dict[str, Any], prefix: str = "") -> Iterator[list[Server]]:
        """Yield a server for each of these settings."""
        with ExitStack() as stack:
            yield [Server(stack, self.fake, self.redis_url, **{"prefix": prefix} | each) for each in options]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """One fake and one Redis for the module."""
    with ExitStack() as stack:
        yield Bench(stack)


@pytest.fixture(scope="module")
def two(bench: Bench) -> Iterator[list[Server]]:
    """Two servers with the usual settings."""
    with bench.servers({}, {}) as made:
        yield made


def frames(body: str) -> list[dict[str, Any]]:
    """Return a body's frames."""
    return [json.loads(block[6:]) for block in body.split("\n\n") if block.startswith("data:")]


def entries(body: str) -> str:
    """Return a body without its comments."""
    return "".join(f"{block}\n\n" for block in body.split("\n\n") if block and not block.startswith(":"))


def text_of(body: str) -> str:
    """Return the text of a body's deltas."""
    return "".join(frame["text"] for frame in frames(body) if frame["type"] == "delta")


def path_of(response: httpx.Response) -> str:
    """Return the path of a response's run."""
    return f"/chat/stream/{response.headers['x-claude-lab-run']}"


def test_any_server_gives_the_same_bytes_from_any_place(bench: Bench, two: list[Server]) -> None:
    """Behind any id, both servers return the very bytes that the whole had there; the upstream was asked once."""
    bench.play(INSTANT)
    whole = two[0].http.post("/chat/stream", **ASK)
    body = entries(whole.text)

    for frame in frames(body):
        for server in two:
            rest = server.http.get(path_of(whole), headers={"last-event-id": frame["id"]}).text
            assert entries(rest) == body.partition(f"id: {frame['id']}\n\n")[2]

    assert [entries(server.http.get(path_of(whole)).text) for server in two] == [body] * 2
    assert (text_of(whole.text), len(bench.fake.journal)) == (TEXT, 1)


def test_a_reader_elsewhere_follows_a_running_answer(bench: Bench, two: list[Server]) -> None:
    """A reader that comes in mid-stream, to the other server, gets everything once, to the end."""
    bench.play(QUICK)
    with two[0].http.stream("POST", "/chat/stream", **ASK) as response:
        parts = response.iter_text()
        begun = next(part for part in parts if '"delta"' in part)
        elsewhere = two[1].http.get(path_of(response)).text
        here = begun + "".join(parts)

    assert frames(elsewhere)[-len(frames(here)) :] == frames(here)
    assert text_of(elsewhere) == TEXT


@pytest.mark.parametrize(("method", "tail"), [("DELETE", ""), ("POST", "/stop")])
def test_a_stop_reaches_the_server_that_produces(bench: Bench, two: list[Server], method: str, tail: str) -> None:
    """Asked of the other server, the stop ends the stream with `done`, stop reason `stopped`, and closes upstream."""
    bench.play(SLOW)
    with two[0].http.stream("POST", "/chat/stream", **ASK) as response:
        parts = response.iter_text()
        body = next(part for part in parts if '"delta"' in part)
        statuses = [two[1].http.request(method, path_of(response) + tail).status_code for _ in range(2)]
        body += "".join(parts)

    assert statuses == [204, 204]
    assert (frames(body)[-1]["type"], frames(body)[-1]["stop_reason"]) == ("done", "stopped")
    assert frames(body)[-1]["usage"]["input_tokens"] > 0
    assert soon(lambda: bench.fake.journal[0].ended == "client left")


@pytest.mark.parametrize("hostile", ["x", "1-", "2-1", "0-1", "1-1; DROP", "-1", "1--1", "1-" + "9" * 200, "1-1,1-2"])
def test_a_hostile_last_event_id_is_400_on_redis_too(bench: Bench, two: list[Server], hostile: str) -> None:
    """What is no id of this run is refused in a short sentence, at either server."""
    bench.play(INSTANT)
    path = path_of(two[0].http.post("/chat/stream", **ASK))

    answers = [server.http.get(path, headers={"last-event-id": hostile}) for server in two]

    assert [answer.status_code for answer in answers] == [400, 400]
    assert max(len(answer.json()["detail"]) for answer in answers) < 200


def test_an_id_beyond_the_end_waits_for_nothing_on_redis_too(bench: Bench, two: list[Server]) -> None:
    """A place that was never reached is the end of the log."""
    bench.play(INSTANT)
    path = path_of(two[0].http.post("/chat/stream", **ASK))

    answers = [server.http.get(path, headers={"last-event-id": "1-999999999"}) for server in two]

    assert [(answer.status_code, frames(answer.text)) for answer in answers] == [(200, []), (200, [])]


def test_names_are_taken_at_every_server(bench: Bench, two: list[Server]) -> None:
    """A name is 409 the second time, wherever; a malformed one too; an unknown or hostile one is 404."""
    bench.play(INSTANT)
    named = {"headers": {"x-claude-lab-run": "named-by-the-client"}}

    assert [server.http.post("/chat/stream", **ASK, **named).status_code for server in two] == [200, 409]
    assert two[1].http.post("/chat/stream", **ASK, headers={"x-claude-lab-run": "short"}).status_code == 409
    for name in ("nobody-has-this-name", "x" * 300, "{}:*", "%00"):
        assert {two[1].http.request(verb, f"/chat/stream/{name}").status_code for verb in ("GET", "DELETE")} == {404}
    assert len(bench.fake.journal) == 1


@pytest.mark.parametrize("differing", ["token", "prefix"])
def test_a_run_belongs_to_the_token_and_the_prefix_that_made_it(bench: Bench, differing: str) -> None:
    """Another token, or another prefix, finds no such run on the same Redis: 404 for reading and for stopping."""
    bench.play(INSTANT)
    made = [{"prefix": f"/{one}"} if differing == "prefix" else {"token": SecretStr(one)} for one in ("one", "two")]
    with bench.servers(*made, made[0]) as (owner, stranger, colleague):
        rights = [{"authorization": f"Bearer {one}"} for one in ("one", "two", "one")]
        path = path_of(owner.http.post("/chat/stream", **ASK, headers=rights[0]))

        def statuses(server: Server, right: dict[str, str]) -> list[int]:
            return [server.http.request(verb, path, headers=right).status_code for verb in ("GET", "DELETE")]

        assert statuses(stranger, rights[1]) == [404, 404]
        assert statuses(colleague, rights[2]) == statuses(owner, rights[0]) == [200, 204]


def test_without_a_grace_the_last_reader_anywhere_ends_the_spending(bench: Bench) -> None:
    """With ORPHAN_GRACE 0 a run goes on while somebody reads it at any server, and stops when nobody does."""
    bench.play(SLOW)
    with bench.servers(*[{"orphan_grace": 0.0}] * 2) as (first, second):
        with first.http.stream("POST", "/chat/stream", **ASK) as response:
            parts = response.iter_text()
            next(part for part in parts if '"delta"' in part)
            elsewhere = second.http.stream("GET", path_of(response))
            reading = elsewhere.__enter__()
            pieces = reading.iter_text()
            next(pieces)
        assert soon(lambda: next(pieces) and len(bench.fake.journal) == 1 and first.relay.runs.open == 1)
        assert [next(pieces) for _ in range(5)]
        assert bench.fake.journal.open == 1
        elsewhere.__exit__(None, None, None)

        assert soon(lambda: bench.fake.journal[0].ended == "client left")
        assert soon(lambda: first.relay.runs.open == 0)


def test_with_a_grace_a_run_outlives_its_readers(bench: Bench, two: list[Server]) -> None:
    """With ORPHAN_GRACE 30 the answer is finished while nobody reads, and waits whole, at the other server too."""
    bench.play(QUICK)
    with two[0].http.stream("POST", "/chat/stream", **ASK) as response:
        next(part for part in response.iter_text() if '"delta"' in part)

    assert soon(lambda: two[0].relay.runs.open == 0)
    assert text_of(two[1].http.get(path_of(response)).text) == TEXT
    assert len(bench.fake.journal) == 1


def test_bounds_hold_on_redis_too(bench: Bench) -> None:
    """Runs under way, readers of one and bytes of one are bounded; what ended makes room."""
    bounds = {"max_runs": 1, "max_readers": 1, "orphan_grace": 0.0}
    with bench.servers(bounds, {"max_run_bytes": 500}) as (few, small):
        bench.play(SLOW)
        with few.http.stream("POST", "/chat/stream", **ASK) as response:
            parts = response.iter_text()
            next(parts)
            full = few.http.post("/chat/stream", **ASK)
            crowded = few.http.get(path_of(response))
        assert [(each.status_code, each.headers["retry-after"]) for each in (full, crowded)] == [(503, "5")] * 2
        assert soon(lambda: few.relay.runs.open == 0)
        bench.play(INSTANT)
        second = few.http.post("/chat/stream", **ASK)
        assert text_of(second.text) == TEXT
        assert [few.http.get(path_of(each)).status_code for each in (response, second)] == [404, 200]

        bench.play(INSTANT)
        with bench.servers({"max_bytes": 300}) as (tight,):
            paths = [path_of(tight.http.post("/chat/stream", **ASK)) for _ in range(3)]
            assert [tight.http.get(path).status_code for path in paths] == [404, 404, 200]
            bench.play(SLOW)
            with tight.http.stream("POST", "/chat/stream", **ASK) as response:
                next(part for part in response.iter_text() if '"1-12"' in part)
                full = tight.http.post("/chat/stream", **ASK)
            assert (full.status_code, "MAX_BYTES=300" in full.json()["detail"]) == (503, True)

        bench.play(QUICK)
        cut = frames(small.http.post("/chat/stream", **ASK).text)
        assert (cut[-1]["type"], cut[-1]["error"]) == ("error", "token_limit")


def test_a_server_that_stops_hands_its_runs_over(bench: Bench, two: list[Server]) -> None:
    """A clean stop gives the lease up: the other server goes on at once, however long the lease."""
    bench.play(LONG)
    with bench.servers(*[{"lease": 60.0, "recovery": "restart"}] * 2) as (leaving, staying):
        with leaving.http.stream("POST", "/chat/stream", **ASK) as response:
            body = next(part for part in response.iter_text() if '"delta"' in part)
        leaving.served.stop()
        rest = staying.http.get(path_of(response), headers={"last-event-id": frames(body)[-1]["id"]}).text

    reset = next(frame for frame in frames(rest) if frame["type"] == "reset")
    assert reset["keep_chars"] == 0
    assert text_of(rest[rest.index('"reset"') :].partition("\n\n")[2]) == TEXT * 8
    assert frames(rest)[-1]["type"] == "done"


def test_a_reader_elsewhere_stays_connected_while_the_producer_changes(bench: Bench) -> None:
    """Who reads at a server that takes over needs no reconnection: one stream, two epochs, the whole answer."""
    bench.play(LONG)
    with bench.servers(*[{"lease": 0.6, "recovery": "restart"}] * 2) as (leaving, staying):
        with leaving.http.stream("POST", "/chat/stream", **ASK) as response:
            parts = response.iter_text()
            next(part for part in parts if '"delta"' in part)
            with staying.http.stream("GET", path_of(response)) as elsewhere:
                pieces = elsewhere.iter_text()
                body = next(pieces)
                leaving.served.stop()
                body += "".join(pieces)

    got = frames(body)
    seam = [frame["type"] for frame in got].index("reset")
    texts = ["".join(frame.get("text", "") for frame in part) for part in (got[:seam], got[seam:])]
    assert texts == [(TEXT * 8)[: len(texts[0])], TEXT * 8]
    assert [frame["id"].partition("-")[2] for frame in got] == [str(number) for number in range(1, len(got) + 1)]
    assert got[-1]["type"] == "done"


def test_without_redis_nothing_hangs_and_the_spending_stops(bench: Bench) -> None:
    """When Redis is gone, a stream is cut without a final frame, upstream is closed, and a new request is 503."""
    bench.play(SLOW)
    with ExitStack() as stack, ExitStack() as database:
        url = database.enter_context(redis_server())
        server = Server(stack, bench.fake, url, "", lease=0.3)
        with server.http.stream("POST", "/chat/stream", **ASK) as response:
            parts = response.iter_text()
            body = next(part for part in parts if '"delta"' in part)
            database.close()
            with pytest.raises(httpx.RemoteProtocolError):
                body += "".join(parts)

        assert not {"done", "error"} & {frame["type"] for frame in frames(body)}
        assert soon(lambda: bench.fake.journal[0].ended == "client left")
        refused = server.http.post("/chat/stream", **ASK)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert "REDIS_URL" in refused.json()["detail"]
        paths = ("/health/ready", "/health", "/health/live")
        assert [server.http.get(path).status_code for path in paths] == [503, 200, 200]


def test_a_server_is_ready_when_its_redis_is(bench: Bench, two: list[Server]) -> None:
    """`/health/ready` says what `/health` says as long as Redis answers."""
    assert two[0].http.get("/health/ready").json().keys() == two[0].http.get("/health").json().keys()


def test_a_chat_that_cannot_be_remembered_leaves_no_run_open(bench: Bench) -> None:
    """Redis takes the run and refuses the chat: 503, the upstream is not asked, and nobody holds the run's lease."""
    bench.play(INSTANT)
    question = {"id": "a", "messages": [{"role": "user", "parts": [{"type": "text", "text": "Hello"}]}]}
    with ExitStack() as stack:
        url = stack.enter_context(redis_server())
        server = Server(stack, bench.fake, url, "")
        with Redis.from_url(url) as database:
            database.execute_command("ACL", "SETUSER", "default", "-set")

        response = server.http.post("/chat/ui", json=question)

        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert soon(lambda: server.relay.runs.open == 0)
        assert len(bench.fake.journal) == 0


def test_an_answer_of_a_dead_worker_is_left_when_the_strategy_says_so(bench: Bench) -> None:
    """With RECOVERY=fail the text stays, the end is an `error` that may be retried, and nothing is asked twice."""
    bench.play(LONG)
    with bench.servers({"recovery": "fail"}, {"recovery": "fail"}) as (leaving, staying):
        with leaving.http.stream("POST", "/chat/stream", **ASK) as response:
            body = next(part for part in response.iter_text() if '"delta"' in part)
        leaving.served.stop()
        whole = staying.http.get(path_of(response)).text

    assert frames(whole)[: len(frames(body))] == frames(body)
    assert (frames(whole)[-1]["type"], frames(whole)[-1]["error"]) == ("error", "server_error")
    assert (frames(whole)[-1]["retryable"], len(bench.fake.journal)) == (True, 1)


def test_a_stop_is_kept_for_whoever_takes_over(bench: Bench) -> None:
    """A run whose worker has gone, stopped at the other server, ends with `stopped`; upstream is not asked again."""
    bench.play(LONG)
    with bench.servers({"recovery": "restart"}, {"recovery": "restart"}) as (leaving, staying):
        with leaving.http.stream("POST", "/chat/stream", **ASK) as response:
            next(part for part in response.iter_text() if '"delta"' in part)
        leaving.served.stop()
        assert staying.http.delete(path_of(response)).status_code == 204
        whole = staying.http.get(path_of(response)).text

    assert frames(whole)[-1]["stop_reason"] == "stopped"
    assert len(bench.fake.journal) == 1


def test_a_request_that_kills_its_workers_is_given_up(bench: Bench, two: list[Server]) -> None:
    """After four producers the next one writes an error instead of asking again."""
    bench.play(INSTANT)
    run = Run("a-deadly-request", 0)

    asyncio.run(two[0].relay.retake(run.turn(5), {}))

    assert [(entry.kind, entry.frame["error"]) for entry in run.entries] == [("error", "server_error")]
    assert "4 workers died" in run.entries[0].frame["message"]
    assert len(bench.fake.journal) == 0


def test_an_ended_run_is_forgotten_after_its_age_on_redis_too(bench: Bench) -> None:
    """RUN_AGE after its end, a run is 404, and Redis holds nothing of it."""
    bench.play(INSTANT)
    with bench.servers({"run_age": 0.2, "lease": 0.1}) as (server,):
        path = path_of(server.http.post("/chat/stream", **ASK))

        assert soon(lambda: server.http.get(path).status_code == 404)
        name = path.rpartition("/")[2]
        with Redis.from_url(bench.redis_url) as database:
            assert soon(lambda: not database.keys(f"*{name}*"))


def test_an_outage_tells_nobody_where_redis_is(bench: Bench) -> None:
    """The refusal says what to check, and no address or password."""
    with ExitStack() as stack:
        secret = "redis://:hunter2@127.0.0.1:1/0"
        server = Server(stack, bench.fake, secret, "", lease=0.3)
        refused = server.http.post("/chat/stream", **ASK)

    assert (refused.status_code, "REDIS_URL" in refused.text) == (503, True)
    assert not [part for part in ("hunter2", "127.0.0.1:1", "connecting") if part in refused.text]
