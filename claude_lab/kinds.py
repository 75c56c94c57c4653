"""The kinds of frame that an answer is made of: one frozen value each, and the one list of them.

A frame is a JSON object with a `type`; `id` is its place in the run's log, `<epoch>-<seq>`. A `Resume` is never sent:
a client writes it where it came back after a cut. Every answer ends with one `Done` or one `Error`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The upstream has begun; `usage` holds what is known before the first token: input and cache.

    `cached` tells whether part of the prompt was read from the cache.
    """

    run: str | None = None
    model: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    cached: bool = False
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Attempt number `attempt` failed, and the server asks its upstream again in `wait` seconds."""

    error: str
    attempt: int
    wait: float
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """A piece of the thinking."""

    text: str
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A piece of the answer's text."""

    text: str
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """The model asks for a tool, with this input; its result goes back under `tool_id`."""

    tool_id: str
    name: str
    input: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """The text goes on after its first `keep_chars` code points; what stood behind them is void.

    0 voids the thinking too.
    """

    keep_chars: int
    reason: str = ""
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The server is leaving: come back to the run in `retry` seconds."""

    retry: float = 0.0
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The answer is whole, or was stopped (`stop_reason` "stopped"); `ttft` is in seconds, `cost` in dollars.

    `recoveries` counts how often the upstream died on the way, `billed_twice` the tokens that this cost.
    """

    stop_reason: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    ttft: float | None = None
    events: int = 0
    cost: float | None = None
    recoveries: int = 0
    billed_twice: Mapping[str, int] = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """The answer ended otherwise: `error` is its kind, `message` a sentence, `retry_after` in seconds.

    `recovery` says why an answer that broke off upstream was left as it is.
    """

    error: str
    message: str = ""
    retryable: bool = False
    retry_after: float | None = None
    request_id: str | None = None
    recovery: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """The connection was lost (`error` says how); the client asks for the rest, for the `attempt`-th time on end."""

    error: str
    attempt: int
    wait: float
    after: str | None = None


Frame = Start | Retry | Thinking | Delta | Tool | Reset | Moved | Done | Error
FRAMES: dict[str, type[Any]] = {
    "start": Start,
    "retry": Retry,
    "thinking": Thinking,
    "delta": Delta,
    "tool": Tool,
    "reset": Reset,
    "moved": Moved,
    "done": Done,
    "error": Error,
}
NAMES = {name: tuple(each.name for each in fields(kind)) for name, kind in FRAMES.items()}
RUN = "x-claude-lab-run"
"""The header that names a run: in a request the name it shall have, in a response the one it has."""
TEXT = frozenset({"thinking", "delta"})
FINAL = frozenset({"done", "error"})
NUMBER = (int, float)
NEEDED: dict[str, dict[str, type | tuple[type, ...]]] = {
    "retry": {"error": str, "attempt": int, "wait": NUMBER},
    "thinking": {"text": str},
    "delta": {"text": str},
    "tool": {"tool_id": str, "name": str},
    "reset": {"keep_chars": int},
    "error": {"error": str},
}


def check(found: Any) -> None:
    """Raise ValueError unless `found` is a JSON object with a type, and with what frames of that type need."""
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise ValueError(f"The data {found!r:.60} is no frame; a frame is a JSON object with a type.")
    for name, wanted in NEEDED.get(found["type"], {}).items():
        value = found.get(name)
        if not isinstance(value, wanted) or isinstance(value, bool) or (isinstance(value, NUMBER) and value < 0):
            raise ValueError(f"The {found['type']} frame has {name}={value!r:.60}; it is not as its sender meant it.")


def typed(found: Mapping[str, Any]) -> Frame:
    """Return a checked frame of a known type as its value; fields that the type does not know are left out."""
    kind = FRAMES[found["type"]]
    frame: Frame = kind(**{name: found[name] for name in NAMES[found["type"]] if name in found})
    return frame
