"""The fidelity ladder: one experiment on six rungs, which must give the same rows.

| layer | what plays |
|---|---|
| `model` | the engine's arithmetic |
| `coroutine` | tasks on virtual time, asking the pure `World` |
| `sdk` | an unmodified AsyncAnthropic, answered in memory by the `World` |
| `asgi` | the same client, answered by the fake's whole ASGI app |
| `uds` | the same, through uvicorn and a UNIX socket, still on virtual time |
| `wall` | the same over TCP on 127.0.0.1, in real time: here only the distribution can agree |

Every rung but the first is driven by `attempts`, as every call of the lab is; nothing ever leaves this machine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from claude_lab import clock, model
from claude_lab.callers import Ask, Callers, of_world
from claude_lab.model import Row
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario

TOLERANCE = 1e-9
"""Seconds by which times on two rungs may differ: the same sums, added in another order."""
LAYERS = ("model", "coroutine", "sdk", "asgi", "uds", "wall")


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
        return await Callers(scenario, policy, ask).play()


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
