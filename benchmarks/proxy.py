"""How exact and how fast the proxy laboratory is: python benchmarks/proxy.py [lockstep beside timing ...]

lockstep  random scenarios through the real nginx and through the rule, compared after every upstream write (--count)
beside    random scenarios through the real nginx and through the embedded proxy: same bytes, same completeness
timing    the same schedule through both: difference of each event's arrival
load      events per second of processor time of the proxy's own process, over 150 streams
predict   1,000 configurations x 300 events
clean     the doctor on chains that stream, while the processor is busy: how often it says "held"
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from vectors.lockstep import COMMON, Lockstep, Vector, scenario  # noqa: E402
from vectors.replay import asked_of, play, rule_of  # noqa: E402

from claude_lab import background  # noqa: E402
from claude_lab.buffering import Release, Rule, predict, schedule  # noqa: E402
from claude_lab.causes import Cause  # noqa: E402
from claude_lab.course import send_through  # noqa: E402
from claude_lab.diagnosis import examine  # noqa: E402
from claude_lab.nginx import Build, find  # noqa: E402
from claude_lab.probe import Probe  # noqa: E402
from claude_lab.proxy import Proxy, Route  # noqa: E402
from claude_lab.report import Report  # noqa: E402

BATCH = 200
AT_ONCE = 4
LOAD = """
import asyncio, sys
STREAMS, EVENTS, SIZE = 150, 200, 94
PIECE = b"%x\\r\\n" % SIZE + b"data: " + b"x" * (SIZE - 8) + b"\\n\\n\\r\\n"
gate, here = asyncio.Event(), []

async def origin(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
    here.append(writer)
    await gate.wait()
    for _ in range(EVENTS):
        writer.write(PIECE)
        await asyncio.sleep(0.02)
    writer.write(b"0\\r\\n\\r\\n")

async def client(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    got = 0
    while not (data := await reader.read(65536)).endswith(b"0\\r\\n\\r\\n"):
        got += data.count(b"data: ")
    return got + data.count(b"data: ")

async def main():
    server = await asyncio.start_server(origin, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    port = int(sys.stdin.readline())
    clients = [asyncio.ensure_future(client(port)) for _ in range(STREAMS)]
    while len(here) < STREAMS:
        await asyncio.sleep(0.01)
    print("begin", flush=True)
    sys.stdin.readline()
    gate.set()
    print(sum(await asyncio.gather(*clients)), flush=True)

asyncio.run(main())
"""


class LockstepProxy(Lockstep):
    """The same harness around the embedded proxy: the portal's loop takes the place of nginx's."""

    def __init__(self, vectors: list[Vector], build: Build) -> None:
        self.vectors = vectors
        self.upstream = socket.create_server(("127.0.0.1", 0))
        self.upstream.settimeout(5)
        url = f"http://127.0.0.1:{self.upstream.getsockname()[1]}"
        rules = {v.id: rule_of(v.as_json(), COMMON, build.version) for v in vectors}
        self.proxy = Proxy(url, routes={f"/r{number}/": Route(url, rule) for number, rule in rules.items()})

    def __enter__(self) -> LockstepProxy:
        self.proxy.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.upstream.close()
        self.proxy.stop()

    def ping(self) -> None:
        """Let the loop read, write and notice closings."""
        for _ in range(3):
            background.portal().run(asyncio.sleep(0))

    def _connect(self, vector: Vector) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", int(self.proxy.url.rsplit(":", 1)[1])), timeout=5)
        lines = [f"GET /r{vector.id}/x HTTP/{vector.client_http}", "Host: lab"]
        lines += [f"Accept-Encoding: {vector.accept_encoding}"] if vector.accept_encoding else []
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        return client


def lockstep(count: int, seed: int, build: Build) -> str:
    """Compare the rule with nginx; a difference is looked at again with time for a delayed acknowledgment."""
    equal, same_bytes, again, steps, began = 0, 0, 0, 0, time.perf_counter()
    for start in range(0, count, BATCH):
        batch = [scenario(number, seed) for number in range(start, min(count, start + BATCH))]
        with Lockstep(batch, build) as real:
            for vector in batch:
                wire = real.run(vector)
                release = Release(rule_of(vector.as_json(), COMMON, build.version), asked_of(vector.as_json()))
                ours, held = play(release, vector.pieces, end=vector.end)
                if held != vector.client_bytes:
                    again += 1
                    wire = real.run(vector, pause=0.06)
                equal += held == vector.client_bytes
                same_bytes += ours == wire
                steps += len(held)
    return (
        f"{equal:,} of {count:,} scenarios equal at every one of {steps:,} steps, {same_bytes:,} byte-identical, "
        f"{again} looked at twice, seed {seed}, {time.perf_counter() - began:.0f} s"
    )


def beside(count: int, seed: int, build: Build) -> str:
    """Compare the embedded proxy with nginx."""
    batch = [scenario(number, seed) for number in range(count)]
    steps, bodies, ends = 0, 0, 0
    with Lockstep(batch, build) as real, LockstepProxy(batch, build) as ours:
        for vector in batch:
            wire, held, saw = real.run(vector), vector.client_bytes, vector.client_saw
            bodies += ours.run(vector) == wire
            steps += vector.client_bytes == held
            ends += vector.client_saw == saw
    return f"{bodies} of {count} byte-identical, {ends} with the same completeness, {steps} equal at every step"


def timing(build: Build) -> str:
    """Compare arrivals, event by event."""
    routes = {"1.22": Rule(), "1.30": Rule.preset("nginx-1.30"), "direct": Rule(buffering=False)}
    events = schedule(300, every=0.01)
    ours, real = send_through(routes, events), send_through(routes, events, real=True)
    late = [
        abs((a - s) - (b - t))
        for label in routes
        for a, s, b, t in zip(
            ours[label].arrivals, ours["sent"].arrivals, real[label].arrivals, real["sent"].arrivals, strict=True
        )
    ]
    ordered = sorted(late)
    return (
        f"median difference {1000 * statistics.median(late):.2f} ms, p95 {1000 * ordered[len(late) * 95 // 100]:.2f} ms"
    )


def load() -> str:
    """Drive 150 streams from another process and count our processor time."""
    driver = subprocess.Popen([sys.executable, "-c", LOAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert driver.stdin is not None
    assert driver.stdout is not None
    with Proxy(f"http://127.0.0.1:{int(driver.stdout.readline())}", Rule.preset("nginx-1.30")) as proxy:
        print(proxy.url.rsplit(":", 1)[1], file=driver.stdin, flush=True)
        driver.stdout.readline()
        before, began = time.process_time(), time.perf_counter()
        print(file=driver.stdin, flush=True)
        events = int(driver.stdout.readline())
        busy, took = time.process_time() - before, time.perf_counter() - began
    driver.wait(5)
    return f"{events:,} events in {took:.1f} s: {events / busy:,.0f} per second of one core ({busy / took:.0%} busy)"


def predictions() -> str:
    """Predict many configurations."""
    rand, events = random.Random(1), schedule(300)
    began = time.perf_counter()
    for _ in range(1000):
        size = rand.choice((4096, 8192, 16384))
        http, tls = rand.choice(("1.0", "1.1")), rand.random() < 0.5
        predict(Rule(buffer_size=size, buffers=(8, size), http_version=http, tls=tls), events)
    return f"1,000 configurations x 300 events in {time.perf_counter() - began:.1f} s"


def burn() -> None:
    """Keep a core busy."""
    while True:
        sum(range(10_000))


async def several(url: str, count: int) -> list[Report]:
    """Examine a chain several times at once."""
    return await asyncio.gather(*(examine(url) for _ in range(count)))


def clean(count: int) -> str:
    """Examine chains that stream, several at once, while all cores but one burn."""
    burners = [multiprocessing.Process(target=burn, daemon=True) for _ in range(multiprocessing.cpu_count() - 1)]
    for burner in burners:
        burner.start()
    wrong = unsure = 0
    try:
        with background.serve(Probe(), protocol=background.TransportProtocol) as served:
            with Proxy(served.url, Rule.preset("nginx-1.30")) as proxy:
                for start in range(0, count, AT_ONCE):
                    for report in background.portal().run(several(proxy.url, min(AT_ONCE, count - start))):
                        wrong += report.verdict == "held" or any(f.cause is not Cause.UNKNOWN for f in report.findings)
                        unsure += report.verdict != "streams"
    finally:
        for burner in burners:
            burner.terminate()
    return f"{wrong} of {count} clean runs called held, {unsure} not called streaming"


def main() -> None:
    """Run what was asked for, or all but the slow one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["lockstep", "beside", "timing", "load", "predict"])
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    build = find()
    for name in options.what:
        if build is None and name in ("lockstep", "beside", "timing"):
            print(f"{name:<9} no nginx installed")
            continue
        assert build is not None or name not in ("lockstep", "beside", "timing")
        table = {
            "lockstep": lambda: lockstep(options.count or 2000, options.seed, build),  # type: ignore[arg-type]
            "beside": lambda: beside(options.count or 200, options.seed, build),  # type: ignore[arg-type]
            "timing": lambda: timing(build),  # type: ignore[arg-type]
            "load": load,
            "predict": predictions,
            "clean": lambda: clean(options.count or 100),
        }
        print(f"{name:<9} {table[name]()}", flush=True)


if __name__ == "__main__":
    main()
