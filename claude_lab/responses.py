"""Responses of the fake as values: a status, headers and a playback; JSON, refusals, streams and raw bytes alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from claude_lab import clock, faults, limits, playback
from claude_lab.chance import Purpose, u
from claude_lab.faults import Fault, Raw, Refusal
from claude_lab.frames import PING, Frame, dump, frames, pad
from claude_lab.messages import Reply, error_body
from claude_lab.playback import Playback
from claude_lab.scenario import Decision

JSON = "application/json"
STREAM = "text/event-stream; charset=utf-8"
PADDING = 16
COMMON = {
    "anthropic-organization-id": "00000000-0000-4000-8000-0000000c1a0d",
    "cache-control": "no-cache",
    "server": "cloudflare",
    "cf-cache-status": "DYNAMIC",
    "x-robots-tag": "none",
    "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Headers of every answer, as recorded from the API."""


@dataclass(frozen=True, slots=True)
class Response:
    """What to send: the head, and the playback of the body. `why` is the refusal it carries out, if any."""

    status: int
    headers: Mapping[str, str]
    played: Playback
    why: Refusal | None = None
    fault: Fault | None = None

    def lines(self) -> list[tuple[bytes, bytes]]:
        """Return the headers as ASGI wants them."""
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]

    def outcome(self, ended: str) -> str:
        """Return what the journal says of its end."""
        if ended == "client left":
            return ended
        return "refused" if self.why else "complete" if self.played.whole else "fault"


@dataclass(frozen=True, slots=True)
class Tags:
    """What the head says besides its content: the request's id, and the limits, if they are told."""

    request_id: str
    levels: tuple[tuple[float, float, float], ...] | None = field(default=None)

    def headers(self, kind: str) -> dict[str, str]:
        """Return the headers of a response with this content type."""
        told = limits.headers(self.levels, clock.date()) if self.levels else {}
        return {"content-type": kind, "request-id": self.request_id, **COMMON, **told}


def plain(value: Any, tags: Tags, *, status: int = 200, kind: str = JSON) -> Response:
    """Return a response that is ready at once: JSON, or a text as it is."""
    data = (value if isinstance(value, str) else dump(value)).encode()
    return Response(status, {**tags.headers(kind), "content-length": str(len(data))}, Playback([data], [0.0]))


def refused(refusal: Refusal, tags: Tags) -> Response:
    """Return an HTTP error in the API's envelope, or with the refusal's own body."""
    body = refusal.body
    if body is None:
        code = refusal.error_code
        body = dump(error_body(refusal.error_type, refusal.message, tags.request_id, error_code=code))
    data = body.encode()
    headers = {**tags.headers(refusal.content_type), **refusal.headers, "content-length": str(len(data))}
    if refusal.retry_at is not None:
        headers["retry-after"] = formatdate(clock.date() + refusal.retry_at, usegmt=True)
    return Response(refusal.status, headers, Playback([data], [0.0]), refusal, refusal)


def raw(fault: Raw, tags: Tags) -> Response:
    """Return exactly what a raw step says."""
    played = Playback(list(fault.chunks), [fault.gap] * len(fault.chunks), fault.end, whole=False)
    return Response(fault.status, {"request-id": tags.request_id, **fault.headers}, played, None, fault)


def whole(decision: Decision, reply: Reply, tags: Tags) -> Response:
    """Return a reply that is not streamed; it takes as long as its stream would."""
    count = sum(1 for each in frames(reply) if each.paced) if decision.pace.gap else 1
    wait = decision.ttft + sum(decision.gaps(max(0, count - 1)))
    length = len(dump(reply.message()).encode())
    played = playback.whole(reply, wait, decision.fault)
    if played.end == "complete":
        length = sum(map(len, played.chunks))
    return Response(200, {**tags.headers(JSON), "content-length": str(length)}, played, None, decision.fault)


def streamed(decision: Decision, reply: Reply, tags: Tags, *, padding: bool) -> Response:
    """Return a streamed reply, bent by the decision's fault."""
    made = frames(reply)
    if padding:
        made = [padded(decision, index, each) for index, each in enumerate(made)]
    paced = sum(1 for each in made if each.paced)
    played = playback.timed(made, decision.ttft, decision.pace.head, decision.gaps(max(0, paced - 1)))
    if isinstance(decision.fault, faults.Break):
        played = playback.bend(played, made, decision.fault)
    return Response(200, tags.headers(STREAM), played, None, decision.fault)


def padded(decision: Decision, index: int, each: Frame) -> Frame:
    """Return an event with spaces before its last brace, so that its length tells nothing; `ping` has none."""
    if each.data is PING:
        return each
    drawn = u(decision.seed, decision.key, decision.attempt, Purpose.SIZE + (index << 8))
    return pad(each, int(drawn * PADDING))


def decided(decision: Decision, tags: Tags, *, stream: bool, padding: bool) -> Response:
    """Return the response to a valid request, as the world decided."""
    if decision.refusal:
        return refused(decision.refusal, tags)
    if isinstance(decision.fault, Raw):
        return raw(decision.fault, tags)
    assert decision.reply is not None, "a request with a body has a reply"
    if stream:
        return streamed(decision, decision.reply, tags, padding=padding)
    return whole(decision, decision.reply, tags)
