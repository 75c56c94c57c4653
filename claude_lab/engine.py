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


def verdict(
    now: float, seed: int, key: int, attempt: int, arrived: int, upstream: Numbers, queue: Numbers
) -> tuple[int, float]:
    """Return what an attempt meets: a fault or -1, and the seconds the server asks to wait."""
    outages, script, odds, faults, buckets, told, _ = upstream
    fault = fault_at(now, seed, key, attempt, arrived, outages, script, odds)
    if fault >= 0 and faults[fault][3] < 0.0:
        return fault, faults[fault][2]
    if len(buckets) > 0:
        asked = take(now, buckets, queue, told)
        if asked >= 0.0:
            return 0, asked
    return fault, 0.0


def answered(now: float, seed: int, key: int, attempt: int, pace: Numbers) -> float:
    """Return when the first delta of an admitted attempt comes."""
    return float(now + lognormal(pace[0], pace[1], u(seed, key, attempt, TTFT)) + pace[2])


def broken(at: float, seed: int, key: int, attempt: int, deltas: int, pace: Numbers) -> float:
    """Return when an answer breaks whose first delta came `at`: right after so many deltas."""
    for index in range(deltas - 1):
        at += lognormal(pace[3], pace[4], u(seed, key, attempt, GAP + (index << 8)))
    return at


def patience(
    now: float, seed: int, key: int, attempt: int, last: float, base: float, floor: float, setting: Numbers
) -> tuple[int, float, float]:
    """Return the rule that ends the call (OK for none), the wait before the next attempt, and its part by the formula.

    The deadline and the budget are the caller's to check: they need the call and its client.
    """
    if attempt > setting[0]:
        return MAX_RETRIES, 0.0, last
    if setting[3] == 0.0:
        floor = 0.0
    if floor > setting[4]:
        return RETRY_AFTER, 0.0, last
    jitter = int(setting[2])
    before = last if attempt > 1 else base
    fixed, spread = draw(jitter, base, setting[1], attempt - 1, before, u(seed, key, attempt, WAIT))
    return OK, above(jitter, floor, fixed, spread), fixed + spread


def held_back(now: float, client: int, turns: Numbers, setting: Numbers) -> float:
    """Reserve a client's next turn at its pacer and return the seconds until then, 0 or less for none."""
    due = max(turns[client], now)
    turns[client] = due + setting[8]
    return float(due - now - setting[9])


def granted(rule: int, late: bool, bucket: int, tokens: Numbers) -> int:
    """Return the rule that ends the call after all: no wait may pass the deadline, and the budget must pay.

    `bucket` is the place in `tokens` of the one that pays, negative for none.
    """
    if rule != OK:
        return rule
    if late:
        return DEADLINE
    if bucket >= 0:
        if tokens[bucket] < 1.0:
            return BUDGET
        tokens[bucket] -= 1.0
    return OK


def simulate(
    arrivals: Numbers, keys: Numbers, seed: int, upstream: Numbers, policy: Numbers, clients: Numbers, results: Numbers
) -> None:
    """Play all calls to their end.

    `upstream` is (outages, script, odds, faults, buckets, told, pace); its faults are rows (kind, retryable,
    retry-after, break-after: -1 for a refusal), the first of them the limits' own refusal. `policy` is what
    `plan.numbers_of` returns; `clients` holds each client's budget and pacer.
    """
    faults, pace = upstream[3], upstream[6]
    setting, bases, payers = policy
    tokens, turns = clients
    buckets = int(setting[10])
    outcome, attempts, first, settled, causes, load, times = results
    ratio, step = setting[6], setting[8]
    calls = len(arrivals)
    width = len(times) // calls
    last, queue, heap = [0.0] * calls, [-1.0], [(0.0, 0, 0)]
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
        client = call % len(turns)
        order += 1
        if phase == EARN:
            for bucket in range(client * buckets, client * buckets + buckets):
                tokens[bucket] = min(setting[7], tokens[bucket] + ratio)
            continue
        if phase == READY and step > 0.0:
            pause = held_back(now, client, turns, setting)
            if pause > 0.0:
                heappush(heap, (now + pause, order, call * 3 + DUE))
                continue
        attempts[call] += 1
        attempt, key = attempts[call], keys[call]
        if width > 0:
            times[call * width + attempt - 1] = now
        if now < len(load):
            load[int(now)] += 1
        fault, floor = verdict(now, seed, key, attempt, arrived, upstream, queue)
        arrived += 1
        if fault < 0 or faults[fault][3] >= 0.0:
            at = answered(now, seed, key, attempt, pace)
            if ratio > 0.0:
                heappush(heap, (at, order, call * 3 + EARN))
            if fault < 0:
                outcome[call], first[call], settled[call] = OK, at, at
            else:
                outcome[call], settled[call] = BROKEN, broken(at, seed, key, attempt, int(faults[fault][3]), pace)
                causes[int(faults[fault][0])] += 1
            continue
        kind = int(faults[fault][0])
        causes[kind] += 1
        settled[call] = now
        if faults[fault][1] == 0.0:
            outcome[call] = FINAL
            continue
        rule, wait, last[call] = patience(now, seed, key, attempt, last[call], bases[kind], floor, setting)
        payer = client * buckets + int(payers[kind]) - 1 if payers[kind] > 0.0 else -1
        rule = granted(rule, now + wait > arrivals[call] + setting[5], payer, tokens)
        if rule == OK:
            heappush(heap, (now + wait, order, call * 3 + READY))
        else:
            outcome[call] = rule
