"""A scenario, its traffic and a policy as plain numbers: what the engines run on.

Raises ValueError for what the model does not know (a raw response, a ramp, a date as `retry-after`, ...): such a
scenario can still be played by the SDK on virtual time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from claude_lab import chance
from claude_lab.failure import KINDS, Failure, classify, kind_of
from claude_lab.faults import Break, Fault, Ok, RateLimited, Refusal
from claude_lab.jitter import JITTERS
from claude_lab.limits import ANSWERS, Limits
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.traffic import Traffic

FOREVER = 1e300
SECONDS_WATCHED = 86_400


def call_name(index: int) -> str:
    """Return the name of the n-th call, which its chance goes by on every rung."""
    return f"call-{index}"


@lru_cache(maxsize=8)
def keys_of(count: int) -> tuple[int, ...]:
    """Return the chance keys of the first calls."""
    return tuple(chance.key(call_name(index)) for index in range(count))


@dataclass(frozen=True, slots=True)
class Plan:
    """The upstream in numbers; see `engine.simulate` for the meaning of each table."""

    outages: list[list[float]]
    script: list[int]
    odds: list[list[float]]
    faults: list[list[float]]
    buckets: list[list[float]]
    told: int
    pace: list[float]
    outage_end: float
    capacity: float
    cut_tokens: float


def failure_of_fault(fault: Fault) -> Failure:
    """Return what a client makes of a fault; a break after the first delta is final, whatever it is."""
    if isinstance(fault, Refusal):
        if isinstance(fault.retry_after, str):
            raise ValueError(f"The model does not know retry_after={fault.retry_after!r}; give seconds, not a date.")
        after = fault.retry_after if fault.retry_after_ms is None else fault.retry_after_ms / 1000
        kind = kind_of(fault.status, fault.error_type)
        return Failure(
            kind,
            status=fault.status,
            error_type=fault.error_type,
            error_code=fault.error_code,
            retry_after=after,
            should_retry=fault.should_retry,
        )
    if isinstance(fault, Break) and fault.at == "between events" and fault.after >= 1:
        name = type(fault).__name__
        if name in BREAKS:
            return Failure(BREAKS[name] or kind_of(200, getattr(fault, "type", None)), status=200, mid_stream=True)
    raise ValueError(
        f"The model does not know the fault {fault}; it knows refusals, and drops, resets, truncations and stream "
        "errors between events after the first delta. Run it with layer='sdk'."
    )


BREAKS = {"Drop": "network_error", "Reset": "network_error", "Truncate": "truncated", "StreamError": ""}
"""The kind of failure that each break is; a stream error's own type says it."""


def fault_row(fault: Fault) -> list[float]:
    """Return (kind, retryable, retry-after, break-after) of a fault."""
    failure = failure_of_fault(fault)
    after = float(fault.after) if isinstance(fault, Break) else -1.0
    return [
        float(KINDS.index(failure.kind)),
        float(classify(failure).retryable),
        float(failure.retry_after or 0.0),
        after,
    ]


def buckets_of(limits: Limits | None, traffic: Traffic) -> list[list[float]]:
    """Return a row (rate, size, cost, level, at) for each bucket, full at time 0."""
    if limits is None:
        return []
    if limits.ramp is not None:
        raise ValueError(f"The model does not know ramp={limits.ramp!r}; run it with layer='sdk'.")
    amounts = limits.requests, limits.input_tokens, limits.output_tokens
    costs = 1.0, float(traffic.input_tokens), float(traffic.output_tokens)
    return [
        [amount / 60, amount * limits.burst, cost, amount * limits.burst, 0.0]
        for amount, cost in zip(amounts, costs, strict=True)
        if amount is not None
    ]


def plan_of(scenario: Scenario, traffic: Traffic) -> Plan:
    """Return the scenario in numbers. Raises ValueError for what the model does not know."""
    table: list[Fault] = [RateLimited()]

    def place(fault: Fault) -> int:
        if isinstance(fault, Ok):
            return -1
        if fault not in table:
            table.append(fault)
        return table.index(fault)

    outages = [[each.start, each.stop, float(place(each.fault))] for each in scenario.outages]
    script = [place(fault) for fault in scenario.faults]
    odds = [[chance, float(place(fault))] for fault, chance in scenario.odds.items()]
    limits, pace = scenario.limits, scenario.pace
    buckets = buckets_of(limits, traffic)
    if any(isinstance(fault, Break) for fault in table) and pace.burst != 1:  # type: ignore[union-attr]  # looked up
        raise ValueError("The model does not know breaks under a pace with burst > 1; run it with layer='sdk'.")
    return Plan(
        outages=outages,
        script=script,
        odds=odds,
        faults=[fault_row(fault) for fault in table],
        buckets=buckets,
        told=list(ANSWERS).index(limits.retry_after) if limits else 0,
        pace=[
            pace.ttft,  # type: ignore[union-attr]  # Scenario has looked the profile up
            pace.ttft_spread,  # type: ignore[union-attr]
            pace.prefill * traffic.input_tokens / 1_000,  # type: ignore[union-attr]
            pace.gap,  # type: ignore[union-attr]
            pace.gap_spread,  # type: ignore[union-attr]
        ],
        outage_end=max((each.stop for each in scenario.outages), default=0.0),
        capacity=min((rate / cost for rate, _, cost, _, _ in buckets), default=0.0),
        cut_tokens=float(traffic.input_tokens + max((f.after for f in table if isinstance(f, Break)), default=0)),
    )


def numbers_of(policy: RetryPolicy) -> tuple[list[float], list[float], list[float]]:
    """Return a policy as (setting, base delay of each kind, which bucket pays for each kind: from 1, 0 for none)."""
    budget, pacer = policy.budget, policy.pacer
    setting = [
        float(policy.max_retries),
        float(policy.max_delay),
        float(JITTERS.index(policy.jitter)),
        float(policy.honor_retry_after),
        float(policy.max_retry_after),
        FOREVER if policy.deadline is None else float(policy.deadline),
        float(budget.ratio) if budget else 0.0,
        float(budget.burst) if budget else 0.0,
        1.0 / pacer.rate if pacer else 0.0,
        (pacer.burst - 1.0) * (1.0 / pacer.rate) if pacer else 0.0,
        float(budget.buckets) if budget else 1.0,
    ]
    bases = [float(policy.base_of(kind)) for kind in KINDS]
    buckets = [None if budget is None else budget.bucket(kind) for kind in KINDS]
    return setting, bases, [0.0 if bucket is None else bucket + 1.0 for bucket in buckets]


def seconds_watched(arrivals: list[float], policy: RetryPolicy) -> int:
    """Return for how many seconds attempts are counted: until nobody waits, or a day after the last arrival."""
    wait = max(policy.max_delay, policy.max_retry_after if policy.honor_retry_after else 0.0)
    longest = min(float(SECONDS_WATCHED), policy.max_retries * wait)
    return math.ceil(arrivals[-1] + longest) + 2
