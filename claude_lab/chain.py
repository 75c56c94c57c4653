"""One chain of proxies under examination: questions, the shapes of the answers, and what they prove.

Nothing here knows how a question is asked: over sockets, or of a rule, without waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from claude_lab.causes import Cause, Finding
from claude_lab.observation import Observation, Question
from claude_lab.pattern import Pattern, pattern
from claude_lab.probe import Plan
from claude_lab.report import Verdict

Ask = Callable[[Question], Awaitable[Observation]]

MOST_LOOKS = 3
"""How often a question is asked at most while this machine's own lateness blurs the answer."""
AT_ONCE = 12
BASE = Question(Plan(count=40, every=0.025, size=120))
LARGE = {"count": 60, "size": 2000}
HUGE = {"count": 80, "size": 8000}
SLOW = {"count": 16, "every": 0.1}
HALF_PACE = {"count": 40, "every": 0.05, "size": 2000}
NO_MARK = "without `X-Accel-Buffering: no`"
LARGE_EVENTS = "with large events"
NO_TRANSFORM = "without `Cache-Control: no-transform`"
WEIGHTY = {"size": 1200}  # some compressors leave an answer alone whose first piece is below a kilobyte
UNNAMED = (Cause.UNKNOWN, Cause.UNREACHABLE)
BARE = BASE.but(accel="")
VARIANTS = {
    "as our server answers": BASE,
    "no X-Accel-Buffering": BARE,
    "no header, large events": BARE.but(**LARGE),
    "Accept: */*": BASE.but(accept="*/*"),
    "POST": BASE.but(method="POST"),
    "large events": BASE.but(**WEIGHTY),
    "no Cache-Control: no-transform": BASE.but(**WEIGHTY, cache="no-cache"),
}
# Conditions under which a chain may hold although it streams what our server sends.
CONDITIONS = {
    "always": BASE,
    NO_MARK: BARE,
    "with `Accept: */*`": BASE.but(accept="*/*"),
    "with POST": BASE.but(method="POST"),
    LARGE_EVENTS: BASE.but(**WEIGHTY),
    NO_TRANSFORM: BASE.but(**WEIGHTY, cache="no-cache"),
}
WITHIN = {NO_TRANSFORM: LARGE_EVENTS}  # where the second holds, the first says nothing new


@dataclass(slots=True)
class Chain:
    """One URL under examination: asks each question once and remembers the shape."""

    url: str
    ask: Ask
    shapes: dict[Question, Pattern] = field(default_factory=dict)
    seen: dict[Question, Observation] = field(default_factory=dict)

    async def shape(self, question: Question) -> Pattern:
        """Return the shape of a question's answer; one that does not stream is asked again, slower, to be sure."""
        if question not in self.shapes:
            await self._ask(question)
        return self.shapes[question]

    async def _ask(self, question: Question) -> None:
        for _ in range(MOST_LOOKS):
            self.seen[question] = await self.ask(question)
            self.shapes[question] = pattern(self.seen[question])
            if self.shapes[question].kind != "noisy":
                break

    async def all(self, *questions: Question) -> list[Pattern]:
        """Ask several, a few at once, and return their shapes."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def gated(question: Question) -> None:
            async with gate:
                await self.shape(question)

        await asyncio.gather(*(gated(question) for question in dict.fromkeys(questions)))
        return [self.shapes[question] for question in questions]

    async def again(self, *questions: Question) -> list[Pattern]:
        """Ask several a second time, with no others under way: a busy machine blurs the steps."""
        for question in questions:
            self.shapes.pop(question, None)
        return await self.all(*questions)

    async def streams(self, question: Question) -> bool:
        """Whether a question's answer streams; a doubtful one gets a second look at a quarter of the pace."""
        if (await self.shape(question)).streams:
            return True
        return (await self.shape(question.but(**SLOW))).streams

    @property
    def server(self) -> str:
        """Who says it is in front: a hint for the wording, never evidence."""
        heads = [seen.head for seen in self.seen.values() if seen.head]
        return " ".join(f"{head.get('server')} {head.get('via')}" for head in heads[:1]).strip()

    def compressed(self, question: Question) -> bool:
        """Whether a question's answer came compressed."""
        head = self.seen[question].head
        return head is not None and head.get("content-encoding", "identity") != "identity"

    @property
    def secure(self) -> bool:
        """Whether it is asked over TLS."""
        return self.url.startswith("https:")


async def findings_of(chain: Chain) -> list[Finding]:
    """Return what is wrong, and under which condition; an empty list when all that clients do streams."""
    await chain.all(*VARIANTS.values(), BASE.but(**SLOW))
    if (await chain.shape(BASE)).kind == "origin":
        return [Finding(Cause.ORIGIN, "the origin", "always", str(chain.shapes[BASE]), server=chain.server)]
    if "replay" in (chain.shapes[question].kind for question in VARIANTS.values()):
        return [Finding(Cause.CACHE, chain.url, "always", str(Pattern("replay")), server=chain.server)]
    if not await chain.streams(BASE):
        return [await explained(chain, BASE, "always")]
    streaming = await asyncio.gather(*(chain.streams(question) for question in CONDITIONS.values()))
    held = [when for when, streams in zip(CONDITIONS, streaming, strict=True) if not streams]
    return [await explained(chain, CONDITIONS[when], when) for when in held if WITHIN.get(when) not in held]


async def judge(chain: Chain, findings: list[Finding]) -> Verdict:
    """Return the verdict for answers with our server's headers."""
    if any(finding.cause is Cause.ORIGIN for finding in findings):
        return "origin"
    if await chain.streams(BASE):
        return "streams"
    return "held" if any(finding.cause not in UNNAMED for finding in findings) else "cannot tell"


async def explained(chain: Chain, question: Question, when: str) -> Finding:
    """Change one thing at a time and see what makes the answer stream; then let the steps speak; else say so."""
    changes = [
        (question.but(**change), cause, cure)
        for change, cause, cure in CHANGES
        if applies(chain, question, change) and (cause is not Cause.COMPRESSION or chain.compressed(question))
    ]
    large = question.but(**LARGE)
    asked = [changed for changed, _, _ in changes]
    sizes = [question.but(**what) for what in (LARGE, HUGE, HALF_PACE)]
    dense = question.but(**HUGE, fill="random")
    sizes += [large.but(encoding="identity"), *([dense] if chain.compressed(question) else [])]
    await chain.all(*asked, *(changed.but(**SLOW) for changed in asked), *sizes)
    for changed, cause, cure in changes:
        if await chain.streams(changed):
            return Finding(cause, chain.url, when, str(chain.shapes[question]), cure, chain.server)
    squeezed, plain = chain.shapes[large], chain.shapes[large.but(encoding="identity")]
    if squeezed.kind == "end" and plain.kind not in ("end", "nothing") and chain.compressed(large):
        evidence = f"{squeezed}; not compressed: {plain}"
        return Finding(Cause.COMPRESSION, chain.url, when, evidence, "", chain.server)
    if squeezed.kind == "end" and chain.compressed(large):
        loose = await chain.shape(dense)
        if loose.kind not in ("end", "nothing"):  # a store would keep that too; a compressor runs over
            evidence = f"{squeezed}; of random text: {loose}"
            return Finding(Cause.COMPRESSION, chain.url, when, evidence, "", chain.server)
    return await stepped(chain, question, when)


def applies(chain: Chain, question: Question, change: dict[str, Any]) -> bool:
    """Whether a change changes something here; HTTP/2 needs TLS."""
    return question.but(**change) != question and (chain.secure or "http2" not in change)


# What is changed, what it proves when the stream is cured by it, and how to say it. The order goes from the narrow to
# the broad: a header that cures everything proves the least.
CHANGES: tuple[tuple[dict[str, Any], Cause, str], ...] = (
    ({"cache": Plan().cache}, Cause.COMPRESSION, "sending `Cache-Control: no-transform`"),
    ({"encoding": "identity"}, Cause.COMPRESSION, "asking for `Accept-Encoding: identity`"),
    ({"accept": "text/event-stream"}, Cause.ACCEPT, "asking with `Accept: text/event-stream`"),
    ({"method": "POST"}, Cause.METHOD, "asking with POST"),
    ({"http2": True}, Cause.TLS_RECORD, "asking over HTTP/2"),
)


async def stepped(chain: Chain, question: Question, when: str) -> Finding:
    """Name the cause by its byte or time steps, at three sizes and two rates; what they leave open is asked again."""
    questions = [question.but(**change) for change in (LARGE, HUGE, HALF_PACE)]
    cured = "sending `X-Accel-Buffering: no`" if when == NO_MARK else ""
    shapes = await chain.all(*questions)
    cause = by_steps(chain, shapes, cured=bool(cured))
    if cause is Cause.UNKNOWN:
        shapes = await chain.again(*questions)
        cause = by_steps(chain, shapes, cured=bool(cured))
    told = ("steps", "wire steps", "clumps")
    telling = next((shape for shape in shapes if shape.kind in told), chain.shapes[question])
    if cause is Cause.CLUMPS:
        telling = Pattern("clumps", shapes[0].every)
    return Finding(cause, chain.url, when, str(telling), cured, chain.server)


def by_steps(chain: Chain, shapes: list[Pattern], *, cured: bool) -> Cause:
    """Return the cause that the shapes of a large, a huge and a slower answer prove, or UNKNOWN."""
    kinds = [shape.kind for shape in shapes]
    # A buffer fills in twice the time at half the pace; a timer does not, though equal events make its bytes equal too.
    if shapes[0].every and abs(shapes[0].every - shapes[2].every) < 0.25 * shapes[0].every:
        return Cause.CLUMPS
    if "wire steps" in kinds and chain.secure:
        return Cause.TLS_RECORD
    if "steps" in kinds or "wire steps" in kinds or cured:  # what the header cures is a response buffer, however large
        return Cause.PIPE if cured else Cause.DEAF_PIPE
    by_all = {"late": Cause.SPLIT_CHUNKS, "end": Cause.STORE, "nothing": Cause.UNREACHABLE}
    return by_all.get(kinds[0], Cause.UNKNOWN) if len(set(kinds)) == 1 else Cause.UNKNOWN
