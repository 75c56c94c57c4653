"""What requests cost, and a ceiling that no request may pass.

Before each attempt the worst case is reserved: every byte of the request as one input token, and all of
`max_tokens` as output. When the usage is known the reservation shrinks to it; when it never becomes known, it stays.
A picture, a file or a tool that the vendor runs may cost more tokens than it has bytes: under a ceiling it is refused.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from claude_lab.amounts import is_amount

SEEN = "2026-11-23"
"""When the prices below were looked up: platform.claude.com/docs/en/about-claude/pricing, and the models' own pages."""
WRITE_5M, WRITE_1H = 1.25, 2.0
"""What a token costs that is written to the cache for five minutes or an hour, beside an input token."""
BOUNDED = frozenset({"text", "thinking", "redacted_thinking", "tool_use", "tool_result"})
"""Blocks that have no more tokens than bytes."""
DATE = re.compile(r"-20\d{6}$")


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens: input, output, and input read from the cache.

    `long` is the price of requests whose prompt, cache included, is longer than `long_from` tokens.
    """

    input: float
    output: float
    read: float
    long_from: int | None = None
    long: Price | None = None

    def at(self, prompt_tokens: int) -> Price:
        """Return the price of a request with a prompt so long."""
        return self.long if self.long and self.long_from is not None and prompt_tokens > self.long_from else self


OPUS, SONNET = Price(5, 25, 0.5), Price(3, 15, 0.3)
PRICES: dict[str, Price] = {
    "claude-fable-5-2": Price(8, 40, 0.2),
    "claude-fable-5-1": Price(10, 50, 0.25),
    "claude-mythos-5-1": Price(10, 50, 0.25),
    "claude-fable-5": Price(10, 50, 1),
    "claude-mythos-5": Price(10, 50, 1),
    "claude-opus-5-5": Price(4, 20, 0.2),
    "claude-opus-5": OPUS,
    "claude-opus-4-8": OPUS,
    "claude-opus-4-7": OPUS,
    "claude-opus-4-6": OPUS,
    "claude-opus-4-5": OPUS,
    "claude-sonnet-5-5": Price(2, 10, 0.1),
    "claude-sonnet-5": Price(2, 10, 0.2),
    "claude-sonnet-4-6": SONNET,
    "claude-sonnet-4-5": SONNET,
    "claude-haiku-5-5": Price(0.1, 0.5, 0.01, 100_000, Price(0.5, 2.5, 0.05)),
    "claude-haiku-4-5": Price(1, 5, 0.1),
}
"""By model, without its date: standard speed, no batch, no surcharge for a region."""
UNPRICED = frozenset({"claude-mythos-5-2", "claude-mythos-preview"})
"""Models that the SDK names, and whose price was not known when the others were looked up: a real lab asks none."""


class CeilingReached(Exception):
    """The next request could cost more than what is left under the ceiling; nothing was sent."""


def price_of(model: str) -> Price:
    """Return a model's price; a date at its end says nothing. Raises ValueError for a model without a known price."""
    price = PRICES.get(DATE.sub("", model))
    if price is None:
        known = f"use one of {', '.join(PRICES)}, or add what it costs to claude_lab.spending.PRICES"
        raise ValueError(f"No price of {model!r} was known on {SEEN}, and without one no ceiling can hold; {known}.")
    return price


def cost(model: str, usage: Mapping[str, Any]) -> float:
    """Return the dollars that a usage object stands for. Raises ValueError for a model without a known price.

    Tokens written to the cache without saying for how long count as the dearer kind.
    """
    parts = usage.get("cache_creation") or {}
    short = parts.get("ephemeral_5m_input_tokens") or 0
    written, read = usage.get("cache_creation_input_tokens") or 0, usage.get("cache_read_input_tokens") or 0
    plain = usage.get("input_tokens") or 0
    price = price_of(model).at(plain + written + read)
    taken = plain + WRITE_5M * min(short, written) + WRITE_1H * max(0, written - short)
    return (taken * price.input + read * price.read + (usage.get("output_tokens") or 0) * price.output) / 1e6


def known_cost(model: str, usage: Mapping[str, Any]) -> float | None:
    """Return the dollars that a usage object stands for, or None for a model without a known price."""
    return cost(model, usage) if DATE.sub("", model) in PRICES else None


@dataclass(slots=True)
class Ledger:
    """Dollars spent or reserved, never more than `ceiling`; None is no ceiling.

    Raises ValueError for a ceiling that is no amount of money: nothing is more than NaN, so it would hold nothing back.
    """

    ceiling: float | None = None
    spent: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        if self.ceiling is not None and not is_amount(self.ceiling):
            raise ValueError(f"max_cost={self.ceiling!r} is no amount; give dollars, 0 or more, or None for none.")

    def reserve(self, request: Mapping[str, Any]) -> float:
        """Reserve a request's worst case and return it.

        Raises CeilingReached when it would pass the ceiling or has none, ValueError when the model has no known price.
        """
        if self.ceiling is None:
            return 0.0
        if kind := unbounded(request):
            raise CeilingReached(
                f"Nobody can say beforehand what a block or tool of type {kind!r:.60} may cost, and there is "
                f"max_cost={self.ceiling!r}; send text, or ask without a ceiling."
            )
        worst_usage = {"input_tokens": 0, "output_tokens": request["max_tokens"]}
        worst_usage["cache_creation_input_tokens"] = len(json.dumps(dict(request), ensure_ascii=False).encode()) + 1000
        worst = cost(request["model"], worst_usage)
        with self._lock:
            if not self.spent + worst <= self.ceiling:  # so that what cannot be compared is refused
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


def unbounded(request: Mapping[str, Any]) -> str | None:
    """Return the type of the first block or tool whose tokens its bytes do not bound, or None."""
    tools = (tool.get("type") or "custom" for tool in request.get("tools") or ())
    found = next((str(kind) for kind in tools if kind != "custom"), None)
    kinds = (block.get("type") for message in request["messages"] for block in blocks(message["content"]))
    return found or next((str(kind) for kind in kinds if kind not in BOUNDED), None)


def blocks(content: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the blocks of a turn's content, and those within them."""
    for block in content if isinstance(content, list) else ():
        yield block
        yield from blocks(block.get("content"))
