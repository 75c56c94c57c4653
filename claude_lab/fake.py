"""FakeClaude: the Messages API on a real socket, played from a scenario; unmodified client code streams from it.

It never forwards anything anywhere, and never keeps a key.
"""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

from claude_lab import background, catalogue, chance, clock, faults, playback, tokens
from claude_lab.background import Served, TransportProtocol
from claude_lab.frames import dump, frames
from claude_lab.journal import Entry, Journal, redact
from claude_lab.messages import error_body
from claude_lab.playback import Playback
from claude_lab.player import Connection, Receive, Scope, Send, play
from claude_lab.scenario import Decision, Request, Scenario

ORGANIZATION = "00000000-0000-4000-8000-0000000c1a0d"
STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"


class FakeClaude:
    """A fake Claude that does what a scenario says: a context manager with a `.url`, a `.journal` and an ASGI `.app`.

    `port=0` takes a free port; a taken one raises OSError from `start()`.
    """

    def __init__(self, scenario: Scenario | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self.journal = Journal()
        self._served: Served | None = None
        self.put(scenario if scenario is not None else Scenario())

    def put(self, scenario: Scenario) -> None:
        """Follow another scenario from the next request on, from its beginning."""
        self.scenario = scenario
        self.world = scenario.world()

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
        return self._served.url

    @property
    def requests(self) -> list[Entry]:
        """The journal's entries, oldest first."""
        return list(self.journal)

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
                await self._answer(scope, Connection(scope, receive, send))

        return app

    async def _answer(self, scope: Scope, connection: Connection) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        raw = await read(connection)
        body = json.loads(raw or b"null")
        entry = self._note(scope, headers, body, raw)
        decision = self.world.admit(entry.at, request_of(entry))
        entry.fault = str(decision.fault) if decision.fault is not None else None
        entry.request_id, entry.status = decision.request_id, decision.status
        played, kind = self._played(decision, entry)
        sent = {"content-type": kind, **head(decision), **extra(decision)}
        if not entry.stream or decision.refusal:
            sent["content-length"] = str(sum(map(len, played.chunks)))
        try:
            ended = await play(played, connection, decision.status, lines(sent))
            entry.ended = outcome(decision, played, ended)
        except BaseException:
            entry.ended = "stopped"
            raise
        finally:
            entry.sent_bytes, entry.ended_at = connection.sent_bytes, clock.now()

    def _note(self, scope: Scope, headers: dict[str, str], body: Any, raw: bytes) -> Entry:
        """Open a journal entry for a request."""
        return self.journal.add(
            Entry(
                number=len(self.journal) + 1,
                at=clock.now(),
                method=scope["method"],
                path=scope["path"],
                headers=redact(headers),
                body=body,
                call=headers.get("x-claude-lab-call"),
                attempt=attempt_of(headers),
                fingerprint=chance.key(raw),
                stream=bool(isinstance(body, dict) and body.get("stream")),
            )
        )

    def _played(self, decision: Decision, entry: Entry) -> tuple[Playback, str]:
        """Return what to play for a decision, and its content type."""
        if refusal := decision.refusal:
            return refused(refusal, decision.request_id), refusal.content_type
        assert decision.reply is not None
        made = frames(decision.reply)
        paced = sum(1 for each in made if each.paced)
        gaps = decision.gaps(max(0, paced - 1))
        if not entry.stream:
            return playback.whole(decision.reply, decision.ttft + sum(gaps), decision.fault), JSON
        played = playback.timed(made, decision.ttft, decision.pace.head, gaps)
        if isinstance(decision.fault, faults.Break):
            played = playback.bend(played, made, decision.fault)
        return played, STREAM


def outcome(decision: Decision, played: Playback, ended: str) -> str:
    """Return what the journal says of an answer's end."""
    if decision.refusal:
        return "refused"
    return ended if ended == "client left" else "complete" if played.whole else "fault"


def refused(refusal: faults.Refusal, request_id: str) -> Playback:
    """Return the playback of an HTTP error."""
    body = refusal.body
    if body is None:
        body = dump(error_body(refusal.error_type, refusal.message, request_id, error_code=refusal.error_code))
    return Playback([body.encode()], [0.0])


def head(decision: Decision) -> dict[str, str]:
    """Return the headers of every answer."""
    return {
        "request-id": decision.request_id,
        "anthropic-organization-id": ORGANIZATION,
        "cache-control": "no-cache",
        "server": "cloudflare",
        "cf-cache-status": "DYNAMIC",
        "x-robots-tag": "none",
        "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    }


def extra(decision: Decision) -> dict[str, str]:
    """Return the headers that tell a refused client when to come back."""
    return decision.refusal.headers if decision.refusal else {}


def lines(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Return the headers as ASGI wants them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def attempt_of(headers: dict[str, str]) -> int:
    """Return the attempt's number, from 1: our driver's header, else one more than the SDK's count of retries."""
    ours, sdk = headers.get("x-claude-lab-attempt", ""), headers.get("x-stainless-retry-count", "")
    return int(ours) if ours.isdigit() else int(sdk) + 1 if sdk.isdigit() else 1


def request_of(entry: Entry) -> Request:
    """Return a journal entry as the world sees it."""
    body = entry.body
    return Request(
        model=body.get("model", catalogue.DEFAULT),
        max_tokens=body.get("max_tokens", 0),
        stream=entry.stream,
        input_tokens=tokens.count_request(body),
        body=body,
        call=entry.call,
        attempt=entry.attempt,
        fingerprint=entry.fingerprint,
    )


async def read(connection: Connection) -> bytes:
    """Return the whole body of a request."""
    chunks = []
    more = True
    while more:
        message = await connection.receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


async def lifespan(receive: Receive, send: Send) -> None:
    """Take part in the server's start and stop."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
