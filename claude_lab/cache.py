"""The prompt cache: prefixes that end at a breakpoint are remembered for five minutes or an hour, from their last use.

Rules from the vendor's prompt caching page: tools, system, messages in that order; at most four breakpoints; a prefix
below the model's minimum is not cached; a lookup goes back at most twenty blocks from a breakpoint; a read renews.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from claude_lab import tokens
from claude_lab.contents import markable
from claude_lab.messages import Usage

LIFE = {"5m": 300.0, "1h": 3_600.0}
LOOK_BACK = 20


@dataclass(frozen=True, slots=True)
class Prefix:
    """The prompt up to the end of one block: its hash, its tokens, and the `ttl` if it ends at a breakpoint."""

    digest: bytes
    size: int
    ttl: str | None


def marked(body: Mapping[str, Any]) -> bool:
    """Tell whether a request uses the cache at all."""
    return bool(body.get("cache_control")) or any(block.get("cache_control") for _, block in markable(body))


def prefixes(body: Mapping[str, Any], overhead: int) -> list[Prefix]:
    """Return every prefix of a prompt, shortest first; `overhead` tokens belong to the request's frame."""
    told = blake2b(str(body.get("model")).encode(), digest_size=16)
    found = []
    size = overhead
    for block in units(body):
        plain = {name: value for name, value in block.items() if name != "cache_control"}
        told.update(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode())
        size += tokens.count_block(block) if "type" in block else tokens.count(str(plain))
        mark = block.get("cache_control")
        found.append(Prefix(told.digest(), size, mark.get("ttl", "5m") if mark else None))
    if found and (auto := body.get("cache_control")):
        found[-1] = Prefix(found[-1].digest, found[-1].size, auto.get("ttl", "5m"))
    return found


def units(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the blocks of a prompt in order; a string counts as one text block, and a turn's role goes with it."""
    system = body.get("system")
    listed: list[Mapping[str, Any]] = list(body.get("tools") or ())
    listed += [{"type": "text", "text": system}] if isinstance(system, str) else system or ()
    for message in body.get("messages") or ():
        content = message["content"]
        turn = [{"type": "text", "text": content}] if isinstance(content, str) else content
        listed += [{**block, "role": message["role"]} for block in turn]
    return listed


@dataclass(slots=True)
class Cache:
    """What is remembered, and until when."""

    kept: dict[bytes, tuple[float, str]] = field(default_factory=dict)

    def use(self, now: float, body: Mapping[str, Any], input_tokens: int, minimum: int) -> Usage:
        """Look the prompt up, remember what it marks, and return the input side of its usage."""
        chain = prefixes(body, 0)
        spots = [index for index, prefix in enumerate(chain) if prefix.ttl and prefix.size >= minimum]
        if not spots:
            return Usage(input_tokens)
        hit = self._longest(now, chain, spots)
        read = chain[hit].size if hit is not None else 0
        written = {"5m": 0, "1h": 0}
        done = read
        for index in spots:
            prefix = chain[index]
            ttl = prefix.ttl or "5m"
            if prefix.size > done:
                written[ttl] += prefix.size - done
                done = prefix.size
            self.kept[prefix.digest] = (now + LIFE[ttl], ttl)
        rest = max(0, input_tokens - read - written["5m"] - written["1h"])
        return Usage(rest, 0, read, written["5m"], written["1h"])

    def _longest(self, now: float, chain: list[Prefix], spots: list[int]) -> int | None:
        """Return the index of the longest live prefix in reach of a breakpoint, renewing it, or None."""
        for spot in reversed(spots):
            for index in range(spot, max(-1, spot - LOOK_BACK), -1):
                until, ttl = self.kept.get(chain[index].digest, (0.0, "5m"))
                if until > now:
                    self.kept[chain[index].digest] = (now + LIFE[ttl], ttl)
                    return index
        return None
