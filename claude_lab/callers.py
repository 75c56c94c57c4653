"""The callers of a day: each call a task on the loop's time, asking what it is given."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from claude_lab import chance, clock
from claude_lab.attempts import Attempts, pieces
from claude_lab.chance import Purpose
from claude_lab.failure import Failure
from claude_lab.faults import Break
from claude_lab.model import Row, traffic_of
from claude_lab.plan import call_name, failure_of_fault
from claude_lab.retry import RetryPolicy, Share
from claude_lab.scenario import Request, Scenario


class AttemptFailed(Exception):
    """An attempt's end, as a client makes it out."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.kind)
        self.failure = failure


def judge(error: BaseException) -> Failure:
    """Return the failure that an attempt ended with; anything else is a mistake of ours and is raised."""
    if isinstance(error, AttemptFailed):
        return error.failure
    raise error


Ask = Callable[[int, int], AsyncGenerator[None, None]]
"""One attempt of a call: (call, attempt) to a stream of one item, at the first delta; raises AttemptFailed."""


@dataclass(slots=True)
class Callers:
    """The calls of a day, each a task under one policy, asking one upstream."""

    scenario: Scenario
    policy: RetryPolicy
    ask: Ask
    started: float = 0.0

    async def play(self) -> list[Row]:
        """Play all calls and return their rows."""
        traffic = traffic_of(self.scenario)
        shares = [self.policy.share() for _ in range(traffic.clients)]
        self.started = clock.now()
        arrivals = traffic.arrivals(self.scenario.seed)
        calls = (self.call(index, at, shares[index % traffic.clients]) for index, at in enumerate(arrivals))
        return list(await asyncio.gather(*calls))

    def now(self) -> float:
        """Return the seconds since the day began."""
        return clock.now() - self.started

    async def call(self, index: int, arrival: float, share: Share) -> Row:
        """Play one call to its end, by the one driver of retries."""
        await clock.sleep(self.started + arrival - clock.now())
        key, first = chance.key(call_name(index)), math.inf
        times: list[float] = []

        def luck() -> float:
            return chance.u(self.scenario.seed, key, attempts.number, Purpose.WAIT)

        def opened(number: int) -> AsyncGenerator[None, None]:
            times.append(self.now())
            return self.ask(index, number)

        attempts = Attempts(self.policy, share, lambda attempt: None, luck, self.now)
        try:
            async for _ in pieces(opened, attempts, judge):
                first = self.now()
        except AttemptFailed:
            outcome = attempts.gave_up.rule if attempts.gave_up else "broken"
            return Row(index, arrival, outcome, attempts.number, math.inf, self.now(), tuple(times))
        return Row(index, arrival, "ok", attempts.number, first, first, tuple(times))


def asked(scenario: Scenario, index: int, attempt: int) -> Request:
    """Return one attempt as the world sees it."""
    traffic = traffic_of(scenario)
    return Request(
        max_tokens=traffic.output_tokens,
        input_tokens=traffic.input_tokens,
        output_tokens=traffic.output_tokens,
        call=call_name(index),
        attempt=attempt,
    )


def of_world(scenario: Scenario) -> Ask:
    """Return how to ask the pure world without any client."""
    world = scenario.world(began=0.0)

    async def ask(index: int, attempt: int) -> AsyncGenerator[None, None]:
        decision = world.admit(clock.now(), asked(scenario, index, attempt))
        if decision.refusal is not None:
            raise AttemptFailed(failure_of_fault(decision.refusal))
        await clock.sleep(decision.ttft)
        yield
        if isinstance(decision.fault, Break):
            for gap in decision.gaps(decision.fault.after - 1):
                await clock.sleep(gap)
            raise AttemptFailed(failure_of_fault(decision.fault))

    return ask
