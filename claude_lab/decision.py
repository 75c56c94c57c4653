"""One attempt as a world sees it, and what the world decides for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from claude_lab import catalogue, chance, faults, replies
from claude_lab.chance import Purpose
from claude_lab.faults import Fault
from claude_lab.messages import Reply, Usage
from claude_lab.pacing import Pace


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt as the world sees it; an experiment leaves `body` empty and says the sizes.

    `call` names the call it belongs to, when the client says so; `attempt` counts from 1 within it.
    """

    model: str = catalogue.DEFAULT
    max_tokens: int = 1024
    stream: bool = True
    input_tokens: int = 0
    output_tokens: int | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    call: str | None = None
    attempt: int = 1
    fingerprint: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to one request: `fault` (a `Refusal`, a `Break`, a `Raw`, or None), and else `ttft` and `reply`.

    `reply` is None for refusals and for requests without a body. `levels` are the limits' limit, remaining and seconds
    until full, for requests, input and output tokens; None without limits.
    """

    seed: int
    key: int
    attempt: int
    pace: Pace
    ttft: float = 0.0
    fault: Fault | None = None
    usage: Usage | None = None
    reply: Reply | None = None
    levels: tuple[tuple[float, float, float], ...] | None = None

    @property
    def refusal(self) -> faults.Refusal | None:
        """The HTTP error to answer with, or None."""
        return self.fault if isinstance(self.fault, faults.Refusal) else None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return getattr(self.fault, "status", 200)

    @property
    def request_id(self) -> str:
        """The id of this attempt."""
        return replies.ident("req", self.seed, self.key, self.attempt)

    def gaps(self, count: int) -> list[float]:
        """Return the seconds before each of the `count` deltas that follow the first."""
        return self.pace.gaps(
            count, lambda index: chance.u(self.seed, self.key, self.attempt, Purpose.GAP + (index << 8))
        )
