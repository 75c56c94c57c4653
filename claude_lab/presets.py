"""Scenarios by name, and as JSON: what `/_lab/scenario` takes and gives, and what a request's header may choose."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from claude_lab import bodies, catalogue, faults
from claude_lab.faults import Fault
from claude_lab.frames import dump
from claude_lab.limits import Limits
from claude_lab.pacing import PROFILES, Pace
from claude_lab.replies import Voice
from claude_lab.responses import Tags, decided
from claude_lab.scenario import Outage, Request, Scenario

NAMED: dict[str, Callable[[], Scenario]] = {
    "calm": Scenario,
    "instant": lambda: Scenario(pace="instant"),
    "flaky": lambda: Scenario(faults=[faults.RateLimited(retry_after=1), faults.Overloaded()]),
    "overloaded": lambda: Scenario(odds={faults.Overloaded(): 0.5}),
    "limited": lambda: Scenario(limits=Limits()),
    "bursty": lambda: Scenario(pace="bursty"),
    "dropping": lambda: Scenario(odds={faults.Drop(after=20): 0.5}),
    "truncating": lambda: Scenario(odds={faults.Truncate(after=20): 0.5}),
    "outage": lambda: Scenario(outages=[Outage(0, 20)]),
    "down": lambda: Scenario(odds={faults.Unavailable(): 1.0}),
}
"""Scenarios worth a name."""


def named(name: str) -> Scenario:
    """Return the scenario of that name. Raises ValueError for an unknown one."""
    if name not in NAMED:
        raise ValueError(f"There is no scenario {name!r}; choose one of {sorted(NAMED)}, or give one as JSON.")
    return NAMED[name]()


def fault_from(value: Any) -> Fault:
    """Return a fault from `"Overloaded"` or `{"kind": "Drop", "after": 3}`. Raises ValueError when it is none."""
    if isinstance(value, str):
        return faults.named(value)
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
        raise ValueError(f'{value!r} is not a fault; write "Overloaded", or {{"kind": "Drop", "after": 3}}.')
    options = {name: option for name, option in value.items() if name != "kind"}
    for name in ("data", "chunks"):
        if name in options:
            given = options[name]
            options[name] = given.encode() if isinstance(given, str) else tuple(chunk.encode() for chunk in given)
    return faults.named(value["kind"], **options)


def fault_to(fault: Fault) -> dict[str, Any]:
    """Return a fault as JSON, without what is usual."""
    told: dict[str, Any] = {"kind": "ok" if isinstance(fault, faults.Ok) else type(fault).__name__}
    for field in dataclasses.fields(fault):
        value = getattr(fault, field.name)
        if value == field.default or value == {} or value == ():
            continue
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif isinstance(value, tuple):
            value = [chunk.decode(errors="replace") for chunk in value]
        told[field.name] = value
    return told


def pace_from(value: Any) -> Pace | str:
    """Return a pace from a profile's name or a table of seconds."""
    return Pace(**value) if isinstance(value, Mapping) else str(value)


def seed_from(value: Any) -> int:
    """Return a seed. Raises ValueError for what is no whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"seed={value!r} is not a whole number; give one such as 7.")
    return value


READ: dict[str, Callable[[Any], Any]] = {
    "seed": seed_from,
    "pace": pace_from,
    "faults": lambda value: [fault_from(each) for each in value],
    "odds": lambda value: {fault_from(each["fault"]): each["probability"] for each in value},
    "outages": lambda value: [Outage(each["start"], each["stop"], fault_from(each["fault"])) for each in value],
    "limits": lambda value: None if value is None else Limits(**value),
    "voice": lambda value: Voice(**value),
    "answer": lambda value: None if value is None else str(value),
    "headers": bool,
    "padding": bool,
}
"""How each field of a scenario is read."""


def read(text: str | bytes) -> Scenario:
    """Return the scenario that a text stands for: a name, or JSON. Raises ValueError, in one sentence, for neither.

    A scenario that is returned can be played: it has been, to nobody.
    """
    told = text.decode(errors="replace") if isinstance(text, bytes) else text
    try:
        value = bodies.parse(told.encode(errors="surrogatepass"))
    except ValueError as error:
        if told.lstrip()[:1] in ("{", "[", '"'):
            why = str(error).removeprefix("The request body is not valid JSON: ")
            raise ValueError(f"This scenario is not valid JSON: {why}.") from None
        value = told
    if isinstance(value, str):
        return named(value.strip())
    if not isinstance(value, Mapping):
        raise ValueError(f"A scenario is a name or an object, not {value!r}; known fields are {sorted(READ)}.")
    if unknown := sorted(set(value) - set(READ)):
        raise ValueError(f"A scenario has no field {unknown[0]!r}; known fields are {sorted(READ)}.")
    try:
        scenario = Scenario(**{name: READ[name](given) for name, given in value.items()})
        rehearse(scenario)
    except (TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"This scenario cannot be read ({error}); known fields are {sorted(READ)}.") from None
    return scenario


PLAIN = {"model": catalogue.DEFAULT, "max_tokens": 300, "messages": [{"role": "user", "content": "Hi"}]}
"""The request of a rehearsal."""


REHEARSED = 100
"""So many different faults of a scenario are rehearsed."""


def rehearse(scenario: Scenario) -> None:
    """Play a plain request under each fault of a scenario, whole and streamed, to nobody.

    Raises whatever goes wrong with it, so that it does not go wrong with a client's request.
    """
    dump(write(scenario)).encode()
    met = dict.fromkeys((faults.ok, *scenario.faults, *scenario.odds, *(each.fault for each in scenario.outages)))
    for fault in list(met)[:REHEARSED]:
        alone = dataclasses.replace(scenario, faults=[fault], odds={}, outages=())
        for stream in (False, True):
            decision = alone.world().admit(0.0, Request(body=PLAIN, max_tokens=300, stream=stream))
            tags = Tags(decision.request_id, decision.levels)
            decided(decision, tags, stream=stream, padding=scenario.padding).lines()


def write(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as JSON that `read` takes back."""
    pace = next((name for name, profile in PROFILES.items() if profile == scenario.pace), None)
    return {
        "seed": scenario.seed,
        "pace": pace or dataclasses.asdict(scenario.pace),  # type: ignore[arg-type]  # it is a Pace by now
        "faults": [fault_to(fault) for fault in scenario.faults],
        "odds": [{"fault": fault_to(fault), "probability": odds} for fault, odds in scenario.odds.items()],
        "outages": [
            {"start": each.start, "stop": each.stop, "fault": fault_to(each.fault)} for each in scenario.outages
        ],
        "limits": None if scenario.limits is None else dataclasses.asdict(scenario.limits),
        "voice": dataclasses.asdict(scenario.voice),
        "answer": scenario.answer,
        "headers": scenario.headers,
        "padding": scenario.padding,
    }
