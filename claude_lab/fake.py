"""FakeClaude: the Messages API on a real socket, played from a scenario; unmodified client code streams from it.

It never forwards anything anywhere, and never keeps a key. Under `/_lab/` it shows its journal and takes scenarios;
a request's header `x-claude-lab-scenario` (a name, or JSON) chooses one for itself.
"""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any, Self

from claude_lab import background, bodies, chance, clock, gate, presets, replies
from claude_lab.background import Served, TransportProtocol
from claude_lab.calls import Call, read
from claude_lab.endpoints import NOT_FOUND, Endpoints
from claude_lab.journal import Entry, Journal, redact
from claude_lab.player import Connection, Receive, Scope, Send, play
from claude_lab.responses import Response, Tags, plain, refused
from claude_lab.scenario import Scenario, World
from claude_lab.verdict import Verdict, judge


class FakeClaude:
    """A fake Claude that does what a scenario says: a context manager with a `.url`, a `.journal` and an ASGI `.app`.

    `port=0` takes a free port; a taken one raises OSError from `start()`. `prefix` begins every path.
    """

    def __init__(
        self, scenario: Scenario | None = None, *, host: str = "127.0.0.1", port: int = 0, prefix: str = ""
    ) -> None:
        self.host = host
        self.port = port
        self.prefix = prefix.rstrip("/")
        self.journal = Journal()
        self._served: Served | None = None
        self.put(scenario if scenario is not None else Scenario())

    def put(self, scenario: Scenario) -> None:
        """Follow another scenario from the next request on, from its beginning."""
        self.scenario = scenario
        self._endpoints = Endpoints(scenario)

    def start(self) -> Self:
        """Serve on the portal; return once it answers."""
        if self._served is None or not self._served.alive:
            self._served = background.serve(self.app, host=self.host, port=self.port, protocol=TransportProtocol)
        return self

    def stop(self) -> None:
        """Stop serving; twice is fine."""
        if self._served is not None:
            self._served.stop()

    @property
    def url(self) -> str:
        """The base URL for a client, without a trailing slash. Raises RuntimeError before `start()`."""
        if self._served is None:
            raise RuntimeError("The fake has no URL before it runs; use `with FakeClaude() as fake:` or call start().")
        return self._served.url + self.prefix

    @property
    def world(self) -> World:
        """The world that decides the requests."""
        return self._endpoints.world

    @property
    def requests(self) -> list[Entry]:
        """The journal's entries, oldest first."""
        return list(self.journal)

    def verdict(self) -> Verdict:
        """Return what the journal says about the client."""
        return judge(self.journal)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def app(self) -> Any:
        """The ASGI app: a plain function, which every server recognizes."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await lifespan(receive, send)
            elif scope["type"] == "http":
                await self._serve(scope, Connection(scope, receive, send))

        return app

    async def _serve(self, scope: Scope, connection: Connection) -> None:
        call = await read(scope, connection, self.prefix)
        if call.path.startswith("/_lab/"):
            response = control(self, call)
            await play(response.played, connection, response.status, response.lines())
            return
        entry = call.entry = self._note(call)
        call.tags = Tags(replies.ident("req", self.scenario.seed, entry.fingerprint, entry.number))
        try:
            response = self._endpoints.respond(call)
            entry.status, entry.request_id = response.status, response.headers.get("request-id")
            entry.fault = str(response.fault) if response.fault is not None else None
            entry.retry_after = seconds_told(response)
            entry.text_sent = any(b'"text_delta"' in chunk for chunk in response.played.chunks)

            def closing() -> None:
                entry.ended, entry.ended_at = response.outcome(response.played.end), clock.now()
                entry.sent_bytes = sum(map(len, response.played.chunks))

            ended = await play(response.played, connection, response.status, response.lines(), closing=closing)
            entry.ended = response.outcome(ended)
        finally:
            entry.sent_bytes = connection.sent_bytes
            if entry.ended_at is None or entry.ended == "client left":
                entry.ended_at = clock.now()
            if entry.ended == "open":
                entry.ended = "stopped"

    def _note(self, call: Call) -> Entry:
        """Open a journal entry for a request."""
        return self.journal.add(
            Entry(
                number=self.journal.total + 1,
                at=clock.now(),
                method=call.method,
                path=call.path,
                headers=redact(call.headers),
                call=call.headers.get("x-claude-lab-call"),
                attempt=attempt_of(call.headers),
                fingerprint=chance.key(call.raw),
            )
        )


def control(fake: FakeClaude, call: Call) -> Response:
    """Answer a request under `/_lab/`: the scenario (GET, PUT) and the journal (GET, DELETE)."""
    tags = Tags("req_lab")
    if refusal := gate.stranger(call.headers, fake.host):
        return refused(refusal, tags)
    what = (call.method, call.path.removeprefix("/_lab/"))
    if what == ("PUT", "scenario"):
        try:
            fake.put(presets.read(call.raw))
        except ValueError as error:
            return refused(bodies.invalid(error), tags)
    if what in (("GET", "scenario"), ("PUT", "scenario")):
        return plain(presets.write(fake.scenario), tags)
    if what == ("DELETE", "journal"):
        fake.journal.clear()
    if what in (("GET", "journal"), ("DELETE", "journal")):
        return plain(fake.journal.json(), tags)
    return refused(NOT_FOUND, tags)


def seconds_told(response: Response) -> float | None:
    """Return the seconds that a refusal told its client to wait, or None."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        if re.fullmatch(r"\d+(\.\d+)?", told := response.headers.get(name, "")):
            return float(told) / unit
    return None


def attempt_of(headers: dict[str, str]) -> int:
    """Return the attempt's number, from 1: our driver's header, else one more than the SDK's count of retries."""
    for name, first in (("x-claude-lab-attempt", 0), ("x-stainless-retry-count", 1)):
        if re.fullmatch("[0-9]{1,6}", headers.get(name, "")):
            return int(headers[name]) + first
    return 1


async def lifespan(receive: Receive, send: Send) -> None:
    """Take part in the server's start and stop."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
