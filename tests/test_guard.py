"""The guard, asked without a server: each rule, and the order they come in."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from claude_lab.bodies import LIMIT_BYTES
from claude_lab.guard import HEALTH, Guard, bare, begins, bounded

HOST = "127.0.0.1:8000"


def ask(
    path: str = "/p/chat/stream", method: str = "POST", headers: dict[str, str] | None = None, **options: Any
) -> int:
    """Ask a guard and return the status; 200 is the app's own."""
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sent.append({"status": 200})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    guard = Guard(app, **{"hosts": ("127.0.0.1", "localhost", "[::1]"), "prefix": "/p", **options})
    lines = [(name.encode(), value.encode("latin-1")) for name, value in ({"host": HOST} | (headers or {})).items()]
    asyncio.run(guard({"type": "http", "path": path, "method": method, "headers": lines}, None, send))
    if sent[0]["status"] != 200:
        assert json.loads(sent[1]["body"])["detail"].endswith((".", "should."))
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (HOST, 200),
        ("[::1]:80", 200),
        ("127.0.0.1", 200),
        ("LOCALHOST:8000", 200),
        ("evil.example", 400),
        ("", 400),
        ("127.0.0.1.evil", 400),
        ("127.0.0.1:80@evil.example", 400),
    ],
)
def test_only_allowed_hosts_are_served(host: str, status: int) -> None:
    """A name that was rebound to the loopback is no host of ours."""
    assert ask(headers={"host": host}) == status


@pytest.mark.parametrize("path", HEALTH)
def test_a_probe_asks_by_any_address(path: str) -> None:
    """An orchestrator names the pod's address as the host; without the prefix there is nothing all the same."""
    assert ask(f"/p{path}", "GET", {"host": "10.0.3.7:8000"}) == 200
    assert ask(path, "GET", {"host": "10.0.3.7:8000"}) == 400
    assert ask("/p/chat/stream/x", "GET", {"host": "10.0.3.7:8000"}) == 400


def test_a_page_that_may_ask_may_read_its_refusal() -> None:
    """401 and its like carry the headers without which a browser shows a page nothing; another page gets none."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    guard = Guard(None, hosts=("127.0.0.1",), origins=("https://app.example",), token="right")  # type: ignore[arg-type]
    for origin in ("https://app.example", "https://evil.example"):
        lines = [(b"host", b"127.0.0.1"), (b"origin", origin.encode())]
        asyncio.run(guard({"type": "http", "path": "/chat/stream", "method": "POST", "headers": lines}, None, send))

    heads = [dict(message["headers"]) for message in sent if message["type"] == "http.response.start"]
    assert [head.get(b"access-control-allow-origin") for head in heads] == [b"https://app.example", None]
    assert heads[0][b"vary"] == b"Origin"


def test_a_star_serves_every_host() -> None:
    """Behind a proxy that checks, the list may be open."""
    assert ask(headers={"host": "any.example"}, hosts=("*",)) == 200


@pytest.mark.parametrize("path", ["/chat/stream", "/", "/q/chat/stream", "/px/chat/stream", "/health", "/P/"])
def test_without_the_unguessable_part_nothing_is_here(path: str) -> None:
    """Whoever does not know the prefix gets 404, for every path."""
    assert ask(path, "GET") == 404


@pytest.mark.parametrize(
    ("origin", "method", "status"),
    [
        ("http://evil.example", "POST", 403),
        ("http://evil.example", "DELETE", 403),
        ("null", "POST", 403),
        ("http://[", "POST", 403),
        ("http://evil.example", "GET", 200),
        (f"http://{HOST}", "POST", 200),
        ("https://app.example", "POST", 200),
    ],
)
def test_foreign_pages_may_not_write(origin: str, method: str, status: int) -> None:
    """An Origin must be the server's own or on the list, on everything that could change something."""
    assert ask(method=method, headers={"origin": origin}, origins=("https://app.example",)) == status


@pytest.mark.parametrize(
    ("kind", "status"),
    [("application/json", 200), ("Application/JSON; charset=utf-8", 200), ("text/plain", 415), ("", 415)],
)
def test_bodies_are_json(kind: str, status: int) -> None:
    """A form or plain text, which any page may send without asking first, is not taken."""
    assert ask(headers={"content-length": "2", "content-type": kind}) == status


@pytest.mark.parametrize(("length", "status"), [(LIMIT_BYTES, 200), (LIMIT_BYTES + 1, 413), (10**30, 413)])
def test_bodies_are_bounded(length: int, status: int) -> None:
    """What the API would not take is refused before it is read."""
    assert ask(headers={"content-length": str(length), "content-type": "application/json"}) == status


def test_a_body_without_a_length_is_counted() -> None:
    """Chunks are taken up to the bound, and not one more."""
    chunk = {"type": "http.request", "body": bytes(LIMIT_BYTES // 4), "more_body": True}

    async def receive() -> Any:
        return chunk

    async def read(times: int) -> int:
        counted = bounded(receive)
        return sum([len((await counted())["body"]) for _ in range(times)])

    assert asyncio.run(read(4)) == LIMIT_BYTES
    with pytest.raises(HTTPException, match="send less") as raised:
        asyncio.run(read(5))
    assert raised.value.status_code == 413


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer wrong", "Basic right", "right", "Bearer right ", "Bearer rïght"]
)
def test_a_wrong_token_is_refused(sent: str) -> None:
    """Only the exact bearer token opens, compared in constant time."""
    assert ask(headers={"authorization": sent}, token="right") == 401
    assert ask(headers={"authorization": "Bearer right"}, token="right") == 200
    assert ask(headers={"authorization": "bearer right"}, token="right") == 200, "a scheme has no case (RFC 9110, 11.1)"


@pytest.mark.parametrize("path", HEALTH)
def test_probes_need_no_token(path: str) -> None:
    """Health paths answer whoever may know where the server is."""
    assert ask(f"/p{path}", "GET", token="right") == 200
    assert ask(path, "GET", token="right") == 404


def test_a_views_stop_needs_its_url_alone() -> None:
    """A notebook's Stop comes from another origin; without a prefix nothing is unguessable and the origin counts."""
    foreign = {"origin": "http://127.0.0.1:8888"}

    assert ask("/p/chat/stream/name/stop", headers=foreign) == 200
    assert ask("/chat/stream/name/stop", headers=foreign, prefix="") == 403


def test_paths_and_hosts_are_taken_apart_exactly() -> None:
    """A prefix ends at a slash, a host at its port."""
    assert (begins("/p", "/p"), begins("/p/x", "/p"), begins("/pq", "/p"), begins("/ö", "/p")) == (
        True,
        True,
        False,
        False,
    )
    assert [bare(host) for host in ("a:1", "a", "[::1]:1", "[::1]")] == ["a", "a", "[::1]", "[::1]"]
