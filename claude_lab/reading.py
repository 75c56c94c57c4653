"""One answer as a client reads it, over as many connections as it takes: bytes in, frames out, and what to do at a cut.

Sans-I/O: whoever holds the sockets asks `request` what to send, feeds what comes, and reports a connection's end to
`lost`, which answers with a wait or with the end. Each frame counts once, however often it comes, and nothing counts
after a final one. An answer ends with one `Done` or one `Error`: what was cut for good ends with `truncated`.

Divergence 1 (from readers that skip what they cannot parse): data that is no frame was damaged on its way, and skipping
it would lose words unseen, so the connection counts as broken there. A frame of an unknown type is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from claude_lab import sse
from claude_lab.failure import Failure, classify, failure_of_response
from claude_lab.kinds import FINAL, FRAMES, RUN, TEXT, Error, Frame, Resume, check, typed
from claude_lab.retry import GiveUp, RetryPolicy, State
from claude_lab.runs import EVENT_ID, new_name
from claude_lab.trace import Trace
from claude_lab.utf16 import Tape

ACCEPT = "text/event-stream"
RESUME = RetryPolicy(max_retries=5, base_delay=0.5, max_delay=8.0, jitter="equal")
"""How a client comes back by itself: five tries in 8 to 16 seconds, counted anew whenever a frame has come."""
ENDED_EARLY = "The stream ended without its final frame."
GONE = "the server does not have it any more"
LONGEST = 1000
"""Characters at most of what a refusal says."""
NOT_WHOLE = "What came is not the whole answer"


def no_number(name: str) -> Any:
    """Refuse what Python's JSON would take beyond the standard: NaN and Infinity."""
    raise ValueError(f"{name} is not JSON")


JSON = json.JSONDecoder(parse_constant=no_number)


@dataclass(slots=True)
class Reading:
    """What came of one answer; `trace` holds its marks.

    `run` is the name to come back to, None when the server gave none; `asking`, that the question is what goes out
    next. `stopping` tells whether the stop was our own wish: a run that is found stopped after a cut is not whole else.
    `moved` is the wait in seconds that a leaving server asks for, `damage` what is wrong with this connection's bytes.
    """

    trace: Trace = field(default_factory=Trace)
    run: str | None = field(default_factory=new_name)
    policy: RetryPolicy = RESUME
    stopping: Callable[[], bool] = lambda: False
    last_id: str | None = None
    resumed: int = 0
    ended: bool = False
    moved: float | None = None
    damage: str = ""
    begun: bool = False
    asking: bool = True
    _decoder: sse.Decoder = field(default_factory=sse.Decoder)
    _seen: tuple[int, int] = (0, 0)
    _tapes: dict[str, Tape] = field(default_factory=lambda: {kind: Tape() for kind in TEXT})
    _state: State | None = None
    _cut: Failure = field(default_factory=lambda: Failure("network_error", "There was no connection."))

    @property
    def over(self) -> bool:
        """Whether this connection has nothing more to say: it brought a final frame, or `moved`, or damage."""
        return self.ended or self.moved is not None or bool(self.damage)

    def request(self) -> tuple[str, str, dict[str, str]]:
        """Return method, path and headers of the next request: the question at first, then the rest of its answer."""
        headers = {"accept": ACCEPT, "accept-encoding": "identity"}
        if self.asking:
            return "POST", "/chat/stream", headers | ({RUN: self.run} if self.run else {})
        self.resumed += 1
        return "GET", f"/chat/stream/{self.run}", headers | ({"last-event-id": self.last_id} if self.last_id else {})

    def head(self, status: int, headers: Mapping[str, str]) -> bool:
        """Take a response's head; return whether its body is to be fed, else it goes to `refuse`."""
        self.trace.add("head", status)
        streams = headers.get("content-type", "").startswith(ACCEPT)
        if streams:
            self._decoder, self.moved, self.damage = sse.Decoder(), None, ""
            if not self.begun:
                self.run = headers.get(RUN)
            self.begun, self.asking = True, False
        return streams

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take one read's bytes and return the frames that are new; nothing after the final one, nor after damage."""
        self.trace.add("chunk", len(chunk))
        frames: list[Frame] = []
        try:
            for event in self._decoder.feed(chunk):
                if self.over:
                    break
                found = JSON.decode(event.data)
                check(found)
                if found["type"] in FRAMES and self._is_new(found.get("id")):
                    frames.append(self._take(found))
        except (ValueError, RecursionError) as error:
            self.damage = f"The stream was damaged on its way ({str(error).rstrip('.')})."
        return frames

    def _take(self, found: dict[str, Any]) -> Frame:
        kind = found["type"]
        if kind in TEXT:
            found["text"] = self._tapes[kind].add(found["text"])
        elif kind == "reset":
            for tape in self._tapes.values() if found["keep_chars"] == 0 else (self._tapes["delta"],):
                tape.keep(found["keep_chars"])
        elif kind == "start":
            self.run = found.get("run") or self.run
        elif kind == "moved":
            self.moved = float(found.get("retry") or 0.0)
        elif kind == "done" and found.get("stop_reason") == "stopped" and self.resumed and not self.stopping():
            return self.fail("truncated", f"The connection was lost, and the run was stopped meanwhile. {NOT_WHOLE}.")
        self.trace.add(kind, found["text"] if kind in TEXT else found)
        self.ended = kind in FINAL
        return typed(found)

    def _is_new(self, event_id: Any) -> bool:
        """Whether the frame's id is beyond the last one; a frame without one of ours is."""
        place = EVENT_ID.fullmatch(event_id) if isinstance(event_id, str) else None
        if place is None:
            return True
        here = int(place[1]), int(place[2])
        if here <= self._seen:
            return False
        self._seen, self.last_id, self._state = here, event_id, None
        return True

    def refuse(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """Return what a response without frames means, for `lost`."""
        failure = failure_of_response(status, headers, None)
        return Failure(failure.kind, sentence(status, body), status=status, retry_after=failure.retry_after)

    def lost(
        self, failure: Failure | None, *, now: float, rand: Callable[[], float], sent: bool = True
    ) -> Resume | Error | None:
        """Say what to do now that a connection has ended: None when the answer has, else wait, or be told the end.

        `failure` is None for a stream that ended politely; `sent` is False when the server has seen no request.
        """
        if self.ended:
            return None
        refused = failure is not None and failure.status is not None
        failure = failure or Failure("truncated", self.damage or ENDED_EARLY, retry_after=self.moved)
        if not self.resumed and (refused or not sent):
            return self.fail(failure.kind, failure.message)
        if not refused:
            self._cut = failure
        # The question never came to the run of that name, so it may be asked again.
        self.asking = failure.status == 404 and not self.begun
        if self.asking:
            failure = self._cut
        self._state = self._state or self.policy.begin(now)
        verdict = self._state.after(failure, now=now, rand=rand)
        if self.run is None:
            verdict = GiveUp("the server named no run to come back to")
        if isinstance(verdict, GiveUp):
            told = GONE if failure.status in (404, 410) else failure.message.rstrip(".")
            return self._give_up(verdict.reason if failure.status is None else told)
        resume = Resume(error=failure.kind, attempt=self._state.retries, wait=verdict.seconds, after=self.last_id)
        self.trace.add("resume", asdict(resume))
        return resume

    def _give_up(self, reason: str) -> Error:
        kind = "truncated" if self.begun and self._cut.kind != "timeout" else self._cut.kind
        told = NOT_WHOLE if self.begun else "Asking again did not help"
        return self.fail(kind, f"{self._cut.message} {told}: {reason}.")

    def fail(self, kind: str, message: str) -> Error:
        """End the answer with an error of our own."""
        self.ended = True
        return fail(self.trace, kind, message)


def fail(trace: Trace, kind: str, message: str) -> Error:
    """Add an `error` mark, unless the stream had ended already, and return it as a frame."""
    error = Error(error=kind, message=message, retryable=classify(Failure(kind)).retryable)
    if not trace.ended:
        trace.add("error", {"error": kind, "message": message, "retryable": error.retryable})
    return error


def sentence(status: int, body: bytes) -> str:
    """Return what a refusal says: FastAPI's detail, or the beginning of a page."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return f"The server answered {status}: {body[:200].decode('utf-8', 'replace')!r}."
    if isinstance(detail, list):
        detail = "; ".join(f"{'.'.join(map(str, item.get('loc', ())))}: {item.get('msg')}" for item in detail)
    return f"The server answered {status}: {str(detail)[:LONGEST]}"
