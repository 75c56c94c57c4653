"""One seed, one world: equal seeds give equal bytes and delays, whatever the concurrency and the process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

from claude_lab import faults
from claude_lab.fake import FakeClaude
from claude_lab.scenario import Request, Scenario

COUNT = 1_000
SCENARIO = Scenario(
    seed=11, pace="jittery", odds={faults.Overloaded(): 0.1, faults.Drop(after=4): 0.1, faults.Truncate(): 0.1}
)
FAST = Scenario(seed=11, pace="instant", odds=SCENARIO.odds, padding=True)


def request_bytes(number: int) -> bytes:
    """The body of one request; each call asks something else."""
    return json.dumps(
        {
            "model": "claude-haiku-5-5",
            "max_tokens": 40,
            "stream": True,
            "messages": [{"role": "user", "content": f"{number}: why is the sky blue?"}],
        }
    ).encode()


async def ask(app: Any, number: int, *, named: bool) -> bytes:
    """Send one request to an ASGI app in memory; return its status and body."""
    told = [(b"authorization", b"Bearer lab"), (b"anthropic-version", b"2026-10-21")]
    if named:
        told += [(b"x-claude-lab-call", f"call-{number}".encode()), (b"x-claude-lab-attempt", b"1")]
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "headers": told, "http_version": "1.1"}
    got: list[bytes] = []
    pending = [{"type": "http.request", "body": request_bytes(number), "more_body": False}]

    async def receive() -> Any:
        await asyncio.sleep(0)
        return pending.pop() if pending else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        await asyncio.sleep(0)
        got.append(str(message["status"]).encode() if "status" in message else message["body"])

    await app(scope, receive, send)
    return b"".join(got)


async def together(*, named: bool) -> list[bytes]:
    """All calls at once."""
    app = FakeClaude(FAST).app
    return await asyncio.gather(*(ask(app, number, named=named) for number in range(COUNT)))


async def one_by_one(*, named: bool) -> list[bytes]:
    """One call after the other, the last first."""
    app = FakeClaude(FAST).app
    return [await ask(app, number, named=named) for number in reversed(range(COUNT))][::-1]


def test_a_thousand_concurrent_calls_are_byte_identical_to_one_by_one() -> None:
    """1,000 calls named by our driver: the same bytes all at once and one by one backwards, faults included."""
    assert asyncio.run(together(named=True)) == asyncio.run(one_by_one(named=True))


def test_foreign_clients_are_told_apart_by_what_they_ask() -> None:
    """The same without our headers: 1,000 distinct bodies give the same bytes in any order."""
    answers = asyncio.run(together(named=False))

    assert answers == asyncio.run(one_by_one(named=False))
    assert len(set(answers)) > COUNT * 0.8


def test_a_repeated_request_is_another_attempt() -> None:
    """The same body again draws other numbers: a retry is not doomed to its first fate."""
    world = SCENARIO.world()
    drawn = [world.admit(0.0, Request(fingerprint=5)).ttft for _ in range(5)]

    assert len(set(drawn)) > 1
    assert drawn == [SCENARIO.world().admit(0.0, Request(call=None, fingerprint=5)).ttft, *drawn[1:]]


def test_another_process_draws_the_same() -> None:
    """A fresh interpreter decides the same requests alike, delays to the last bit."""
    code = (
        "from claude_lab.scenario import *\n"
        "from claude_lab import faults\n"
        "s = Scenario(seed=3, pace='jittery', odds={faults.Overloaded(): .3})\n"
        "w = s.world()\n"
        "for n in range(50):\n"
        "    d = w.admit(n, Request(call=str(n), output_tokens=9)); print(d.status, d.ttft, d.gaps(4), d.request_id)\n"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]

    assert runs[0].stdout == runs[1].stdout
    assert runs[0].stdout.count("529") > 5
