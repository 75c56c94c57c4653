"""What upstream will do: a `Scenario` is the plan, a `World` the pure machine that decides each request by it.

`World.admit` reads no clock, does no I/O and knows no HTTP: the fake plays its decisions in real time, an experiment
asks the same ones in virtual time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from claude_lab import cache, catalogue, chance, estimates, faults, replies
from claude_lab.amounts import is_amount, is_count
from claude_lab.cache import Cache
from claude_lab.chance import Purpose
from claude_lab.decision import Decision, Request
from claude_lab.faults import Fault
from claude_lab.limits import Limits, Meter
from claude_lab.messages import Reply, Usage
from claude_lab.pacing import Pace
from claude_lab.replies import Voice
from claude_lab.traffic import MOST_CALLS, Traffic, check_factors, check_rate

__all__ = ["Decision", "Outage", "Request", "Scenario", "World"]


@dataclass(frozen=True, slots=True)
class Outage:
    """Everybody gets `fault` from `start` to `stop`, in seconds since the world's first request."""

    start: float
    stop: float
    fault: Fault = field(default_factory=faults.Overloaded)

    def __post_init__(self) -> None:
        if not is_amount(self.start) or not is_amount(self.stop, above=self.start, most=math.inf):
            raise ValueError(f"An outage from {self.start!r} to {self.stop!r} is none; give 0 <= start < stop.")
        if not isinstance(self.fault, Fault):
            raise TypeError(f"{self.fault!r} is not a fault; use values such as faults.Overloaded().")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A plan for an upstream.

    `faults` is a script: the first request to arrive gets the first one, the next the second, then all is well; a
    single fault is a script of one.
    `odds` maps a fault to the chance that an attempt meets it; `outages` come by time. `pace` is a `Pace` or the name
    of a profile; `limits` are None for no rate limit; `voice` says how answers read, `answer` what. `headers=False`
    leaves the rate limit headers out, as some accounts see it; `padding` pads events with spaces, as the API does.
    Equal seeds give equal bytes and delays. `traffic` says who asks when, for experiments in virtual time;
    `assumed` is what an estimate took for granted. Raises ValueError for a value that cannot be meant, TypeError for
    something of another kind.
    """

    faults: Sequence[Fault] = ()
    seed: int = 0
    pace: Pace | str = "lively"
    odds: Mapping[Fault, float] = field(default_factory=dict)
    outages: Sequence[Outage] = ()
    limits: Limits | None = None
    voice: Voice = field(default_factory=Voice)
    answer: str | None = None
    headers: bool = True
    padding: bool = False
    traffic: Traffic | None = None
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "pace", Pace.of(self.pace))
        object.__setattr__(self, "faults", listed(self.faults, Fault, "a fault", "faults.Overloaded()"))
        object.__setattr__(self, "outages", listed(self.outages, Outage, "an outage", "Outage(start=60, stop=120)"))
        self._check_kinds()
        if not is_count(self.seed, most=2**64 - 1):
            raise ValueError(f"seed={self.seed!r} is not a seed; give a whole number from 0 to 2**64 - 1.")
        listed(self.odds, Fault, "a fault", "faults.Overloaded()")
        for fault, odds in self.odds.items():
            if not is_amount(odds, most=1):
                raise ValueError(f"The odds of {fault} are {odds!r}; give a probability between 0 and 1.")
        if sum(self.odds.values()) > 1:
            raise ValueError(f"The odds sum to {sum(self.odds.values())!r}; all together they may reach 1.")
        if self.answer is not None:
            object.__setattr__(self, "voice", Voice(self.answer))

    def _check_kinds(self) -> None:
        """Raise TypeError for a field of another kind."""
        for name, kind, example in KINDS:
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name}={getattr(self, name)!r:.60} cannot be meant; use {example}.")

    @classmethod
    def under(cls, shape: str, *, rpm: float, load: float = 0.75, depth: float = 10, **traffic: Any) -> Scenario:
        """Return a service limited to `rpm` requests a minute, `depth` at once, asked at `load` times that rate.

        `traffic` are further fields of `Traffic`. Raises TypeError for one that it has not.
        """
        words = [word.name for word in fields(Traffic)]
        if strange := [name for name in traffic if name not in words]:
            raise TypeError(f"{strange[0]!r} means nothing in traffic; use some of load, depth, {', '.join(words)}.")
        check_rate(rpm)
        check_factors(load=load, depth=depth)
        limits = Limits(rpm, None, None, burst=depth / rpm)
        return cls(limits=limits, traffic=Traffic(shape=shape, rpm=rpm * load, **traffic))

    @classmethod
    def steady(cls, *, rpm: float = 50, **options: Any) -> Scenario:
        """Return calls that come one by one; options as of `under` and `Traffic`."""
        return cls.under("steady", rpm=rpm, **options)

    @classmethod
    def bursty(cls, *, rpm: float = 50, **options: Any) -> Scenario:
        """Return calls that come in groups of `burst`; options as of `under` and `Traffic`."""
        return cls.under("bursty", rpm=rpm, **options)

    @classmethod
    def fanout(cls, *, agents: int = 40, rpm: float = 50, **options: Any) -> Scenario:
        """Return the calls of so many agents that start together, again and again."""
        return cls.under("fanout", rpm=rpm, burst=agents, **options)

    @classmethod
    def herd(cls, *, clients: int = 200, rpm: float = 600, outage: float = 20, within: float = 1) -> Scenario:
        """Return an outage, everybody who runs into it `within` a second, and the limit that awaits them after."""
        check_rate(rpm)
        asked = Traffic(shape="herd", requests=clients, window=within, clients=clients)
        return cls(limits=Limits(rpm, None, None, burst=10 / rpm), outages=[Outage(0, outage)], traffic=asked)

    @classmethod
    def replay(cls, times: Sequence[float], *, rpm: float = 50, **options: Any) -> Scenario:
        """Return calls at the given times, in seconds."""
        return cls.under("replay", rpm=rpm, load=1, times=times, **options)

    @classmethod
    def from_headers(cls, source: Any, *, load: float = 0.75, **traffic: Any) -> Scenario:
        """Return a service with the limits that a response's or run's headers name, asked at `load` times its rate.

        Raises ValueError when the headers name no limit.
        """
        check_factors(load=load)
        limits, assumed = estimates.limits_of(source)
        rpm = load * (limits.requests or 50)
        assumed.append(f"calls come in groups, {rpm:g} a minute")
        # Ten minutes at least: a full bucket alone would carry a shorter day.
        asked = Traffic(shape="bursty", rpm=rpm, **{"requests": min(MOST_CALLS, max(400, round(10 * rpm))), **traffic})
        return cls(limits=limits, traffic=asked, assumed=tuple(assumed))

    @classmethod
    def from_trace(cls, runs: Iterable[Any], *, limits: Limits | None = None, **traffic: Any) -> Scenario:
        """Return a service that answers as fast as these runs or traces were answered."""
        traces = estimates.traces_of(runs)
        waits = [trace.ttft for trace in traces if trace.ttft is not None]
        pace, assumed = estimates.pace_of(waits, [gap for trace in traces for gap in trace.gaps])
        assumed.append("calls come at the runs' own starts" if len(traces) > 1 else "one run says nothing of arrivals")
        first = min((trace.started for trace in traces), default=0.0)
        asked = Traffic(shape="replay", times=[trace.started - first for trace in traces] or [0.0], **traffic)
        return cls(pace=pace, limits=limits, traffic=asked, assumed=tuple(assumed))

    @classmethod
    def from_log(cls, path: str | Path, *, limits: Limits | None = None) -> Scenario:
        """Return the traffic, pace and errors of a log: JSON lines or CSV; see `estimates.log_of`."""
        calls = estimates.log_of(path)
        pace, assumed = estimates.pace_of([call.ttft for call in calls if call.ttft], [])
        odds = estimates.odds_of(call.status for call in calls)
        assumed.append("errors are independent of each other and of the load; rate limits come from `limits` alone")
        usual = Traffic()
        asked = Traffic(
            shape="replay",
            times=[call.at - calls[0].at for call in calls],
            input_tokens=estimates.middle((call.input_tokens for call in calls), usual.input_tokens),
            output_tokens=estimates.middle((call.output_tokens for call in calls), usual.output_tokens),
        )
        return cls(pace=pace, odds=odds, limits=limits, traffic=asked, assumed=tuple(assumed))

    def world(self, began: float | None = None) -> World:
        """Return a fresh world; `began` is the time its outages count from, by default that of the first request."""
        return World(self, began)


KINDS: tuple[tuple[str, Any, str], ...] = (
    ("odds", Mapping, "{faults.Overloaded(): 0.1}"),
    ("limits", Limits | None, "Limits(requests=50), or None"),
    ("voice", Voice, "Voice(...)"),
    ("answer", str | None, "a text, or None"),
    ("headers", bool, "True or False"),
    ("padding", bool, "True or False"),
    ("traffic", Traffic | None, "Traffic(rpm=50), or None"),
)
"""Fields of a scenario, what each must be, and an example."""


def listed(values: Any, kind: type, word: str, example: str) -> tuple[Any, ...]:
    """Return one or several values of a kind as a tuple. Raises TypeError for anything else."""
    several = values if isinstance(values, Iterable) and not isinstance(values, kind) else [values]
    found = tuple(several)
    if strange := [value for value in found if not isinstance(value, kind)]:
        raise TypeError(f"{strange[0]!r:.60} is not {word}; use values such as {example}.")
    return found


class World:
    """Decides requests, one after the other in the order they arrive."""

    def __init__(self, scenario: Scenario, began: float | None = None) -> None:
        self.scenario = scenario
        self.began = began
        self.pace = Pace.of(scenario.pace)
        self.arrivals = 0
        self._seen: dict[int, int] = {}
        self._odds = tuple(scenario.odds.items())
        self._meter: Meter | None = None
        self._cache = Cache()

    def admit(self, now: float, request: Request) -> Decision:
        """Decide a request that arrives `now`, in seconds of any clock that does not go back."""
        seed = self.scenario.seed
        key, attempt = self._identity(request)
        pace = self.pace
        fault = self._fault(now, seed, key, attempt)
        self.arrivals += 1
        if fault is not None and not isinstance(fault, faults.Break):
            return Decision(seed, key, attempt, pace, fault=fault)
        usage = self._usage(now, request)
        reply = self._reply(request, usage, key, attempt) if request.body else None
        levels = None
        if self.scenario.limits is not None:
            refusal = self._charge(now, request, usage, reply, self.scenario.limits)
            levels = self._meter.levels(now) if self._meter else None
            if refusal is not None:
                return Decision(seed, key, attempt, pace, fault=refusal, levels=levels)
        fresh = request.input_tokens - usage.cache_read
        ttft = pace.first(chance.u(seed, key, attempt, Purpose.TTFT), fresh)
        return Decision(seed, key, attempt, pace, ttft, fault, usage, reply, levels)

    def _usage(self, now: float, request: Request) -> Usage:
        """Return the input side of the usage, through the cache where the request marks anything."""
        if request.body and cache.marked(request.body):
            minimum = catalogue.MODELS[request.model].cache_minimum
            return self._cache.use(now, request.body, request.input_tokens, minimum)
        return Usage(request.input_tokens)

    def _charge(
        self, now: float, request: Request, usage: Usage, reply: Reply | None, limits: Limits
    ) -> faults.Refusal | None:
        """Charge the limits; what the cache remembered is free."""
        if self._meter is None:
            self._meter = Meter(limits, now)
        output = request.output_tokens or 0
        if limits.charge == "max_tokens":
            output = request.max_tokens
        elif reply is not None:
            output = reply.usage.output
        return self._meter.take(now, request.input_tokens - usage.cache_read, output)

    def _identity(self, request: Request) -> tuple[int, int]:
        """Return the key and attempt that chance goes by: our driver's, else the body's and how often it came."""
        if request.call is not None:
            return chance.key(request.call), request.attempt
        seen = self._seen[request.fingerprint] = self._seen.get(request.fingerprint, 0) + 1
        return request.fingerprint, seen

    def _fault(self, now: float, seed: int, key: int, attempt: int) -> Fault | None:
        """Return the fault of this request: an outage's, else the script's, else one drawn by the odds."""
        if self.began is None:
            self.began = now
        for outage in self.scenario.outages:
            if outage.start <= now - self.began < outage.stop:
                return outage.fault
        if self.arrivals < len(self.scenario.faults):
            scripted = self.scenario.faults[self.arrivals]
            return None if isinstance(scripted, faults.Ok) else scripted
        if self._odds:
            drawn = chance.u(seed, key, attempt, Purpose.FAULT)
            for fault, odds in self._odds:
                if drawn < odds:
                    return fault
                drawn -= odds
        return None

    def _reply(self, request: Request, usage: Usage, key: int, attempt: int) -> Reply:
        return replies.compose(
            request.body,
            usage,
            voice=self.scenario.voice,
            think=catalogue.thinks(request.model),
            seed=self.scenario.seed,
            key=key,
            attempt=attempt,
        )
