"""What relaying a stream costs: this server beside the article's, and beside LiteLLM's proxy where there is one.

    python benchmarks/relay.py                      # everything: about three minutes on a quiet machine
    python benchmarks/relay.py burst paced ttft     # some parts: burst, paced, ttft, memory, crowd
    python benchmarks/relay.py --quick              # one round of each
    python benchmarks/relay.py --fast               # the article's server also with uvloop and httptools
    python benchmarks/relay.py --litellm PYTHON     # the interpreter of an environment with litellm[proxy]
    python benchmarks/relay.py --json FILE          # the figures, for docs/make_server.py

Each server is one process, in front of one upstream in another (`benchmarks/canned.py`); the readers are here. Rounds
alternate the servers; a figure is the median of five rounds, with the least and the most, and its ratio to the
article's. CPU time is that of the server's process alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import article_server  # noqa: E402

from claude_lab.crowd import Crowd, Question, drive  # noqa: E402

PLAIN = ["--loop", "asyncio", "--http", "h11"]  # what `pip install uvicorn` gives
LITELLM = """
model_list:
  - model_name: claude-haiku-5-5
    litellm_params: {{model: anthropic/claude-haiku-5-5, api_base: "{upstream}", api_key: x}}
"""


@dataclass
class Server:
    """One server: how it is started, how it is asked, and its process."""

    name: str
    command: list[str]
    port: int
    environment: dict[str, str]
    folder: str
    health: str = "/health"
    messages: bool = False
    process: psutil.Popen | None = None
    rows: dict[str, list[float]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        environment = {**os.environ, **self.environment}
        self.process = psutil.Popen(
            self.command, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 180
        while time.monotonic() < until:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(self.url + self.health, trust_env=False).status_code == 200:
                    break
            time.sleep(0.05)
        asyncio.run(drive(self.url, 20, self.ask("burst 20"), health=None))

    def stop(self) -> None:
        """End it and its children."""
        if self.process is None:
            return
        family = [self.process, *self.process.children(recursive=True)]
        self.process.terminate()
        for process in psutil.wait_procs(family, timeout=10)[1]:
            process.kill()
        self.process = None

    def ask(self, text: str) -> Question:
        """Return the question in this server's words."""
        if not self.messages:
            return Question({"message": text})
        fields = {"model": "claude-haiku-5-5", "max_tokens": 1024, "stream": True}
        said = [{"role": "user", "content": text}]
        return Question(
            {**fields, "messages": said}, "/v1/messages", b"text_delta", b"message_stop", {"x-api-key": "x"}
        )

    @property
    def family(self) -> list[psutil.Process]:
        """Its processes."""
        assert self.process is not None
        return [self.process, *self.process.children(recursive=True)]

    def cpu(self) -> float:
        """Return the CPU seconds it has used: nanoseconds from the scheduler where the system tells them."""
        return sum(map(cpu_of, self.family))

    def memory(self) -> int:
        """Return its resident bytes."""
        return sum(process.memory_info().rss for process in self.family)


def cpu_of(process: psutil.Process) -> float:
    tasks = Path(f"/proc/{process.pid}/task")
    if not tasks.exists():
        return sum(process.cpu_times()[:2])
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def upstream() -> Iterator[str]:
    """Start the upstream; yield its URL."""
    command = [sys.executable, str(ROOT / "benchmarks" / "canned.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().removeprefix("listening on ").strip()
    finally:
        process.stdin.close()
        process.wait(10)


def servers(url: str, folder: Path, litellm: str | None, *, fast: bool = False) -> list[Server]:
    """Return the servers, not yet started; the first is the one the others are compared with."""
    key = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "x", "PYTHONPATH": str(ROOT)}
    article_server.write(folder, "async")
    made = []
    for name, options in [("article", PLAIN), *([("article, uvloop", [])] if fast else [])]:
        port = free_port()
        uvicorn = [sys.executable, "-m", "uvicorn", "main:app", "--port", str(port), *options]
        made.append(Server(name, uvicorn, port, key, str(folder)))
    port = free_port()
    serve = [sys.executable, "-m", "claude_lab", "serve", "--port", str(port)]
    # Readers of held streams leave; what they read must not count against the next thousand.
    made.append(Server("claude_lab", serve, port, {**key, "ORPHAN_GRACE": "0.5"}, str(folder)))
    if litellm:
        (folder / "litellm.yaml").write_text(LITELLM.format(upstream=url))
        port = free_port()
        program = str(Path(litellm).parent / "litellm")
        command = [program, "--config", "litellm.yaml", "--host", "127.0.0.1", "--port", str(port)]
        clean = {"PYTHONPATH": "", "NO_PROXY": "127.0.0.1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        clean["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "true"
        made.append(Server("LiteLLM proxy", command, port, clean, str(folder), "/health/liveliness", True))
    return made


def asked(server: Server, streams: int, text: str, **options: Any) -> Crowd:
    """Send a crowd; raises RuntimeError when not all of it came whole."""
    crowd = asyncio.run(drive(server.url, streams, server.ask(text), **{"health": None, **options}))
    if crowd.whole < streams:
        raise RuntimeError(f"{server.name}: only {crowd.whole} of {streams} streams of {text!r} came whole.")
    return crowd


def burst(server: Server) -> dict[str, float]:
    """CPU of relaying as fast as it goes, 8 streams at once; a cheap server gets more, so that its time shows."""
    count = 20_000 if server.name == "claude_lab" else 2_000
    before = server.cpu()
    asked(server, 8, f"burst {count}")
    return {"burst: CPU seconds per 100,000 events": (server.cpu() - before) / (8 * count) * 1e5}


def paced(server: Server) -> dict[str, float]:
    """CPU of 50 streams of 40 events a second."""
    before = server.cpu()
    asked(server, 50, "paced 160 0.025", apart=0.0005)
    return {"50 paced streams: CPU seconds per 100,000 events": (server.cpu() - before) / (50 * 160) * 1e5}


def ttft(server: Server) -> dict[str, float]:
    """Time to the first delta, one request after the other; the upstream sends at once."""
    waits = [asked(server, 1, "burst 3").ttft(0.5) for _ in range(60)]
    return {"first token, ms": statistics.median(waits) * 1e3}


def memory(server: Server) -> dict[str, float]:
    """Resident memory that 1,000 open streams add to a server that was just started."""
    server.stop()
    server.start()
    before, after = server.memory(), []
    seen = asyncio.run(
        drive(
            server.url,
            1_000,
            server.ask("held"),
            health=None,
            apart=0.002,
            patience=60,
            during=lambda: after.append(server.memory()),
            stay=False,
        )
    )
    if math.isinf(seen.ttft(1.0)):
        raise RuntimeError(f"{server.name}: not all of 1,000 streams were open at once.")
    return {"memory per open stream, KB": (after[0] - before) / 1_000 / 1e3}


def crowd(server: Server) -> dict[str, float]:
    """A thousand streams on one worker, opened within six seconds, each seven seconds long: all are open at once."""
    seen = asyncio.run(
        drive(
            server.url, 1_000, server.ask("paced 28 0.25"), apart=0.006, health=server.health, every=0.02, patience=30
        )
    )
    return {
        "1,000 paced streams: cut": 1_000 - seen.whole,
        "1,000 paced streams: first token p99, ms": seen.ttft(0.99) * 1e3,
        "1,000 paced streams: /health p50, ms": seen.health_at(0.5) * 1e3,
        "1,000 paced streams: /health p99, ms": seen.health_at(0.99) * 1e3,
    }


PARTS = {part.__name__: part for part in (burst, paced, ttft, memory, crowd)}


def main() -> None:
    """Run the parts, alternating the servers, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="one round instead of five")
    parser.add_argument("--fast", action="store_true", help="the article's server with uvloop and httptools, too")
    parser.add_argument("--litellm", metavar="PYTHON", help="interpreter of an environment with litellm[proxy]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the figures to a file")
    options = parser.parse_args()
    rounds = 1 if options.quick else 5
    with upstream() as url, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        made = servers(url, Path(folder), options.litellm, fast=options.fast)
        for server in made:
            running.callback(server.stop)
            server.start()
        for name in options.parts or PARTS:
            for _ in range(rounds):
                for server in made:
                    try:
                        found = PARTS[name](server)
                    except RuntimeError as error:  # such as a server that cannot hold a thousand streams
                        print(error)
                        continue
                    for what, value in found.items():
                        server.rows.setdefault(what, []).append(value)
        report(made)
    if options.json:
        known = json.loads(options.json.read_text()) if options.json.exists() else {}
        figures = {server.name: {**known.get(server.name, {}), **server.rows} for server in made}
        options.json.write_text(json.dumps({**known, **figures}, indent=1) + "\n")


def report(made: list[Server]) -> None:
    """Print a line a figure and server: median, least and most, and how much less it is than the article's."""
    for what, first in made[0].rows.items():
        print(what)
        base = statistics.median(first)
        for server in made:
            if not (values := server.rows.get(what)):
                print(f"    {server.name:<16} not measured")
                continue
            middle = statistics.median(values)
            ratio = f"{base / middle:7.1f}x" if middle and base else ""
            print(f"    {server.name:<16} {middle:10.2f}   ({min(values):.2f} to {max(values):.2f}) {ratio}")


if __name__ == "__main__":
    main()
