"""What requests cost, and a ceiling that no request may pass.

Before each attempt the worst case is reserved: every byte of the request as one input token, and all of
`max_tokens` as output. When the usage is known the reservation shrinks to it; when it never becomes known, it stays.

Prices are dollars per million tokens, as published for prompts up to 100,000 tokens, seen in November 2026.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PRICES: dict[str, tuple[float, float]] = {"claude-haiku-5-5": (0.10, 0.50)}
CACHE_WRITE, CACHE_READ = 2.0, 0.1
"""What a token costs that is written to the 1 h cache, or read from a cache, beside an input token."""


class CeilingReached(Exception):
    """The next request could cost more than what is left under the ceiling; nothing was sent."""


def price_of(model: str) -> tuple[float, float]:
    """Return a model's (input, output) price. Raises ValueError for a model without a known price."""
    if model not in PRICES:
        raise ValueError(f"There is no price for {model!r}; use one of {', '.join(PRICES)}, or add it to PRICES.")
    return PRICES[model]


def cost(model: str, usage: Mapping[str, Any]) -> float:
    """Return the dollars that a usage object stands for."""
    dear, deep = price_of(model)
    written, read = usage.get("cache_creation_input_tokens") or 0, usage.get("cache_read_input_tokens") or 0
    taken = (usage.get("input_tokens") or 0) + CACHE_WRITE * written + CACHE_READ * read
    return (taken * dear + (usage.get("output_tokens") or 0) * deep) / 1e6


@dataclass(slots=True)
class Ledger:
    """Dollars spent or reserved, never more than `ceiling`; None is no ceiling."""

    ceiling: float | None = None
    spent: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def reserve(self, request: Mapping[str, Any]) -> float:
        """Reserve a request's worst case and return it. Raises CeilingReached when it would pass the ceiling."""
        if self.ceiling is None:
            return 0.0
        worst_usage = {"input_tokens": 0, "output_tokens": request["max_tokens"]}
        worst_usage["cache_creation_input_tokens"] = len(json.dumps(dict(request), ensure_ascii=False).encode()) + 1000
        worst = cost(request["model"], worst_usage)
        with self._lock:
            if self.spent + worst > self.ceiling:
                raise CeilingReached(
                    f"This request could cost ${worst:.4f} and ${self.ceiling - self.spent:.4f} is left "
                    f"of max_cost={self.ceiling!r}; ask for fewer max_tokens or raise max_cost."
                )
            self.spent += worst
        return worst

    def settle(self, reserved: float, model: str, usage: Mapping[str, Any]) -> None:
        """Replace a reservation by what was used."""
        if self.ceiling is not None and usage:
            with self._lock:
                self.spent += cost(model, usage) - reserved
