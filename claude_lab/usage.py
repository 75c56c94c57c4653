"""The token counts of one reply, as the API tells them: at a stream's start, at its end, and in a whole message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """The token counts of one reply; `input` is what neither came from the cache nor went into it."""

    input: int = 10
    output: int = 0
    cache_read: int = 0
    cache_5m: int = 0
    cache_1h: int = 0
    thinking: int = 0
    tier: str = "standard"

    def start(self) -> Json:
        """Return the usage of `message_start` and of a whole message: every field."""
        return {
            **self.inputs(),
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.cache_5m,
                "ephemeral_1h_input_tokens": self.cache_1h,
            },
            "output_tokens": self.output,
            "service_tier": self.tier,
            "inference_geo": "not_available",
        }

    def inputs(self) -> Json:
        """Return the three counts whose sum is the whole input."""
        return {
            "input_tokens": self.input,
            "cache_creation_input_tokens": self.cache_5m + self.cache_1h,
            "cache_read_input_tokens": self.cache_read,
        }

    def details(self) -> Json:
        """Return how much of the output was thinking, if any was."""
        return {"output_tokens_details": {"thinking_tokens": self.thinking}} if self.thinking else {}

    def delta(self) -> Json:
        """Return the cumulative usage of `message_delta`."""
        return {**self.inputs(), "output_tokens": self.output, **self.details()}
