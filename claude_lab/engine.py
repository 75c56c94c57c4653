"""The model: one day of traffic against one upstream under one policy, event by event, in plain arithmetic.

This is the reference. It is written in the part of Python that numba compiles too, on lists or arrays of numbers, so
`compiled` runs the same source. What it must agree with are `scenario.World` and `retry.State`; `ladder` compares them.

Times are seconds from 0. A fault is a place in the plan's tables; -1 is none. The results are written into the lists
handed in: `outcome` (a place in `OUTCOMES`), `attempts`, `first` (time of the first delta, or infinity), `settled`,
`causes` (failed attempts by kind), `load` (attempts in each second) and, unless empty, `times` (of each attempt).
"""

from __future__ import annotations

import math
from heapq import heappop, heappush
from typing import Any

from claude_lab.chance import u
from claude_lab.jitter import above, draw
from claude_lab.pacing import lognormal

OUTCOMES = ("ok", "final", "max_retries", "retry_after", "deadline", "budget", "broken")
OK, FINAL, MAX_RETRIES, RETRY_AFTER, DEADLINE, BUDGET, BROKEN = range(7)
READY, DUE, EARN = 0, 1, 2
WAIT, FAULT, TTFT, GAP = 0, 1, 3, 4  # places of chance.Purpose
ABSENT, EXACT, SECONDS, RESET, RESERVATION = range(5)
INFINITY = math.inf

Numbers = Any
"""A list, or an array when compiled."""


def fault_at(
    now: float, seed: int, key: int, attempt: int, arrived: int, outages: Numbers, script: Numbers, odds: Numbers
) -> int:
    """Return the fault this attempt meets by time, by the script or by chance; -1 for none."""
    for index in range(len(outages)):
        if outages[index][0] <= now < outages[index][1]:
            return int(outages[index][2])
    if arrived < len(script):
        return int(script[arrived])
    if len(odds) > 0:
        drawn = u(seed, key, attempt, FAULT)
        for index in range(len(odds)):
            if drawn < odds[index][0]:
                return int(odds[index][1])
            drawn -= odds[index][0]
    return -1


def take(now: float, buckets: Numbers, queue: Numbers, told: int) -> float:
    """Charge the buckets for one request and return -1, or return what `retry-after` says: 0 for nothing.

    A bucket is [rate, size, cost, level, at]; `queue` holds the end of the reservations.
    """
    if queue[0] < 0.0:
        queue[0] = now
    failed = -1
    for index in range(len(buckets)):
        bucket = buckets[index]
        bucket[3] = min(bucket[1], bucket[3] + (now - bucket[4]) * bucket[0])
        bucket[4] = now
        if failed < 0 and bucket[3] < bucket[2]:
            failed = index
    if failed < 0:
        for index in range(len(buckets)):
            buckets[index][3] -= buckets[index][2]
        return -1.0
    bucket = buckets[failed]
    amount = min(bucket[2], bucket[1])
    wait: float = max(0.0, (amount - bucket[3]) / bucket[0])
    queue[0] = max(now + wait, queue[0] + amount / bucket[0])
    if told == EXACT:
        return math.floor(wait * 1000.0 + 0.5) / 1000.0
    if told == SECONDS:
        return max(1.0, float(math.ceil(wait)))
    if told == RESET:
        return max(1.0, float(math.ceil((bucket[1] - bucket[3]) / bucket[0])))
    if told == RESERVATION:
        return float(math.floor((queue[0] - now) * 1000.0 + 0.5) / 1000.0)
    return 0.0


def simulate(
    arrivals: Numbers,
    keys: Numbers,
    seed: int,
    outages: Numbers,
    script: Numbers,
    odds: Numbers,
    faults: Numbers,
    buckets: Numbers,
    told: int,
    pace: Numbers,
    setting: Numbers,
    bases: Numbers,
    budgeted: Numbers,
    tokens: Numbers,
    turns: Numbers,
    outcome: Numbers,
    attempts: Numbers,
    first: Numbers,
    settled: Numbers,
    causes: Numbers,
    load: Numbers,
    times: Numbers,
) -> None:
    """Play all calls to their end.

    `faults` are rows (kind, retryable, retry-after, break-after: -1 for a refusal); row 0 is the limits' own refusal.
    `setting` is what `plan.numbers_of` makes of a policy; `tokens` and `turns` hold each client's budget and pacer.
    """
    max_retries, jitter, honor = int(setting[0]), int(setting[2]), setting[3] > 0.0
    cap, longest, deadline = setting[1], setting[4], setting[5]
    ratio, burst, step, slack = setting[6], setting[7], setting[8], setting[9]
    clients, calls, bins = len(tokens), len(arrivals), len(load)
    width = len(times) // calls
    last, queue = [0.0] * calls, [-1.0]
    heap = [(0.0, 0, 0)]
    heap.pop()
    order, arrived, next_call = calls, 0, 0
    while next_call < calls or len(heap) > 0:
        # Among events of one instant arrivals come first, then what was scheduled first.
        if next_call < calls and (len(heap) == 0 or arrivals[next_call] <= heap[0][0]):
            now, call, phase = arrivals[next_call], next_call, READY
            next_call += 1
        else:
            now, _, code = heappop(heap)
            call, phase = code // 3, code % 3
        client = call % clients
        if phase == EARN:
            tokens[client] = min(burst, tokens[client] + ratio)
            continue
        if phase == READY and step > 0.0:
            due = max(turns[client], now)
            turns[client] = due + step
            pause = max(0.0, due - now - slack)
            if pause > 0.0:
                heappush(heap, (now + pause, order, call * 3 + DUE))
                order += 1
                continue
        attempts[call] += 1
        attempt = attempts[call]
        if width > 0:
            times[call * width + attempt - 1] = now
        if now < bins:
            load[int(now)] += 1
        fault = fault_at(now, seed, keys[call], attempt, arrived, outages, script, odds)
        arrived += 1
        floor = 0.0
        if fault >= 0:
            floor = faults[fault][2]
        if len(buckets) > 0 and (fault < 0 or faults[fault][3] >= 0.0):
            answer = take(now, buckets, queue, told)
            if answer >= 0.0:
                fault, floor = 0, answer
        if fault < 0 or faults[fault][3] >= 0.0:
            at = now + lognormal(pace[0], pace[1], u(seed, keys[call], attempt, TTFT)) + pace[2]
            if ratio > 0.0:
                heappush(heap, (at, order, call * 3 + EARN))
                order += 1
            if fault < 0:
                outcome[call], first[call], settled[call] = OK, at, at
                continue
            for index in range(int(faults[fault][3]) - 1):
                at += lognormal(pace[3], pace[4], u(seed, keys[call], attempt, GAP + (index << 8)))
            outcome[call], settled[call] = BROKEN, at
            causes[int(faults[fault][0])] += 1
            continue
        kind = int(faults[fault][0])
        causes[kind] += 1
        settled[call] = now
        if faults[fault][1] == 0.0:
            outcome[call] = FINAL
        elif attempt > max_retries:
            outcome[call] = MAX_RETRIES
        else:
            if not honor:
                floor = 0.0
            if floor > longest:
                outcome[call] = RETRY_AFTER
                continue
            before = last[call] if attempt > 1 else bases[kind]
            fixed, spread = draw(jitter, bases[kind], cap, attempt - 1, before, u(seed, keys[call], attempt, WAIT))
            last[call] = fixed + spread
            wait = above(jitter, floor, fixed, spread)
            if now + wait > arrivals[call] + deadline:
                outcome[call] = DEADLINE
            elif budgeted[kind] and tokens[client] < 1.0:
                outcome[call] = BUDGET
            else:
                if budgeted[kind]:
                    tokens[client] -= 1.0
                heappush(heap, (now + wait, order, call * 3 + READY))
                order += 1


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


def ranked(values: Numbers, places: Numbers) -> Numbers:
    """Return the values that would stand at these places in order."""
    ordered = sorted(values)
    return [ordered[place] for place in places]


def summarize(
    arrivals: Numbers,
    outcome: Numbers,
    attempts: Numbers,
    first: Numbers,
    settled: Numbers,
    causes: Numbers,
    load: Numbers,
    outage_end: float,
    capacity: float,
    cut_tokens: float,
    patience: float,
    result: Numbers,
) -> None:
    """Write the metrics of one day into `result`, in the order of `METRICS`.

    The time to the first delta counts from arrival and a failure as infinite; a percentile is the nearest rank.
    `recovery` is how long after the outage the last call that came before its end is settled; `goodput` is the rate of
    successes over the limits' `capacity` a second; `in_time` the share of calls with a first delta within `patience`.
    """
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
