"""What the fake costs, against what reading it costs the SDK: events per CPU second of both, in one run.

    python benchmarks/fake.py

The fake runs in a process of its own and is asked for its CPU time; the SDK reads in this one. A ratio above 1 means
that the fake costs less than its reader.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from typing import Any

SERVER = """
import sys, time
from claude_lab.fake import FakeClaude
from claude_lab.pacing import Pace
from claude_lab.scenario import Scenario
pace = Pace(0.05, float(sys.argv[1]), 0.0, 0.0)
with FakeClaude(Scenario(pace=pace)) as fake:
    print(fake.url, flush=True)
    for line in sys.stdin:
        print(time.process_time(), flush=True)
"""
ROUNDS = 5
MODES = (("burst: all at once", 0.0, 1, 3_000), ("paced: 40 streams, 200 events/s each", 0.005, 40, 300))
READERS = ("text_stream", "create", "bytes")


class Server:
    """The fake in another process."""

    def __init__(self, gap: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(gap)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = self.line()

    def line(self) -> str:
        """Return what the fake says next."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def cpu(self) -> float:
        """Return the CPU seconds the fake has used."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.line())

    def stop(self) -> None:
        """Let the fake end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


def body(words: int) -> dict[str, Any]:
    return {
        "model": "claude-opus-4-6",
        "max_tokens": 64_000,
        "messages": [{"role": "user", "content": f"Tell me about streaming in {words} words."}],
    }


async def read(client: Any, how: str, words: int) -> int:
    """Read one answer; return the number of its events."""
    if how == "text_stream":
        count = 6  # the events around the deltas
        async with client.messages.stream(**body(words)) as stream:
            async for _ in stream.text_stream:
                count += 1
        return count
    if how == "create":
        return 1 + len([event async for event in await client.messages.create(**body(words), stream=True)])
    async with client.messages.with_streaming_response.create(**body(words), stream=True) as response:
        return sum([chunk.count(b"event: ") async for chunk in response.iter_bytes()])


async def measure(server: Server, how: str, streams: int, words: int) -> tuple[float, float]:
    """Return events per CPU second of the fake and of the reader."""
    import httpx2
    from anthropic import AsyncAnthropic

    async with AsyncAnthropic(
        base_url=server.url, api_key="x", max_retries=0, http_client=httpx2.AsyncClient(timeout=60)
    ) as client:
        await read(client, how, 50)
        served, began = server.cpu(), time.process_time()
        events = sum(await asyncio.gather(*(read(client, how, words) for _ in range(streams))))
        spent = time.process_time() - began
        return events / (server.cpu() - served), events / spent


def main() -> None:
    print(f"{'mode':38} {'reader':12} {'fake ev/s':>10} {'reader ev/s':>12} {'ratio':>6}   min-max of {ROUNDS}")
    for name, gap, streams, words in MODES:
        server = Server(gap)
        try:
            for how in READERS:
                rows = [asyncio.run(measure(server, how, streams, words)) for _ in range(ROUNDS)]
                ratios = [fake / reader for fake, reader in rows]
                fake, reader = (statistics.median(column) for column in zip(*rows, strict=True))
                told = f"{min(ratios):.1f}-{max(ratios):.1f}"
                print(f"{name:38} {how:12} {fake:10,.0f} {reader:12,.0f} {statistics.median(ratios):6.1f}   {told}")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
