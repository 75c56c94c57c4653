"""The embedded proxy, between a scripted upstream and a raw client."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import pytest
from conftest import LONG, soon
from origin import CHUNKED, HEAD, LAST, Client, Origin, chunk, fetch, origin, reset

from claude_lab.buffering import Rule
from claude_lab.clock import now, run_virtual
from claude_lab.hop import Downstream
from claude_lab.proxy import Cut, Proxy, Route
from claude_lab.reader import Reader

BUFFERED = Rule()
DIRECT = Rule(buffering=False)


def body_of(size: int) -> bytes:
    """Return a recognizable body."""
    return (b"0123456789" * (size // 10 + 1))[:size]


async def whole(served: Origin, writer: asyncio.StreamWriter) -> None:
    """Two events, then the end."""
    writer.write(CHUNKED + chunk(b"data: 1\n\n") + chunk(b"data: 2\n\n") + LAST)


async def close_framed(served: Origin, writer: asyncio.StreamWriter) -> None:
    """5,000 bytes, then the connection closes."""
    writer.write(HEAD + body_of(5000))


async def echo(served: Origin, writer: asyncio.StreamWriter) -> None:
    """The request, as the upstream saw it."""
    request = served.requests[-1]
    writer.write(HEAD[:-2] + b"Content-Length: %d\r\n\r\n" % len(request) + request)


async def silent(served: Origin, writer: asyncio.StreamWriter) -> None:
    """2,000 bytes, then nothing, for as long as the proxy stays."""
    writer.write(HEAD + body_of(2000))
    await asyncio.to_thread(served.left.wait, LONG)


async def endless(served: Origin, writer: asyncio.StreamWriter) -> None:
    """Events until nobody reads them."""
    writer.write(CHUNKED)
    while not served.left.is_set():
        writer.write(chunk(b"x" * 60_000))
        await writer.drain()
        await asyncio.sleep(0)


async def dies(served: Origin, writer: asyncio.StreamWriter) -> None:
    """5,000 bytes, then a reset."""
    writer.write(HEAD + body_of(5000))
    await asyncio.sleep(0.05)
    reset(writer)


def test_any_path_and_the_query_are_forwarded_below_the_upstreams_path() -> None:
    """The upstream's own path is a prefix, such as the capability of a lab's URL."""
    with origin(echo) as served, Proxy(f"{served.url}/base", DIRECT) as proxy:
        _, body, _ = fetch(proxy.url, "/a/b?q=1")

    assert body.startswith(b"GET /base/a/b?q=1 HTTP/1.0\r\nHost: 127.0.0.1:")


def test_a_post_arrives_with_its_body_and_without_hop_by_hop_fields() -> None:
    """Connection and Transfer-Encoding are the proxy's own; other fields pass."""
    with origin(echo) as served, Proxy(served.url, DIRECT) as proxy:
        client = Client(proxy.url)
        client.send("POST", body=b"hello", more="X-Mine: 1\r\nConnection: keep-alive\r\n")
        _, body, _ = client.answer()
        client.close()

    assert body.endswith(b"\r\n\r\nhello")
    assert b"X-Mine: 1" in body
    assert b"keep-alive" not in body


def test_a_chunked_body_is_sent_on_with_its_length() -> None:
    """The proxy reads a request's body whole, as nginx does by default."""
    with origin(echo) as served, Proxy(served.url) as proxy:
        client = Client(proxy.url)
        client.sock.sendall(b"POST / HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"hello"))
        client.sock.sendall(chunk(b" again") + LAST)
        _, body, _ = client.answer()
        client.close()

    assert body.endswith(b"Content-Length: 11\r\n\r\nhello again")


def test_a_client_that_expects_100_gets_it() -> None:
    """curl waits for `100 Continue` before it sends a large body."""
    with origin(echo) as served, Proxy(served.url) as proxy:
        client = Client(proxy.url)
        client.sock.sendall(b"POST / HTTP/1.1\r\nHost: lab\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        interim = client.sock.recv(100)
        client.sock.sendall(b"ok")
        _, body, _ = client.answer()
        client.close()

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert body.endswith(b"\r\n\r\nok")


def test_one_connection_carries_many_requests_also_sent_ahead() -> None:
    """Keep-alive, and requests sent before the answer to the one before."""
    with origin(whole) as served, Proxy(served.url, DIRECT) as proxy:
        client = Client(proxy.url)
        bodies = []
        for _ in range(3):
            client.send()
            bodies.append(client.answer()[1])
        client.close()

    assert bodies == [b"data: 1\n\ndata: 2\n\n"] * 3
    assert [passage.ended for passage in proxy.passages] == ["whole"] * 3


def test_routes_have_their_own_rules_and_the_longest_prefix_wins() -> None:
    """One proxy can stand for a whole nginx configuration."""
    with origin(echo) as served:
        routes = {"/a/": Route(f"{served.url}/first"), "/a/b/": Route(f"{served.url}/second")}
        with Proxy(served.url, routes=routes) as proxy:
            lines = [fetch(proxy.url, path)[1].split(b" ")[1] for path in ("/a/x", "/a/b/x", "/c")]

    assert lines == [b"/first/x", b"/second/x", b"/c"]


def test_a_reset_upstream_loses_what_was_held() -> None:
    """Of 5,000 bytes the client gets what had left the buffer: 4,096 less the head; unbuffered it gets all."""
    with origin(dies) as served, Proxy(served.url, BUFFERED) as held, Proxy(served.url, DIRECT) as direct:
        buffered, passed = fetch(held.url), fetch(direct.url)

    assert (len(buffered[1]), buffered[0].whole) == (4096 - len(HEAD), False)
    assert (len(passed[1]), passed[0].whole) == (5000, False)


class Wire(asyncio.Transport):
    """A connection in memory: keeps what is written, and when; `protocol` is who writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[tuple[float, bytes]] = []
        self.closed = False

    async def connect(self, factory: Callable[[], asyncio.Protocol], *address: object) -> None:
        """Stand for an upstream that takes the connection."""
        self.protocol = factory()
        self.protocol.connection_made(self)

    def write(self, data: bytes) -> None:  # type: ignore[override]  # the proxy writes bytes only
        """Keep what is written."""
        self.writes.append((now(), data))

    def close(self) -> None:
        """Note the end."""
        self.closed = True

    abort = close


def played(proxy: Proxy, *pieces: bytes) -> Wire:
    """Return a client's connection to a proxy, in virtual time; a piece comes from the upstream every 0.02 s."""

    async def play() -> Wire:
        client, upstream, downstream = Wire(), Wire(), Downstream(proxy)
        asyncio.get_running_loop().create_connection = upstream.connect  # type: ignore[method-assign,assignment]
        downstream.connection_made(client)
        downstream.data_received(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
        for piece in pieces:
            await asyncio.sleep(0.02)
            upstream.protocol.data_received(piece)
        await asyncio.sleep(0.5)
        return client

    return run_virtual(play())


@pytest.mark.parametrize(("buffering", "delivered"), [(True, 0), (False, 2000)])
def test_a_read_timeout_loses_what_was_held(buffering: bool, delivered: int) -> None:
    """Buffered: status 200, and not one of the 2,000 bytes that had been generated."""
    proxy, reader = Proxy("http://127.0.0.1:9", Rule(buffering=buffering, read_timeout=0.15)), Reader()
    client = played(proxy, HEAD + body_of(2000))
    body = b"".join(reader.feed(data) for _, data in client.writes)

    assert reader.head is not None
    assert (reader.head.status, len(body), reader.whole, client.closed) == (200, delivered, False, True)
    assert [passage.ended for passage in proxy.passages] == ["cut"]


def test_a_close_framed_answer_that_is_cut_short_looks_whole() -> None:
    """Nobody downstream of an HTTP/1.0 upstream can tell; the client gets a last chunk all the same."""
    with origin(close_framed) as served, Proxy(served.url, BUFFERED) as proxy:
        reader, body, ended = fetch(proxy.url)

    assert (len(body), reader.whole, ended) == (5000, True, "whole")


@pytest.mark.parametrize("rule", [BUFFERED, DIRECT], ids=["buffered", "direct"])
@pytest.mark.parametrize("how", ["close", "half-close"])
def test_the_upstream_hears_at_once_that_the_client_left(rule: Rule, how: str) -> None:
    """A half-close counts as leaving, as in nginx."""
    with origin(silent) as served, Proxy(served.url, rule) as proxy:
        client = Client(proxy.url)
        client.send()
        while not proxy.passages or not proxy.passages[0].received_bytes:
            time.sleep(0.001)
        client.close() if how == "close" else client.sock.shutdown(socket.SHUT_WR)

        assert served.left.wait(LONG)
        client.close()
    assert proxy.passages[0].ended == "left"


@pytest.mark.parametrize("behind", [False, True])
def test_an_ignored_abort_is_noticed_at_the_next_write(behind: bool) -> None:
    """`proxy_ignore_client_abort on`: the upstream goes on until there is something to write.

    It is not read while its client is behind; when that one leaves, it is read on, and the write fails.
    """
    rule = DIRECT.but(ignore_client_abort=True, read_timeout=30.0)
    with origin(endless) as served, Proxy(served.url, rule) as proxy:
        client = Client(proxy.url)
        client.send()
        client.sock.recv(1000)
        if behind:
            assert soon(lambda: any(each.exchange and each.exchange.behind for each in proxy.connections))
            time.sleep(0.1)
        client.close()

        assert served.left.wait(LONG)


def test_a_client_that_does_not_read_stops_an_unbuffered_upstream() -> None:
    """Backpressure reaches the upstream; what the proxy holds stays bounded."""
    with origin(endless) as served, Proxy(served.url, DIRECT) as proxy:
        client = Client(proxy.url)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send()
        assert soon(lambda: bool(proxy.passages) and (too_much(proxy) or stands_still(proxy)))
        client.close()

        assert not too_much(proxy)
        assert served.left.wait(LONG)


def too_much(proxy: Proxy) -> bool:
    """Whether a client that does not read had more fetched than the buffers on the way should hold."""
    return proxy.passages[0].received_bytes >= 40_000_000


def stands_still(proxy: Proxy) -> bool:
    """Whether the upstream is not read, since the client is behind, and nothing comes for a moment."""
    before = proxy.passages[0].received_bytes
    exchange = next(iter(proxy.connections)).exchange
    stopped = exchange and exchange.behind and exchange._transport and not exchange._transport.is_reading()
    time.sleep(0.1 if stopped else 0.0)
    return bool(stopped) and proxy.passages[0].received_bytes == before > 0


def test_an_upstream_that_is_not_there_is_a_502() -> None:
    """The proxy answers in its own name."""
    with Proxy("http://127.0.0.1:9") as proxy:
        reader, body, _ = fetch(proxy.url)

    assert reader.head is not None
    assert (reader.head.status, b"502 Bad Gateway" in body) == (502, True)


@pytest.mark.parametrize(
    "bad", [b"hello\r\n\r\n", b"GET http://x/ HTTP/1.1\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"x" * 40_000]
)
def test_what_is_no_request_is_a_400(bad: bytes) -> None:
    """One sentence, and the connection closes."""
    with Proxy("http://127.0.0.1:9") as proxy:
        client = Client(proxy.url)
        client.sock.sendall(bad)
        reader, body, _ = client.answer()
        client.close()

    assert reader.head is not None
    assert (reader.head.status, body.endswith(b".\n")) == (400, True)


@pytest.mark.parametrize(("how", "ended"), [("reset", "reset"), ("close", "closed")])
def test_a_hop_can_fail_by_itself(how: str, ended: str) -> None:
    """After so many upstream bytes it resets the client or closes in order; both leave the body cut."""
    fault = Cut(len(HEAD) + 1000, how)  # type: ignore[arg-type]
    with origin(close_framed) as served, Proxy(served.url, DIRECT, fault=fault) as proxy:
        reader, body, seen = fetch(proxy.url)

    assert (seen, len(body) <= 1000, reader.whole is not True) == (ended, True, True)


def test_clumps_leave_together() -> None:
    """A hop that releases at intervals gives two events written a moment apart in one write."""
    proxy = Proxy("http://127.0.0.1:9", Rule.preset("haproxy-like clumps", clump=0.1))
    ((at, data),) = played(proxy, CHUNKED + chunk(b"data: 1\n\n"), chunk(b"data: 2\n\n")).writes

    assert at == pytest.approx(0.12)
    assert data.count(b"data: ") == 2


def test_the_url_needs_a_started_proxy_and_the_upstream_an_http_url() -> None:
    """Both mistakes are one sentence."""
    with pytest.raises(RuntimeError, match="not started"):
        _ = Proxy("http://127.0.0.1:9").url
    with pytest.raises(ValueError, match="no http URL"):
        Proxy("localhost:8000")
    with pytest.raises(ValueError, match="'melt'"):
        Cut(1, "melt")  # type: ignore[arg-type]


def test_stopping_twice_is_fine_and_drops_open_streams() -> None:
    """Also with a stream under way."""
    with origin(silent) as served:
        proxy = Proxy(served.url, DIRECT).start()
        client = Client(proxy.url)
        client.send()
        client.sock.recv(1000)
        proxy.stop()
        proxy.stop()

        assert client.sock.recv(65536) is not None
        assert served.left.wait(LONG)
        client.close()
