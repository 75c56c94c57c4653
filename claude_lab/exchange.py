"""Plain HTTP exchanges with a Messages API, for checking it: no SDK in between, so that every byte can be seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx

from claude_lab.sse import Decoder, Event

NEW, OLD = "2026-10-21", "2023-06-01"
ASK: dict[str, Any] = {
    "model": "claude-opus-4-6",
    "max_tokens": 300,
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}
"""A plain request, to a model that does not think of its own accord."""
SILENT = 3
"""After so many requests without an answer nothing more is asked."""


class Broken(AssertionError):
    """A rule does not hold; the message is the evidence."""


class Missing(Exception):
    """What is asked for does not exist at this URL, so the rule says nothing about it."""


def expect(holds: object, evidence: str) -> None:
    """Raise Broken with the evidence unless something holds."""
    if not holds:
        raise Broken(evidence)


def equal(actual: object, wanted: object, what: str) -> None:
    """Raise Broken unless two values are equal."""
    expect(actual == wanted, f"{what}: {actual!r} instead of {wanted!r}")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One response, read whole: `cut` names the error that ended it early."""

    status: int
    headers: httpx.Headers
    body: bytes
    cut: str | None = None

    @property
    def json(self) -> Any:
        """The body as JSON; Broken if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise Broken(f"the body is not JSON: {self.body[:80]!r}") from None

    @property
    def blocks(self) -> list[Event]:
        """The stream's events, as the standard reads them; Broken if there is no stream."""
        found = Decoder().feed(self.body) if self.status == 200 else []
        expect(found, f"there are no events: status {self.status}, {self.body[:60]!r}")
        return found

    @property
    def events(self) -> list[dict[str, Any]]:
        """The data of the stream's events."""
        try:
            return [json.loads(block.data) for block in self.blocks]
        except ValueError as error:
            raise Broken(f"an event's data is not JSON: {error}") from None

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of one type."""
        return [event for event in self.events if event.get("type") == kind]

    def one(self, kind: str) -> dict[str, Any]:
        """Return the only event of a type."""
        found = self.of(kind)
        equal(len(found), 1, f"the number of {kind} events")
        return found[0]

    def deltas(self, kind: str) -> list[Any]:
        """Return the deltas of one type."""
        found = [event["delta"] for event in self.of("content_block_delta")]
        return [delta for delta in found if delta.get("type") == kind]

    @property
    def text(self) -> str:
        """The text of the stream."""
        return "".join(delta["text"] for delta in self.deltas("text_delta"))

    @property
    def usage(self) -> dict[str, Any]:
        """The usage of a message, or of a stream's start."""
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            return dict(self.one("message_start")["message"]["usage"])
        return dict(self.json["usage"])


def answered(answer: Exchange) -> None:
    """Expect a whole message."""
    equal(answer.status, 200, "the status")
    equal(answer.json.get("type"), "message", "the type of the answer")


def reachable(url: str) -> bool:
    """Tell whether a URL names a server at all."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parsed.scheme in ("http", "https") and bool(parsed.host)


@dataclass(slots=True)
class Api:
    """A Messages API at a URL; equal requests of one run are sent once, unless `fresh`."""

    url: str
    key: str = "lab"
    timeout: float = 30.0
    seen: dict[str, Exchange] = field(default_factory=dict)
    client: httpx.Client = field(init=False, repr=False)
    lent: dict[str, Any] = field(default_factory=dict, repr=False)
    silent: int = 0

    def __post_init__(self) -> None:
        if not reachable(self.url):
            raise ValueError(f"{self.url!r} is no address of a server; give one such as http://127.0.0.1:8001.")
        # Loading certificates takes longer than most checks.
        tls = self.url.startswith("https")
        self.client = httpx.Client(base_url=self.url, timeout=self.timeout, trust_env=False, verify=tls)

    def headers(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        """Return the headers of a request; None takes one out."""
        usual = {"authorization": f"Bearer {self.key}", "anthropic-version": NEW, "content-type": "application/json"}
        return {name: value for name, value in {**usual, **changes}.items() if value is not None}

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        fresh: bool = False,
        raw: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Exchange:
        """Send a request and read the response, to its end or until it breaks."""
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        named = headers or {}
        memory = repr((method, path, content[:10_000], len(content), sorted(named.items(), key=str)))
        if fresh or memory not in self.seen:
            self.seen[memory] = self._send(method, path, content, self.headers(named))
        return self.seen[memory]

    def _send(self, method: str, path: str, content: bytes, headers: dict[str, str]) -> Exchange:
        if self.silent >= SILENT:
            raise Broken(f"not asked: {SILENT} requests before had no answer within {self.timeout:g} s")
        chunks: list[bytes] = []
        try:
            with self.client.stream(method, path, content=content, headers=headers) as response:
                try:
                    chunks.extend(response.iter_raw())
                except httpx.HTTPError as error:
                    return Exchange(response.status_code, response.headers, b"".join(chunks), type(error).__name__)
                return Exchange(response.status_code, response.headers, b"".join(chunks))
        except httpx.HTTPError as error:
            self.silent += isinstance(error, httpx.TimeoutException)
            return Exchange(0, httpx.Headers(), b"", type(error).__name__)

    def ask(self, *, fresh: bool = False, headers: Mapping[str, str | None] | None = None, **changes: Any) -> Exchange:
        """Post a message; `changes` to the plain request, None takes a field out."""
        body = {name: value for name, value in {**ASK, **changes}.items() if value is not None}
        return self.send("POST", "/v1/messages", body, fresh=fresh, headers=headers)

    def stream(self, **changes: Any) -> Exchange:
        """Stream a message."""
        return self.ask(stream=True, **changes)

    def lab(self, scenario: str | dict[str, Any], *, stream: bool = True, times: int = 1, **changes: Any) -> Exchange:
        """Ask under a scenario chosen by header, a few times; return the last response. Raises Missing elsewhere."""
        if self.send("GET", "/_lab/scenario").status != 200:
            raise Missing("no control under /_lab/")
        told = scenario if isinstance(scenario, str) else json.dumps(scenario)
        headers = {"x-claude-lab-scenario": told}
        for _ in range(times):
            answer = self.ask(stream=stream or None, fresh=True, headers=headers, **changes)
        return answer

    def reach(self) -> None:
        """Raise ConnectionError, in one sentence, where nobody takes a connection."""
        try:
            self.client.get("/v1/models")
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ConnectionError(f"Nothing answers at {self.url!r} ({error}); is the server running?") from None
        except httpx.HTTPError:
            pass  # it is there, and the checks will say what is wrong with it

    def close(self) -> None:
        """Close the connections, and the clients lent out."""
        for client in (self.client, *self.lent.values()):
            client.close()


@dataclass(frozen=True, slots=True)
class Check:
    """One rule: its name, what it claims, where it is written, and how to find out."""

    name: str
    claim: str
    source: str
    run: Callable[[Api], None]


CHECKS: dict[str, Check] = {}
"""Every rule, by name."""


Run: TypeAlias = Callable[[Api], None]


def rule(source: str, name: str | None = None, claim: str | None = None) -> Callable[[Run], Run]:
    """Register a function as the check of a rule; its docstring is the claim."""

    def register(run: Run) -> Run:
        title = (name or run.__name__).replace("_", "-")
        if title in CHECKS:
            raise ValueError(f"There are two checks named {title!r}; give each rule its own name.")
        CHECKS[title] = Check(title, (claim or run.__doc__ or "").strip(), source, run)
        return run

    return register
