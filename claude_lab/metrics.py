"""What a day is measured by: one number each, from the engine's results, in arithmetic that is compiled too."""

from __future__ import annotations

from claude_lab.engine import BROKEN, INFINITY, OK, Numbers

METRICS = (
    "success",
    "p50_ttft",
    "p95_ttft",
    "p99_ttft",
    "attempts_per_success",
    "rate_limited",
    "overloaded",
    "other_failures",
    "wasted_tokens",
    "peak",
    "recovery",
    "goodput",
    "in_time",
)
SHARES = frozenset({"success", "in_time"})


def reach(metric: str) -> tuple[float, float]:
    """Return the least and the greatest value that a metric can have."""
    return 0.0, 1.0 if metric in SHARES else INFINITY


def ranked(values: Numbers, places: Numbers) -> Numbers:
    """Return the values that would stand at these places in order."""
    ordered = sorted(values)
    return [ordered[place] for place in places]


def summarize(arrivals: Numbers, results: Numbers, known: Numbers, result: Numbers) -> None:
    """Write the metrics of one day into `result`, in the order of `METRICS`.

    `known` is (the outages' end, the limits' capacity a second, tokens paid for an answer that breaks, the patience).
    The time to the first delta counts from arrival and a failure as infinite; a percentile is the nearest rank.
    `recovery` is how long after the outage the last call that came before its end is settled; `goodput` is the rate of
    successes over the limits' `capacity` a second; `in_time` the share of calls with a first delta within `patience`.
    """
    outcome, attempts, first, settled, causes, load, _ = results
    outage_end, capacity, cut_tokens, patience = known
    calls = len(arrivals)
    served, soon, tried, broken, last_settled, caught = 0, 0, 0, 0, 0.0, 0.0
    waits = [INFINITY] * calls
    for call in range(calls):
        tried += attempts[call]
        last_settled = max(last_settled, settled[call])
        if outcome[call] == OK:
            served += 1
            waits[call] = first[call] - arrivals[call]
            if waits[call] <= patience:
                soon += 1
        elif outcome[call] == BROKEN:
            broken += 1
        if arrivals[call] < outage_end:
            caught = max(caught, settled[call] - outage_end)
    result[0] = served / calls
    places = [(calls * 50 + 99) // 100 - 1, (calls * 95 + 99) // 100 - 1, (calls * 99 + 99) // 100 - 1]
    result[1], result[2], result[3] = ranked(waits, places)
    per = 1.0 / served if served > 0 else INFINITY
    result[4] = tried * per
    result[5] = causes[0] * per if causes[0] > 0 else 0.0
    result[6] = causes[1] * per if causes[1] > 0 else 0.0
    others = 0
    for kind in range(2, len(causes)):
        others += causes[kind]
    result[7] = others * per if others > 0 else 0.0
    result[8] = broken * cut_tokens
    most = 0
    for index in range(len(load)):
        most = max(most, load[index])
    result[9] = float(most)
    result[10] = caught
    span = last_settled - arrivals[0]
    result[11] = served / span / capacity if span > 0.0 and capacity > 0.0 else 0.0
    result[12] = soon / calls
