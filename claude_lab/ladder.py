"""The fidelity ladder: one experiment on six rungs, which must give the same rows.

| layer | what plays |
|---|---|
| `model` | the engine's arithmetic |
| `coroutine` | tasks on virtual time, asking the pure `World` |
| `sdk` | an unmodified AsyncAnthropic, answered in memory by the `World` |
| `asgi` | the same client, answered by the fake's whole ASGI app |
| `uds` | the same, through uvicorn and a UNIX socket, still on virtual time |
| `wall` | the same over TCP on 127.0.0.1, in real time: here only the distribution can agree |

Every rung but the first drives a `retry.State`; nothing ever leaves this machine.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from claude_lab import chance, clock, model
from claude_lab.chance import Purpose
from claude_lab.failure import Failure
from claude_lab.faults import Break
from claude_lab.model import Row, traffic_of
from claude_lab.plan import call_name, failure_of_fault
from claude_lab.retry import GiveUp, RetryPolicy, Share
from claude_lab.scenario import Request, Scenario

TOLERANCE = 1e-9
"""Seconds by which times on two rungs may differ: the same sums, added in another order."""
LAYERS = ("model", "coroutine", "sdk", "asgi", "uds", "wall")


class AttemptFailed(Exception):
    """An attempt's end; `began` says whether its first delta had come, after which nothing is retried."""

    def __init__(self, failure: Failure, *, began: bool = False) -> None:
        super().__init__(failure.kind)
        self.failure = failure
        self.began = began


Ask = Callable[[int, int, Callable[[], None]], Awaitable[None]]
"""Make one attempt of a call: (call, attempt, what to call at the first delta); raises AttemptFailed."""


@dataclass(slots=True)
class Player:
    """Plays a day of traffic against an upstream, each call a task under one policy."""

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


@asynccontextmanager
async def asking(layer: str, scenario: Scenario) -> AsyncIterator[Ask]:
    """Make ready to ask on a rung of tasks."""
    if layer == "coroutine":
        yield of_world(scenario)
        return
    from claude_lab import rungs  # the SDK takes a second to import

    async with rungs.RUNGS[layer](scenario) as ask:
        yield ask


async def play(layer: str, scenario: Scenario, policy: RetryPolicy) -> list[Row]:
    """Play a day on a rung of tasks, on the running loop's time."""
    async with asking(layer, scenario) as ask:
        return await Player(scenario, policy, ask).play()


def rows(layer: str, scenario: Scenario, policy: RetryPolicy, *, seed: int = 0) -> list[Row]:
    """Return the rows of a day on any rung. Raises ValueError for an unknown layer."""
    if layer not in LAYERS:
        raise ValueError(f"layer={layer!r} is unknown; use one of {', '.join(LAYERS)}.")
    day = replace(scenario, seed=seed)
    if layer == "model":
        return model.day(day, policy, seed=seed, engine="plain").rows()
    if layer == "wall":
        from claude_lab.background import portal

        return portal().run(play(layer, day, policy))
    return clock.run_virtual(play(layer, day, policy))


@dataclass(frozen=True, slots=True)
class Verification:
    """Two rungs compared row by row; true when every row agrees, else `first` names the first attempt that differs."""

    layers: tuple[str, str]
    calls: int
    attempts: int
    differing: int
    first: str | None

    def __bool__(self) -> bool:
        return self.differing == 0

    def __str__(self) -> str:
        one, other = self.layers
        if self:
            return f"All {self.calls} calls ({self.attempts} attempts) are the same on {one!r} and {other!r}."
        return f"{self.differing} of {self.calls} calls differ between {one!r} and {other!r}; first {self.first}"


def close(one: float, other: float) -> bool:
    """Tell whether two times are the same moment."""
    return one == other or abs(one - other) <= TOLERANCE


def same(one: Row, other: Row) -> bool:
    """Tell whether two rungs say the same of a call."""
    if (one.outcome, one.attempts) != (other.outcome, other.attempts):
        return False
    pairs = [*zip(one.times, other.times, strict=True), (one.first, other.first), (one.settled, other.settled)]
    return all(close(mine, theirs) for mine, theirs in pairs)


def split(one: Row, other: Row) -> tuple[float, str]:
    """Return when two rows part, and the sentence that says how."""
    for number, (mine, theirs) in enumerate(zip(one.times, other.times, strict=False), 1):
        if not close(mine, theirs):
            said = f"{one_call(one)}, attempt {number}: {mine:.9f} s against {theirs:.9f} s."
            return min(mine, theirs), said
    number = min(one.attempts, other.attempts)
    at = min(row.times[number - 1] for row in (one, other))
    ends = (f"{row.outcome} after {row.attempts} at {row.settled:.9f} s" for row in (one, other))
    return at, f"{one_call(one)}, attempt {number}: {' against '.join(ends)}."


def one_call(row: Row) -> str:
    """Return a call's name in a sentence."""
    return f"call {row.call} (arrived {row.arrival:.3f} s)"


def compare(layers: tuple[str, str], one: list[Row], other: list[Row]) -> Verification:
    """Compare the rows of two rungs; the first difference in time explains the others, and is the one named."""
    apart = [split(mine, theirs) for mine, theirs in zip(one, other, strict=True) if not same(mine, theirs)]
    attempts = sum(row.attempts for row in one)
    return Verification(layers, len(one), attempts, len(apart), min(apart)[1] if apart else None)


def verify(
    scenario: Scenario, policy: RetryPolicy, *, layer: str = "sdk", against: str = "model", seed: int = 0
) -> Verification:
    """Play the same day on two rungs and compare them row by row."""
    return compare((against, layer), *(rows(each, scenario, policy, seed=seed) for each in (against, layer)))
