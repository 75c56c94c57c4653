"""Generated experiments: a scenario, its traffic and a policy for each number."""

import random
from typing import Any

from claude_lab import faults
from claude_lab.limits import ANSWERS, Limits
from claude_lab.pacing import Pace
from claude_lab.retry import JITTERS, Budget, Pacer, RetryPolicy
from claude_lab.scenario import Outage, Scenario
from claude_lab.traffic import SHAPES, Traffic

ODDS: list[Any] = [
    faults.Overloaded(),
    faults.ServerError(),
    faults.RateLimited(retry_after=7),
    faults.Overloaded(retry_after=400),
    faults.SpendLimited(),
    faults.Forbidden(),
    faults.Drop(after=2),
    faults.Reset(after=1),
    faults.StreamError(after=3),
]


def case(number: int, *, requests: int = 60) -> tuple[Scenario, RetryPolicy]:
    """Return the n-th experiment; together they reach every rule of the model."""
    rand = random.Random(number)
    shape = rand.choice(list(SHAPES))
    traffic = Traffic(
        shape=shape,
        rpm=rand.choice([30, 60, 90]),
        requests=requests,
        burst=rand.choice([1, 5, 20]),
        times=[rand.uniform(0, 60) for _ in range(requests)],
        input_tokens=rand.choice([10, 600]),
        output_tokens=rand.choice([12, 30]),
        clients=rand.choice([1, 4]),
    )
    limits = Limits(
        rand.choice([None, 50, 50]),
        rand.choice([None, 20_000]),
        rand.choice([None, 1_000]),
        retry_after=rand.choice(list(ANSWERS)),
        burst=rand.choice([0.1, 0.2]),
    )
    scenario = Scenario(
        faults=rand.choice([(), (faults.Overloaded(), faults.ok, faults.RateLimited(retry_after=2))]),
        seed=rand.randrange(1000),
        pace=Pace(rand.choice([0.0, 0.4]), 0.05, rand.choice([0.0, 0.3]), 0.2, prefill=rand.choice([0.0, 0.4])),
        odds={fault: rand.choice([0.02, 0.1]) for fault in rand.sample(ODDS, rand.randrange(4))},
        outages=rand.choice([(), (Outage(5, 25),), (Outage(2, 9), Outage(30, 40, faults.ServerError()))]),
        limits=rand.choice([limits, limits, None]),
        traffic=traffic,
    )
    policy = RetryPolicy(
        max_retries=rand.randrange(7),
        base_delay=rand.choice([0.1, 0.5, 2.0]),
        max_delay=rand.choice([8.0, 60.0]),
        jitter=rand.choice(JITTERS),
        base_delays=rand.choice([{}, {"overloaded": 0.3, "rate_limit": 3.0}]),
        honor_retry_after=rand.random() < 0.7,
        deadline=rand.choice([None, None, 20.0]),
        budget=rand.choice([None, None, Budget(ratio=0.2, burst=3), Budget(ratio=0.2, burst=1, apart=True)]),
        pacer=rand.choice([None, None, Pacer(rate=0.8, burst=2)]),
    )
    return scenario, policy
