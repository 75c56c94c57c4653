"""The probe's endpoint: a small ASGI app that streams on a schedule and says, in each event, when it wrote it.

Mount it behind the chain to examine; `claude_lab.diagnosis` asks it questions through every hop. Query parameters:

| name | meaning | default |
|---|---|---|
| `count`, `every`, `size` | how many events, seconds between them, bytes of each | 40, 0.025, 120 |
| `group` | events written together, as a bursty provider does | 1 |
| `accel` | the value of `X-Accel-Buffering`; empty for none | `no` |
| `cache` | the value of `Cache-Control` | `no-cache, no-transform`, as our server sends |
| `type` | the media type | `text/event-stream` |
| `gap` | seconds of silence in the middle | 0 |
| `fill` | what fills the events up: `x`, which any compressor makes small, or `random`, which none does | x |
| `die`, `how` | stop after so many events, by `cut`, `reset` or `hang` | never |
| `id`, `report` | name this stream; ask what became of the one so named | |
| `fresh` | any word; the head says it again, so that a cache's replay shows | |

Each event is JSON: `n`, `at` (seconds since the first) and `due` (when it should have been written): a gap between
the two is the origin's own fault, not a proxy's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from claude_lab import clock
from claude_lab.background import TRANSPORT
from claude_lab.sockets import reset

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MARK = "x-claude-lab-probe"
REMEMBERED = 256
LIMITS = {"count": (1, 5000), "every": (0.0, 60.0), "size": (90, 65536), "group": (1, 1000), "gap": (0.0, 3600.0)}
HOW = ("cut", "reset", "hang")
FILLS = ("x", "random")


@dataclass(frozen=True, slots=True)
class Plan:
    """What one probe asks for; raises ValueError for a value out of bounds."""

    count: int = 40
    every: float = 0.025
    size: int = 120
    group: int = 1
    accel: str = "no"
    cache: str = "no-cache, no-transform"
    type: str = "text/event-stream"
    gap: float = 0.0
    die: int | None = None
    how: str = "cut"
    id: str = ""
    fill: str = "x"

    def __post_init__(self) -> None:
        for name, (least, most) in LIMITS.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"The probe's {name} must be within {least} and {most}, not {getattr(self, name)!r}.")
        if self.how not in HOW:
            raise ValueError(f"The probe cannot die by {self.how!r}; use one of {', '.join(HOW)}.")
        if self.fill not in FILLS:
            raise ValueError(f"The probe cannot fill events with {self.fill!r}; use one of {', '.join(FILLS)}.")
        if not all(" " <= character <= "~" for character in self.accel + self.cache + self.type):
            raise ValueError("The probe's accel, cache and type must be one line of plain ASCII each.")

    @classmethod
    def parse(cls, query: str) -> Plan:
        """Read a query string; unknown names are left alone, so that a cache-buster does no harm."""
        given = dict(parse_qsl(query, keep_blank_values=True))
        return cls(**{name: READ[name](value) for name, value in given.items() if name in READ})

    def due(self, number: int) -> float:
        """Return when an event is to be written, in seconds from the first."""
        silence = self.gap if number > self.count // 2 else 0.0
        return (number // self.group) * self.group * self.every + silence

    def query(self) -> str:
        """Write the query string: what differs from the defaults, and `accel` always."""
        plain = Plan()
        changed = {name: value for name, value in asdict(self).items() if value != getattr(plain, name)}
        return urlencode({"accel": self.accel, **changed}, quote_via=quote, safe="/")


READ: dict[str, Callable[[str], Any]] = {
    "count": int,
    "every": float,
    "size": int,
    "group": int,
    "accel": str,
    "cache": str,
    "type": str,
    "gap": float,
    "die": int,
    "how": str,
    "id": str,
    "fill": str,
}


@dataclass(slots=True)
class Seen:
    """What the endpoint knows of one stream."""

    written: int = 0
    ended: bool = False
    left: float | None = None
    began: float = field(default_factory=clock.now)


class Probe:
    """The endpoint, an ASGI app; it remembers its last streams for `report`."""

    def __init__(self) -> None:
        self.streams: OrderedDict[str, Seen] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, at any path and by any method."""
        if scope["type"] != "http":
            return
        query = scope.get("query_string", b"").decode("latin-1")
        asked = dict(parse_qsl(query))
        if "report" in asked:
            await self._report(asked["report"], send)
            return
        try:
            plan = Plan.parse(query)
        except ValueError as error:
            await answer(send, 422, {"error": str(error)})
            return
        await self._stream(plan, asked.get("fresh", "1"), scope, receive, send)

    async def _report(self, name: str, send: Send) -> None:
        seen = self.streams.get(name)
        body = {"written": seen.written, "ended": seen.ended, "left": seen.left} if seen else {"error": "unknown id"}
        await answer(send, 200 if seen else 404, body)

    async def _stream(self, plan: Plan, fresh: str, scope: Scope, receive: Receive, send: Send) -> None:
        seen = self.streams[plan.id] = Seen()
        while len(self.streams) > REMEMBERED:
            self.streams.popitem(last=False)
        watch = asyncio.ensure_future(disconnected(receive))
        play = asyncio.ensure_future(self._play(plan, fresh, seen, scope, send))
        try:
            await asyncio.wait({watch, play}, return_when=asyncio.FIRST_COMPLETED)
            if not play.done():
                seen.left = clock.now() - seen.began
        finally:
            for task in (watch, play):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await task

    async def _play(self, plan: Plan, fresh: str, seen: Seen, scope: Scope, send: Send) -> None:
        fields = [("content-type", plan.type), ("cache-control", plan.cache), (MARK, fresh if word(fresh) else "1")]
        fields += [("x-accel-buffering", plan.accel)] if plan.accel else []
        headers = [(name.encode(), value.encode("latin-1")) for name, value in fields]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        started = clock.now()
        for number in range(plan.count):
            if number == plan.die:
                await die(plan.how, scope)
            due = plan.due(number)
            await asyncio.sleep(max(0.0, started + due - clock.now()))
            await send({"type": "http.response.body", "body": event(plan, number, started), "more_body": True})
            seen.written += 1
        await send({"type": "http.response.body", "body": b""})
        seen.ended = True


def event(plan: Plan, number: int, started: float) -> bytes:
    """Return one event of the plan's size, stamped now."""
    words = {"n": number, "at": round(clock.now() - started, 6), "due": round(plan.due(number), 6), "of": plan.count}
    text = f"data: {json.dumps(words)}"
    return (text[:-1] + f', "x": "{filling(plan, number, plan.size - len(text) - 11)}"' + "}\n\n").encode()


def filling(plan: Plan, number: int, size: int) -> str:
    """Return what fills an event up to its size, the same for the same number; random text is hexadecimal digits."""
    if plan.fill == "x":
        return "x" * size
    return hashlib.shake_256(b"%d" % number).hexdigest(max(0, size) // 2 + 1)[: max(0, size)]


def word(text: str) -> bool:
    """Whether a text may stand in a header: a few letters and digits."""
    return text.isascii() and text.isalnum() and len(text) <= 64


async def disconnected(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def die(how: str, scope: Scope) -> None:
    """Stop the way the plan says; without our server's raw transport a reset becomes a cut."""
    if how == "hang":
        await asyncio.sleep(3600)
    transport = scope.get("extensions", {}).get(TRANSPORT)
    await asyncio.sleep(0.02)
    if transport is None:
        raise ConnectionAbortedError("The probe was told to die here.")
    if how == "reset":
        reset(transport)
    transport.abort()
    await asyncio.sleep(3600)  # the disconnect that follows ends this


async def answer(send: Send, status: int, body: dict[str, Any]) -> None:
    """Send a short JSON answer."""
    data = json.dumps(body).encode()
    fields = {"content-type": "application/json", "content-length": str(len(data)), MARK: "1"}
    headers = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
