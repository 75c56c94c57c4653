"""An asyncio reverse proxy that holds back what nginx would hold back.

Protocols, no HTTP client: a client library hands its reader other pieces than the socket gave, and the pieces are the
subject. Each connection carries one request at a time; each answer runs through its own `buffering.Release`.

Divergence 1: the client's body is read whole before the upstream is asked, up to `MAX_BODY_BYTES`.
Divergence 2: a client that half-closes is taken to have left, as in nginx.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from claude_lab import background, heads
from claude_lab.buffering import Asked, Release, Rule
from claude_lab.heads import HEAD_END, HOP_BY_HOP, BadHead, Chunks, Head

MAX_HEAD_BYTES = 32 * 1024
MAX_BODY_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests go, and by which rule the answers come back; `upstream` is an http URL, its path a prefix."""

    upstream: str
    rule: Rule = field(default_factory=Rule)

    def __post_init__(self) -> None:
        parts = urlsplit(self.upstream)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"The upstream {self.upstream!r} is no http URL; give one like 'http://127.0.0.1:8000'.")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.upstream)
        return parts.hostname or "", parts.port or 80

    @property
    def path(self) -> str:
        """The path put in front of every request's path."""
        return urlsplit(self.upstream).path.rstrip("/")


class Proxy:
    """One hop: forwards any path to an upstream, and releases its answers by a rule. A context manager.

    `routes` maps path prefixes to other routes; the longest prefix wins and is cut off, as by `location /x/` with
    `proxy_pass http://upstream/;`. Raises OSError when the port is taken, ValueError for an upstream that is no URL.
    """

    def __init__(
        self,
        upstream: str,
        rule: Rule | None = None,
        *,
        routes: Mapping[str, Route] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.routes = {"": Route(upstream, rule or Rule()), **(routes or {})}
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self._address = ("", 0)
        self.connections: set[Downstream] = set()

    @property
    def rule(self) -> Rule:
        """The rule of the main route."""
        return self.routes[""].rule

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._server is None:
            raise RuntimeError("The proxy is not started; use it in a `with` block, or call start().")
        return f"http://{self._address[0]}:{self._address[1]}"

    def start(self) -> Self:
        """Listen; twice is fine."""
        if self._server is None:
            sock = background.listen(self._host, self._port)
            self._address = sock.getsockname()[:2]
            self._server = background.portal().run(self._listen(sock), timeout=10)
        return self

    async def _listen(self, sock: Any) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(lambda: Downstream(self), sock=sock)

    def stop(self) -> None:
        """Stop listening and drop every connection; twice is fine."""
        server, self._server = self._server, None
        portal = background.portal()
        if server is not None and portal.alive:
            portal.run(self._close(server), timeout=5)

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        for connection in list(self.connections):
            connection.drop()
        await asyncio.sleep(0)

    def route(self, path: str) -> tuple[Route, str]:
        """Return the route of a path, and the path that the upstream is asked for."""
        prefix = max((prefix for prefix in self.routes if path.startswith(prefix)), key=len)
        route = self.routes[prefix]
        return route, route.path + "/" + path.removeprefix(prefix).lstrip("/")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


class Downstream(asyncio.Protocol):
    """One client's connection: reads requests one after the other, and writes what the exchange releases."""

    transport: asyncio.Transport

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.exchange: Exchange | None = None
        self._unread = b""
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.proxy.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Collect a request; while one is being answered, keep the next."""
        self._unread += data
        if self.exchange is None:
            self._next_request()

    def _next_request(self) -> None:
        try:
            request = take_request(self._unread)
        except BadHead as error:
            self._refuse(400, str(error))
            return
        if request is not None:
            head, body, self._unread = request
            self._forward(head, body)

    def _forward(self, head: Head, body: bytes) -> None:
        method, target, _ = head.line.split(" ", 2)
        route, path = self.proxy.route(target)
        asked = Asked(
            http=head.version,
            method=method,
            accept=head.get("accept"),
            accept_encoding=head.get("accept-encoding"),
            keep_alive=keeps_alive(head),
        )
        release = Release(route.rule, asked, date=email.utils.formatdate(usegmt=True))
        self.exchange = Exchange(self, release, upstream_request(route, head, path, body))
        self._opening = asyncio.get_running_loop().create_task(self._open(route, self.exchange))

    async def _open(self, route: Route, exchange: Exchange) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: exchange, *route.address)
        except OSError:
            exchange.finish(exchange.release.error())

    def _refuse(self, status: int, message: str) -> None:
        body = message.encode() + b"\n"
        fields = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Connection", "close")]
        self.transport.write(heads.write(f"HTTP/1.1 {status} Refused", fields) + body)
        self.transport.close()

    def finished(self, *, stays: bool) -> None:
        """The answer is over: take the next request, or close."""
        self.exchange = None
        if not stays:
            self.transport.close()
        elif self._unread:
            self._next_request()

    def eof_received(self) -> bool:
        """The client closed, or half-closed: it has left."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The client has left: tell the upstream at once."""
        self.proxy.connections.discard(self)
        if self._opening is not None:
            self._opening.cancel()
        if self.exchange is not None:
            self.exchange.abandon()

    def pause_writing(self) -> None:
        """The client does not keep up: stop reading from the upstream, unless its buffers may take all of it."""
        if self.exchange is not None and self.exchange.release.unbuffered:
            self.exchange.pause()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self.exchange is not None:
            self.exchange.resume()

    def drop(self) -> None:
        """Close without ceremony."""
        self.transport.abort()


class Exchange(asyncio.Protocol):
    """One request on its way to the upstream, and its answer on the way back."""

    def __init__(self, client: Downstream, release: Release, request: bytes) -> None:
        self.client = client
        self.release = release
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request and start the clock of the read timeout."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)
        loop = asyncio.get_running_loop()
        self._heard = loop.time()
        self._timer = loop.call_later(self.release.rule.read_timeout, self._check)

    def _check(self) -> None:
        """Time out, or look again when the time since the last read will be up."""
        loop = asyncio.get_running_loop()
        left = self._heard + self.release.rule.read_timeout - loop.time()
        if left <= 0:
            self.finish(self.release.error(504))
        else:
            self._timer = loop.call_later(left, self._check)

    def data_received(self, data: bytes) -> None:
        """Pass on what the rule lets go."""
        self._heard = asyncio.get_running_loop().time()
        out = self.release.feed(data)
        if self.release.ended:
            self.finish(out)
        elif out:
            self.client.transport.write(out)

    def connection_lost(self, error: Exception | None) -> None:
        """The upstream ended: orderly, or by a reset."""
        self.finish(self.release.error() if error else self.release.eof())

    def finish(self, out: bytes) -> None:
        """Write the last bytes and give the client's connection back."""
        if self.client.exchange is not self:
            return
        self.abandon()
        if out:
            self.client.transport.write(out)
        self.client.finished(stays=self.release.client_stays)

    def abandon(self) -> None:
        """Close the upstream's connection; the client is gone, or served."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Read no more from the upstream."""
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):
                self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()


def take_request(data: bytes) -> tuple[Head, bytes, bytes] | None:
    """Return a whole request's head and body and the bytes after it, or None when it is incomplete; raises BadHead."""
    found = HEAD_END.search(data)
    if not found:
        if len(data) > MAX_HEAD_BYTES:
            raise BadHead(f"The request's head is longer than {MAX_HEAD_BYTES} bytes; send fewer or shorter fields.")
        return None
    head, rest = heads.parse(data[: found.end()]), data[found.end() :]
    if len(rest) > MAX_BODY_BYTES:
        raise BadHead(f"The request's body is longer than {MAX_BODY_BYTES} bytes; this proxy takes no more.")
    if head.chunked:
        chunks = Chunks()
        body = b"".join(chunks.feed(rest))
        return (head, body, b"") if chunks.done else None
    length = head.content_length or 0
    return (head, rest[:length], rest[length:]) if len(rest) >= length else None


def keeps_alive(head: Head) -> bool:
    """Whether the client would send another request on this connection."""
    word = head.get("connection").lower()
    return "keep-alive" in word if head.version == "1.0" else "close" not in word


def upstream_request(route: Route, head: Head, path: str, body: bytes) -> bytes:
    """Return the request as the proxy sends it on: its own Host and Connection, hop-by-hop fields left out."""
    method = head.line.split(" ", 1)[0]
    host, port = route.address
    fields = [("Host", f"{host}:{port}"), ("Connection", "close")]
    dropped = HOP_BY_HOP | {"host", "content-length", "expect"}
    fields += [(name, value) for name, value in head.fields if name.lower() not in dropped]
    if body or method in ("POST", "PUT", "PATCH"):
        fields.append(("Content-Length", str(len(body))))
    return heads.write(f"{method} {path} HTTP/{route.rule.upstream_http}", fields) + body
