"""The doctor: timed probes through a chain, one change at a time, until the hop that holds and its cause are named.

Where the probe's endpoint (`claude_lab.probe`) answers at the far end, its events say when they were written, so a
proxy that holds, an origin that is late and a slow machine of our own can be told apart. A foreign URL gives only
its byte and time steps; where those do not decide, the verdict is "cannot tell".
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import ssl
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from claude_lab import background, clock, probing, progress
from claude_lab.asking import address_of
from claude_lab.causes import Cause, Finding
from claude_lab.chain import BARE, BASE, CONDITIONS, VARIANTS, Ask, Chain, findings_of, judge
from claude_lab.observation import Observation, Question
from claude_lab.pattern import Kind, Pattern, stairs, together
from claude_lab.probe import Plan
from claude_lab.report import Report, Verdict

MOUNTED = "/_lab/probe"
WATCHED = 15.0
PAUSE = 1.0
"""Seconds between two looks at a chain that is being cured."""
STEP_CAUSES: dict[Kind, Cause] = {"steps": Cause.PIPE, "wire steps": Cause.TLS_RECORD}


def doctor(
    url: str,
    hops: Sequence[str] = (),
    *,
    context: ssl.SSLContext | None = None,
    silences: Sequence[float] = (),
    shown: bool = True,
) -> Report:
    """Examine a chain of proxies and name the hop that holds its streams, the cause and the cure.

    `url` is the outermost address of a probe's endpoint, or of a lab's server, which mounts one. `hops` are addresses
    of the same endpoint at each proxy, from the app outwards. `silences` are gaps in seconds to try. A URL without a
    probe behind it is watched once. `context` trusts a test's certificate. Takes 3 to 15 seconds; a line that is
    `shown` says where it is. After the cure `report.again()` probes once more, and `report.again(within=60)` as soon
    as it helps. Raises ValueError for what is no URL.
    """
    url, hops = address_of(url, "url"), [address_of(hop, "hop") for hop in hops]
    asked = Asked()
    with progress.line(shown=shown) as tell:
        work = examine(url, hops, context=context, silences=silences, asked=asked)
        report = background.portal().run(work, timeout=600, meanwhile=lambda: tell(str(asked)))

    def repeat(findings: tuple[Finding, ...], within: float) -> Report:
        with progress.line(shown=shown) as tell:
            tell(f"waiting for the cure, {within:g} s at most")
            background.portal().run(cure(url, findings, within, context=context), timeout=within + 600)
        return doctor(url, hops, context=context, silences=silences, shown=shown)

    return dataclasses.replace(report, repeat=repeat)


class Asked:
    """How far the doctor is: whom it asks just now, and how many questions it has asked."""

    def __init__(self) -> None:
        self.place = "for the probe"
        self.questions = 0
        self.began = clock.now()

    def __call__(self, place: str) -> None:
        """Count a question."""
        self.place = place
        self.questions += 1

    def __str__(self) -> str:
        return f"doctor: asking {self.place}: question {self.questions}, {clock.now() - self.began:.0f} s"


async def cure(url: str, findings: Sequence[Finding], within: float, *, context: ssl.SSLContext | None = None) -> None:
    """Wait, at most so many seconds, until something streams that was found not to."""
    until = clock.now() + within
    while clock.now() < until:
        found = await endpoint(url, context)
        asked = dict.fromkeys(CONDITIONS[finding.when] for finding in findings)
        if found is not None and any([await asked_at(found, context).streams(question) for question in asked]):
            return
        await asyncio.sleep(min(PAUSE, max(0.0, until - clock.now())))


async def examine(
    url: str,
    hops: Sequence[str] = (),
    *,
    context: ssl.SSLContext | None = None,
    silences: Sequence[float] = (),
    asked: Asked | None = None,
) -> Report:
    """Do what `doctor` does, on a running loop; `asked` is told of each question."""
    if url.startswith("https:"):
        import httpcore  # noqa: F401  # httpx's own part, imported where nothing is timed yet: later it would be noise

    began, asked = clock.now(), asked or Asked()
    found = await endpoint(url, context)
    if found is None:
        asked("what is no probe, once")
        seen = await probing.ask(url, Question(None), context=context, patience=WATCHED)
        return dataclasses.replace(foreign(url, seen), seconds=clock.now() - began)
    chain = asked_at(found, context, functools.partial(asked, "the whole chain"))
    state = functools.partial(probing.state_of, found, context=context)
    asking = (findings_of(chain), dying(chain.ask), told(chain.ask, state), longest(chain.ask, silences))
    findings, death, leaving, silence = await asyncio.gather(*asking)
    if findings and hops:
        inner = [
            asked_at(address, context, functools.partial(asked, f"hop {number} of {len(hops)}"))
            for number, hop in enumerate(hops, start=1)
            if (address := await endpoint(hop, context))
        ]
        findings = [await located(finding, inner, chain) for finding in findings]
    verdict = await judge(chain, findings)
    probes = {name: str(await chain.shape(question)) for name, question in VARIANTS.items()}
    head = chain.seen[BARE].head_after
    probes["response head, no header"] = "none" if head is None else f"after {head * 1000:.0f} ms"
    return Report(url, verdict, tuple(findings), probes, death, leaving, silence, clock.now() - began)


def asked_at(url: str, context: ssl.SSLContext | None, count: Callable[[], None] = lambda: None) -> Chain:
    """Return a chain whose questions go to an address, each of them counted."""

    def ask(question: Question) -> Awaitable[Observation]:
        count()
        return probing.ask(url, question, context=context)

    return Chain(url, ask)


async def endpoint(url: str, context: ssl.SSLContext | None) -> str | None:
    """Return where the probe answers: at the URL itself, or where a lab's server mounts it."""
    for candidate in (url, url.rstrip("/") + MOUNTED):
        if (await probing.ask(candidate, Question(Plan(count=1)), context=context)).is_probe:
            return candidate
    return None


async def located(finding: Finding, hops: Sequence[Chain], outermost: Chain) -> Finding:
    """Find the innermost hop at which the same question is held; the hops go from the app outwards."""
    question = CONDITIONS[finding.when]
    for number, hop in enumerate(hops, start=1):
        if not await hop.streams(question):
            return dataclasses.replace(finding, where=f"hop {number}, {hop.url}", server=hop.server)
    outside = f"outside the last hop given, {outermost.url}" if hops else outermost.url
    return dataclasses.replace(finding, where=outside)


async def dying(ask: Ask) -> str:
    """Return what a client sees when the upstream breaks off in the middle."""
    seen = await ask(BASE.but(die=20, how="cut"))
    count = len(seen.arrivals)
    appended = ", text appended to the stream" if seen.tail.strip() and seen.ended == "whole" else ""
    words = {
        "whole": "looks like a clean end: only a final event can tell",
        "closed": "looks like a clean end: only a final event can tell",
        "cut": "the cut is visible",
        "reset": "the cut is visible (reset)",
        "silent": "the client hangs: it needs a read timeout",
        "refused": "an error page instead of the events",
    }
    ended, appended = ("refused", "") if seen.status >= 400 else (seen.ended, appended)
    return f"{count} of 20 events, {words.get(ended, ended)}{appended}"


async def told(ask: Ask, state: Callable[[str], Awaitable[dict[str, Any]]]) -> float | None:
    """Return after how many seconds the origin knows that the client has left, or None."""
    name = uuid.uuid4().hex
    plan = Plan(count=400, every=0.01, size=2000, id=name)
    seen = await ask(Question(plan, leave_after=5))
    left = clock.now()
    for _ in range(20):
        known = await state(name)
        if known.get("left") is not None:
            began = seen.arrivals[-1].at if seen.arrivals else 0.0
            return max(0.0, float(known["left"]) - began)
        if known.get("ended") or clock.now() - left > 2:
            break
        await asyncio.sleep(0.1)
    return None


async def longest(ask: Ask, silences: Sequence[float]) -> float | None:
    """Return the longest of these silences that the chain survives, or None when none was asked for or survived."""
    questions = {silence: BASE.but(count=4, gap=silence) for silence in silences}
    seen = await asyncio.gather(*(ask(question) for question in questions.values()))
    survived = [gap for gap, what in zip(questions, seen, strict=True) if len(what.arrivals) == 4]
    return max(survived, default=None)


def foreign(url: str, seen: Observation) -> Report:
    """Judge a URL that is no probe by one look: only exact byte steps are evidence, everything else stays open."""
    step = stairs(together(seen.reads, within=0.002), len(seen.arrivals))
    cause = STEP_CAUSES[step[0]] if step else Cause.UNKNOWN if seen.head else Cause.UNREACHABLE
    evidence = str(Pattern(*step)) if step else "no exact steps" if seen.head else "no answer"
    if seen.status >= 400:
        cause, evidence = Cause.UNREACHABLE, f"it answers {seen.status}"
    finding = Finding(cause, url, "always", evidence, server=seen.head.get("server") if seen.head else "")
    verdicts: dict[Cause, Verdict] = {Cause.UNREACHABLE: "unreachable", Cause.UNKNOWN: "cannot tell"}
    return Report(url, verdicts.get(cause, "held"), (finding,), {"watched once": f"{len(seen.arrivals)} events"})
