"""A chain of hops that exists only as rules: the doctor's questions answered in no time."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable

from claude_lab.buffering import Asked, Rule, releases, upstream
from claude_lab.observation import Observation, Question, Watch
from claude_lab.probe import MARK, Plan, filling

TRIP = 0.001


def events_of(plan: Plan, late: Callable[[int], float]) -> list[tuple[float, bytes]]:
    """Return what the probe's endpoint would write, when; `late` delays the writing of an event."""
    events = []
    for number in range(plan.count):
        at = plan.due(number) + late(number)
        words = json.dumps({"n": number, "at": at, "due": plan.due(number)})
        events.append(
            (at, f'data: {words[:-1]}, "x": "{filling(plan, number, plan.size - len(words) - 15)}"}}\n\n'.encode())
        )
    return events


def chain(
    *rules: Rule, late: Callable[[int], float] = lambda number: 0.0, jitter: float = 0.0, split: bool = False
) -> Callable[[Question], Awaitable[Observation]]:
    """Return an `ask` for hops from the app outwards; `split` writes each chunk in two pieces."""
    rand = random.Random(1)

    async def ask(question: Question) -> Observation:
        plan = question.plan or Plan(count=200, accel="")
        fields = [("x-accel-buffering", plan.accel)] if plan.accel else []
        framing = "chunked" if not rules or rules[0].upstream_http == "1.1" else "close"
        written = list(upstream(events_of(plan, late), framing, [*fields, (MARK, "1")]))
        if split:
            written = [(at, part) for at, data in written for part in (data[:40], data[40:]) if part or not data]
        for number, rule in enumerate(rules):
            outer = rules[number + 1].upstream_http if number + 1 < len(rules) else "1.1"
            asked = Asked(http=outer, method=question.method, accept=question.accept, accept_encoding=question.encoding)
            seen_rule = rule.but(http2=True) if question.http2 and number + 1 == len(rules) else rule
            written = [*releases(seen_rule, written, asked), (written[-1][0], b"")]
        watch, before = Watch(question), 0.0
        for at, data in written:
            before = max(before, at + TRIP + rand.random() * jitter)
            watch.feed(data, seen=before) if data else watch.close()
        watch.observation.noise = jitter
        return watch.observation

    return ask
