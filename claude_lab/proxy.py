"""An asyncio reverse proxy that holds back what nginx would hold back, driven by `claude_lab.release`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from claude_lab import background, sockets
from claude_lab.hop import Downstream
from claude_lab.route import Cut, Passage, Route
from claude_lab.rule import Rule

REMEMBERED = 4096
__all__ = ["Cut", "Passage", "Proxy", "Route", "Rule"]


class Proxy:
    """One hop: forwards any path to an upstream, and releases its answers by a rule. A context manager.

    `routes` maps path prefixes to other routes; the longest prefix wins and is cut off, as by `location /x/` with
    `proxy_pass http://upstream/;`. `fault` makes the hop itself fail. `passages` tells what became of recent answers.
    Raises OSError when the port is taken, ValueError for an upstream that is no http URL.
    """

    def __init__(
        self,
        upstream: str,
        rule: Rule | None = None,
        *,
        routes: Mapping[str, Route] | None = None,
        fault: Cut | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.routes = {"": Route(upstream, rule or Rule(), fault), **(routes or {})}
        self.passages: deque[Passage] = deque(maxlen=REMEMBERED)
        self.connections: set[Downstream] = set()
        self._host, self._port = host, port
        self._portal: background.Portal | None = None
        self._server: asyncio.Server | None = None
        self._address = ("", 0)

    @property
    def rule(self) -> Rule:
        """The rule of the main route."""
        return self.routes[""].rule

    @property
    def url(self) -> str:
        """Where it listens; no trailing slash."""
        if self._server is None:
            raise RuntimeError("The proxy is not started; use it in a `with` block, or call start().")
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def start(self) -> Self:
        """Listen; twice is fine."""
        if self._server is None:
            sock = sockets.listen(self._host, self._port)
            self._address = sock.getsockname()[:2]
            self._portal = background.portal()
            self._server = self._portal.run(self._listen(sock), timeout=10)
        return self

    async def _listen(self, sock: Any) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(lambda: Downstream(self), sock=sock)

    def stop(self) -> None:
        """Stop listening and drop every connection; twice is fine."""
        server, self._server = self._server, None
        if server is not None and self._portal is not None and self._portal.alive:
            self._portal.run(self._close(server), timeout=5)

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        for connection in list(self.connections):
            connection.abandon()
            connection.transport.abort()
        for _ in range(2):  # let the aborted connections say so
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
