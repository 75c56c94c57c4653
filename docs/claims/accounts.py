"""What an account is asked for: the prompt cache and its price, batches, limits and the base delay."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import anthropic

from claims import bench
from claims.bench import ASK, TEXT
from claude_lab import faults, model, spending
from claude_lab.fake import FakeClaude
from claude_lab.limits import Limits
from claude_lab.retry import Pacer, RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.traffic import Traffic

HANDBOOK = {"type": "text", "text": "Deploy on Tuesdays, never on Fridays. " * 400}
EPHEMERAL = {"cache_control": {"type": "ephemeral"}}


@dataclass(frozen=True)
class Cached:
    """The accounts of two equal requests with a long prompt that is marked for the cache."""

    first_event: str
    read_at_first_event: int
    read_of_written: bool
    events_before_text: int
    final_usage: bool


@functools.cache
def asked_twice(marked: bool) -> list[list[Any]]:
    """Stream two answers to the same long prompt, perhaps marked for the cache; return the SDK's events of each."""
    block = {**HANDBOOK, **(EPHEMERAL if marked else {})}
    ask = {**ASK, "messages": [{"role": "user", "content": [block, {"type": "text", "text": "When?"}]}]}
    seen = []
    with FakeClaude(Scenario(answer=TEXT, pace="instant")) as fake:
        with anthropic.Anthropic(base_url=fake.url, api_key="lab", max_retries=0) as sdk:
            for _ in range(2):
                with sdk.messages.stream(**ask) as stream:
                    seen.append(list(stream))
    return seen


def cache(marked: bool = True) -> Cached:
    """Ask twice with a cacheable prompt, streamed, and note the first event that says whether the cache was hit."""
    earlier, later = asked_twice(marked)
    written = earlier[0].message.usage.cache_creation_input_tokens or 0
    read = later[0].message.usage.cache_read_input_tokens or 0
    before = next(number for number, event in enumerate(later) if event.type == "text")
    final = next(event.message.usage for event in later if event.type == "message_stop")
    return Cached(later[0].type, read, bool(written) and read == written, before, final.output_tokens > 0)


@dataclass(frozen=True)
class Priced:
    """Dollars for a million tokens of a prompt, and what a cache makes of one and of ten requests, in percent."""

    plain: float
    written: float
    read: float
    one_percent: int
    ten_percent: int


def prices(marked: bool = True) -> Priced:
    """Ask twice with a prompt marked for the cache of five minutes, twice without, and price the usage by the list."""
    events = [answer[0].message.usage for mark in (False, marked) for answer in asked_twice(mark)]
    plain, _, written, read = (
        spending.cost(ASK["model"], {**usage.model_dump(), "output_tokens": 0}) * 1e6 / size_of(usage)
        for usage in events
    )
    one, ten = written / plain, (written + 9 * read) / (10 * plain)
    return Priced(round(plain, 3), round(written, 3), round(read, 3), round(100 * one), round(100 * ten))


def size_of(usage: Any) -> int:
    """Return a prompt's tokens, wherever they came from."""
    parts = (usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens)
    return sum(part or 0 for part in parts)


@dataclass(frozen=True)
class Batched:
    """A thousand documents as one batch, and what the limit says to a thousand streams."""

    requests: int
    results: int
    streams_served: int


def batch(documents: int = 1000) -> Batched:
    """Put 1,000 documents in one batch, then ask one by one within a minute, against a limit of 50 a minute."""
    items: list[Any] = [
        {"custom_id": f"document-{number}", "params": {**ASK, "max_tokens": 16}} for number in range(documents)
    ]
    with FakeClaude(Scenario(answer=TEXT, pace="instant")) as fake:
        with anthropic.Anthropic(base_url=fake.url, api_key="lab", max_retries=0) as sdk:
            made = sdk.messages.batches.create(requests=items)
            posted = len(fake.requests)
            counts = sdk.messages.batches.retrieve(made.id).request_counts
    asked = Traffic(shape="herd", requests=documents, window=60)
    limited = Scenario(limits=Limits(50, None, None), traffic=asked)
    served = sum(row.outcome == "ok" for row in model.day(limited, RetryPolicy(max_retries=0)).rows())
    total = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
    return Batched(posted, total, served)


@dataclass(frozen=True)
class Base:
    """Days of calls in groups at 84 % of a limit: success in percent, and how many times as long the waits are."""

    one_second: float
    five_seconds: float
    wait_grows: float
    ours: float
    ours_wait_grows: float


def base_delay(load: float = 0.84, low: float = 1.0, high: float = 5.0) -> Base:
    """Play ten days on the model with the article's loop and a base delay of 1 s, then of 5 s, and with full jitter."""
    policies = [RetryPolicy.article(3, low), RetryPolicy.article(3, high), RetryPolicy(max_retries=6, base_delay=low)]
    served = [days(Scenario.bursty(rpm=50, load=load), policy) for policy in policies]
    waits = [max(wait, 1e-9) / served[0][1] for _, wait in served]
    return Base(served[0][0], served[1][0], round(waits[1], 1), served[2][0], round(waits[2], 1))


def days(scenario: Scenario, policy: RetryPolicy, count: int = 10) -> tuple[float, float]:
    """Return the percentage of calls that were served in so many days, and their mean wait beyond the answer's own."""
    rows = [row for seed in range(count) for row in model.day(scenario, policy, seed=seed).rows()]
    ok = [row for row in rows if row.outcome == "ok"]
    waited = sum(row.times[-1] - row.arrival for row in ok) / len(ok)
    return round(100 * len(ok) / len(rows), 1), waited


@dataclass(frozen=True)
class Causes:
    """Calls served, in percent, where neither cause of the FAQ is at work."""

    spend_limit_requests: int
    spend_limit_ended: str
    over_capacity: float
    paced: float


def neither_cause(load: float = 1.4) -> Causes:
    """Retry with a base delay of 60 s: against a spend limit, and on days with steady calls at 1.4 times the limit."""
    script = [faults.SpendLimited() if load > 1 else faults.ok] * 9
    spent = bench.call(Scenario(script, pace="instant"), bench.articles_loop(60.0))
    steady = Scenario.steady(rpm=50, load=load, requests=2000)
    slow = days(steady, RetryPolicy.article(3, 60.0))[0]
    return Causes(spent.requests, spent.ended, slow, days(steady, RetryPolicy(pacer=Pacer(rate=0.95 * 50 / 60)))[0])
