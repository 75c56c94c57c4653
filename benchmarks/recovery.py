"""How wrong an answer is that broke off and was mended: the fake knows the true text, so the error can be counted.

    python benchmarks/recovery.py [--every 3]

Answers of the fake are broken off behind every third delta and mended over a real socket, by continuations of several
kinds. "wrong" is the edit distance to the true text in characters, per answer; "blind" joins a continuation as it
comes. "tokens twice" is what `done` counts in `billed_twice`, per answer, input and output; the output by the lab's
tokenizer.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from claude_lab import answers, faults
from claude_lab.attempts import Attempts
from claude_lab.contract import Translator
from claude_lab.fake import FakeClaude
from claude_lab.mending import mended
from claude_lab.recovery import Came, Strategy, continuing
from claude_lab.replies import Voice, pieces_of
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.settings import Settings
from claude_lab.spending import Ledger
from claude_lab.upstream import asker, failure_of, make_client

TEXTS = (answers.STREAMING, answers.RESUMING, answers.TOKENS)
MODELS = {"from 4.6 on (told)": "claude-haiku-5-5", "up to 4.5 (prefill)": "claude-haiku-4-5"}
VOICES: dict[str, dict[str, Any]] = {
    "perfect": {},
    "overlap 40": {"overlap": 40},
    "overlap 12": {"overlap": 12},
    "overlap 4": {"overlap": 4},
    "preamble": {"preamble": True},
    "preamble, overlap 20": {"preamble": True, "overlap": 20},
}
POLICY = RetryPolicy(max_retries=2, base_delay=0.0)


@dataclass
class Row:
    """What one way made of its answers."""

    wrong: list[int] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def add(self, text: str, true: str, done: dict[str, Any]) -> None:
        """Take one answer."""
        twice = done.get("billed_twice", {})
        self.wrong.append(distance(text, true))
        self.inputs.append(twice.get("input_tokens", 0))
        self.outputs.append(twice.get("output_tokens", 0))

    def __str__(self) -> str:
        exact = sum(not each for each in self.wrong)
        means = [statistics.mean(each) for each in (self.wrong, self.inputs, self.outputs)]
        worst = max(self.wrong)
        return f"{len(self.wrong):6} {exact:6} {means[0]:8.1f} {worst:6} {means[1]:9.0f} {means[2]:6.0f}"


def distance(one: str, other: str) -> int:
    """Return the edit distance: what begins and ends alike is cut off first, the rest is short."""
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    costs = list(range(len(other) + 1))
    for row, left in enumerate(one, 1):
        diagonal, costs[0] = costs[0], row
        for column, right in enumerate(other, 1):
            diagonal, costs[column] = (
                costs[column],
                min(costs[column] + 1, costs[column - 1] + 1, diagonal + (left != right)),
            )
    return costs[-1]


class Bench:
    """A fake, and how it is asked."""

    def __init__(self, fake: FakeClaude, client: Any) -> None:
        self.fake = fake
        self.client = client

    def ask(self, request: dict[str, Any], strategy: Strategy, *, text: str, after: int, voice: dict[str, Any]) -> Any:
        """Ask for `text`, broken off once, and return what came and the last frame."""
        broken = [faults.Drop(after=after)] if after else []
        voices = Voice(text, thinking=False, **voice)
        self.fake.put(Scenario(faults=broken, voice=voices, pace="instant"))
        return self._read(request, strategy)

    async def _read(self, request: dict[str, Any], strategy: Strategy) -> tuple[str, dict[str, Any]]:
        attempts = Attempts(POLICY, watch=lambda attempt: None)
        ask = asker(self.client, attempts, ledger=Ledger(), idle_timeout=5.0)
        translator, frames = Translator("run", 0.0), []

        def came() -> Came:
            return Came.of(frames, ended=translator.stop_reason is not None)

        batches = mended(ask, request, came, strategy=strategy, attempts=attempts, judge=failure_of)
        try:
            async for batch in batches:
                frames += translator.frames(batch, 0.0)
        except Exception as error:
            if strategy != "fail" or failure_of(error).kind != "network_error":
                raise
        return came().text, frames[-1][1]

    async def blind(self, request: dict[str, Any], **case: Any) -> str:
        """Return what came, to its last character, with the continuation behind it, just as it comes."""
        text, _ = await self.ask(request, "fail", **case)
        further = continuing(request, text.rstrip())
        assert further is not None
        rest, _ = await self.ask(further, "fail", **case | {"after": 0})
        return text + rest


async def measure(bench: Bench, every: int) -> None:
    """Print the table."""
    print(
        f"{'model':20} {'continuation':21} {'way':9} {'cases':>6} {'exact':>6} {'wrong':>8} {'worst':>6}   tokens twice"
    )
    for name, model in MODELS.items():
        told = "told" in name
        for kind, voice in VOICES.items() if told else [("perfect", {})]:  # after a prefill the fake repeats nothing
            rows = {way: Row() for way in ("fail", "restart", "blind", "continue")}
            for text in TEXTS:
                request = {"model": model, "max_tokens": 4000, "messages": [{"role": "user", "content": "Tell me."}]}
                for after in range(4, len(pieces_of(0, text)) - 1, every):
                    case: dict[str, Any] = {"text": text, "after": after, "voice": voice}
                    for way in ("fail", "restart", "continue"):
                        rows[way].add(*await one(bench, request, way, case))  # type: ignore[arg-type]
                    rows["blind"].add(await bench.blind(request, **case), text, {})
            shown = rows if kind == "perfect" else {way: rows[way] for way in ("blind", "continue")}
            for way, row in shown.items():
                print(f"{name:20} {kind:21} {way:9} {str(row) if way != 'blind' else str(row)[:30]}")


async def one(bench: Bench, request: dict[str, Any], way: Strategy, case: dict[str, Any]) -> tuple[str, str, Any]:
    """Return the text that a strategy makes, the true one, and the last frame."""
    text, done = await bench.ask(request, way, **case)
    return text, case["text"], done


async def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=3, help="break off behind every so many deltas")
    every = parser.parse_args().every
    began = time.perf_counter()
    with FakeClaude() as fake:
        async with make_client(Settings(api_key=SecretStr("fake"), base_url=fake.url)) as client:
            await measure(Bench(fake, client), every)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    asyncio.run(main())
