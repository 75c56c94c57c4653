"""One hop's connections: a client's requests, one at a time, and the exchange with the upstream behind each.

Protocols, no HTTP client: a client library hands its reader other pieces than the socket gave, and the pieces are the
subject.

Divergence 1: a read timeout is exact; nginx may fire up to 300 ms early.
"""

from __future__ import annotations

import asyncio
import email.utils
from collections import deque
from typing import Any, Protocol

from claude_lab import heads
from claude_lab.heads import BadHead, Head
from claude_lab.inbound import CONTINUE, Requests, asked
from claude_lab.release import Release
from claude_lab.route import Cut, Passage, Route, sent_on
from claude_lab.sockets import reset

MAX_HELD_BYTES = 1 << 30  # what nginx puts into a temporary file (proxy_max_temp_file_size) before it stops reading


class Forwarder(Protocol):
    """What a connection needs of its proxy."""

    connections: set[Downstream]
    passages: deque[Passage]

    def route(self, path: str) -> tuple[Route, str]:
        """Return the route of a path, and the path that the upstream is asked for."""


class Downstream(asyncio.Protocol):
    """One client's connection: reads requests one after the other, and writes what the exchange releases."""

    transport: asyncio.Transport

    def __init__(self, proxy: Forwarder) -> None:
        self.proxy = proxy
        self.exchange: Exchange | None = None
        self.gone = False
        self._requests = Requests()
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.proxy.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Collect a request; while one is being answered, keep the next."""
        self._requests.feed(data)
        if self.exchange is None:
            self._next_request()

    def _next_request(self) -> None:
        try:
            request = self._requests.take()
        except BadHead as error:
            self._refuse(str(error))
            return
        if request is not None:
            self._forward(*request)
        elif self._requests.wants_continue:
            self.transport.write(CONTINUE)

    def _forward(self, head: Head, body: bytes) -> None:
        method, target, _ = head.line.split(" ")
        route, path = self.proxy.route(target)
        release = Release(route.rule, asked(head, method), date=email.utils.formatdate(usegmt=True))
        passage = Passage(f"{method} {target}")
        self.proxy.passages.append(passage)
        self.exchange = Exchange(self, route, release, sent_on(route, head, path, body), passage)
        self._opening = asyncio.get_running_loop().create_task(self._open(route, self.exchange))

    async def _open(self, route: Route, exchange: Exchange) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: exchange, *route.address)
        except OSError:
            exchange.finish(exchange.release.error())

    def _refuse(self, message: str) -> None:
        body = message.encode() + b"\n"
        fields = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Connection", "close")]
        self.transport.write(heads.write("HTTP/1.1 400 Bad Request", fields) + body)
        self.transport.close()

    def finished(self, *, stays: bool) -> None:
        """The answer is over: take the next request, or close."""
        self.exchange = None
        if self.gone:
            self.abandon()
        elif stays:
            self._next_request()
        else:
            self.transport.close()

    def eof_received(self) -> bool:
        """The client closed, or half-closed: it has left."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The client has left: tell the upstream at once, or at the next write where the rule ignores that."""
        self.gone = True
        if self.exchange is None or not self.exchange.release.rule.ignore_client_abort:
            self.abandon()
        else:
            self.exchange.resume()  # nobody will catch up: read on, or there is no next write

    def abandon(self) -> None:
        """Give the exchange up, and forget a client that has left."""
        if self.gone:
            self.proxy.connections.discard(self)
        exchange, self.exchange = self.exchange, None
        if self._opening is not None:
            self._opening.cancel()
        if exchange is not None:
            exchange.passage.ended = "left"
            exchange.close()

    def pause_writing(self) -> None:
        """The client does not keep up: stop reading from the upstream, unless its buffers take all of it."""
        if self.exchange is not None:
            self.exchange.behind = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self.exchange is not None:
            self.exchange.resume()


class Exchange(asyncio.Protocol):
    """One request on its way to the upstream, and its answer on the way back."""

    def __init__(self, client: Downstream, route: Route, release: Release, request: bytes, passage: Passage) -> None:
        self.client = client
        self.release = release
        self.passage = passage
        self.behind = False
        self._fault = route.fault
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._heard = 0.0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._corked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request and start the clock of the read timeout."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self.client.exchange is not self:
            transport.abort()
            return
        transport.write(self._request)
        self._heard = asyncio.get_running_loop().time()
        self._after("timeout", self.release.rule.read_timeout, self._check)

    def _after(self, name: str, delay: float, call: Any) -> None:
        self._timers[name] = asyncio.get_running_loop().call_later(delay, call)

    def _check(self) -> None:
        """Time out, or look again when the time since the last read will be up: one timer, not one for each read."""
        left = self._heard + self.release.rule.read_timeout - asyncio.get_running_loop().time()
        if left <= 0:
            self.finish(self.release.error(504))
        else:
            self._after("timeout", left, self._check)

    def data_received(self, data: bytes) -> None:
        """Pass on what the rule lets go."""
        self._heard = asyncio.get_running_loop().time()
        if self._fault and self.passage.received_bytes + len(data) >= self._fault.after_bytes:
            self._fail(self._fault, data[: self._fault.after_bytes - self.passage.received_bytes])
            return
        self.passage.received_bytes += len(data)
        out = self.release.feed(data)
        if self.release.ended:
            self.finish(out)
        elif out:
            self._write(out)
        if self.behind and (self.release.unbuffered or self._backlog() > MAX_HELD_BYTES):
            self._pause()

    def _fail(self, fault: Cut, data: bytes) -> None:
        """Break as told."""
        self.passage.received_bytes += len(data)
        self._write(self.release.feed(data))
        if fault.how == "silence":
            self._fault = Cut(0, "silence")
            return
        self.passage.ended = "cut"
        self.close()
        self._uncork()
        self.client.exchange = None
        if fault.how == "reset":
            reset(self.client.transport)
        else:
            self.client.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """The upstream ended: orderly, or by a reset."""
        self.finish(self.release.error() if error else self.release.eof())

    def finish(self, out: bytes) -> None:
        """Write the last bytes and give the client's connection back."""
        if self.client.exchange is not self:
            return
        self.close()
        self.passage.ended = self.release.ended
        if out:
            self._write(out)
        self._uncork()
        self.client.finished(stays=self.release.client_stays)

    def _write(self, out: bytes) -> None:
        if self.client.gone:  # only where the rule ignores a client's leaving: the write is what notices
            self.client.abandon()
            return
        self.passage.released_bytes += len(out)
        if self.release.rule.hold != "clumps":
            self.client.transport.write(out)
            return
        if out and not self._corked:
            self._after("cork", self.release.rule.clump, self._uncork)
        self._corked += out

    def _uncork(self) -> None:
        out, self._corked = self._corked, b""
        if out:
            self.client.transport.write(out)

    def _backlog(self) -> int:
        return self.client.transport.get_write_buffer_size()

    def close(self) -> None:
        """Close the upstream's connection; the client is gone, or served."""
        for timer in self._timers.values():
            timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _pause(self) -> None:
        """Read no more from the upstream; its silence is ours now, so its clock stands still."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()
            self._timers["timeout"].cancel()

    def resume(self) -> None:
        """Read on."""
        self.behind = False
        if self._transport is not None and not self._transport.is_closing() and not self._transport.is_reading():
            self._transport.resume_reading()
            self._heard = asyncio.get_running_loop().time()
            self._check()
