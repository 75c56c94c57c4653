"""The callers of a day: each call a task on the loop's time, driven by a `retry.State`, asking what it is given."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from claude_lab import chance, clock
from claude_lab.chance import Purpose
from claude_lab.failure import Failure
from claude_lab.faults import Break
from claude_lab.model import Row, traffic_of
from claude_lab.plan import call_name, failure_of_fault
from claude_lab.retry import GiveUp, RetryPolicy, Share
from claude_lab.scenario import Request, Scenario


class AttemptFailed(Exception):
    """An attempt's end; `began` says whether its first delta had come, after which nothing is retried."""

    def __init__(self, failure: Failure, *, began: bool = False) -> None:
        super().__init__(failure.kind)
        self.failure = failure
        self.began = began


Ask = Callable[[int, int, Callable[[], None]], Awaitable[None]]
"""Make one attempt of a call: (call, attempt, what to call at the first delta); raises AttemptFailed."""


@dataclass(slots=True)
class Callers:
    """The calls of a day, each a task under one policy, asking one upstream."""

    scenario: Scenario
    policy: RetryPolicy
    ask: Ask
    started: float = 0.0
    rows: list[Row] = field(default_factory=list)

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
        """Play one call to its end."""
        await clock.sleep(self.started + arrival - clock.now())
        state, key = self.policy.begin(self.now(), share), chance.key(call_name(index))
        times: list[float] = []
        first = math.inf

        def begun() -> None:
            nonlocal first
            first = self.now()
            state.succeeded()

        while True:
            if (pause := state.pace(self.now())) > 0:
                await clock.sleep(pause)
            times.append(self.now())
            attempt = len(times)
            try:
                await self.ask(index, attempt, begun)
            except AttemptFailed as error:
                if error.began:
                    return Row(index, arrival, "broken", attempt, math.inf, self.now(), tuple(times))
                luck = partial(chance.u, self.scenario.seed, key, attempt, Purpose.WAIT)
                answer = state.after(error.failure, now=self.now(), rand=luck)
                if isinstance(answer, GiveUp):
                    return Row(index, arrival, answer.rule, attempt, math.inf, self.now(), tuple(times))
                await clock.sleep(answer.seconds)
            else:
                return Row(index, arrival, "ok", attempt, first, first, tuple(times))


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

    async def ask(index: int, attempt: int, begun: Callable[[], None]) -> None:
        decision = world.admit(clock.now(), asked(scenario, index, attempt))
        if decision.refusal is not None:
            raise AttemptFailed(failure_of_fault(decision.refusal))
        await clock.sleep(decision.ttft)
        begun()
        if isinstance(decision.fault, Break):
            for gap in decision.gaps(decision.fault.after - 1):
                await clock.sleep(gap)
            raise AttemptFailed(failure_of_fault(decision.fault), began=True)

    return ask
