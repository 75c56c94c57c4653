"""Server processes that share one Redis before one fake, a client that goes from one to the other, and kill -9."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from redis_server import redis_server

from claude_lab import faults, sse
from claude_lab.fake import FakeClaude
from claude_lab.pacing import Pace
from claude_lab.replies import Voice
from claude_lab.scenario import Scenario

ANSWER = " ".join(f"Sentence {number} of a naïve answer, with a wave 🌊." for number in range(12))
SCENARIO = Scenario(voice=Voice(ANSWER, thinking=False), pace=Pace(0.0, 0.005, 0.0, 0.0))
FOREVER = 60.0
WITHIN = 30.0


class Worker:
    """One server process, by `claude-lab serve` or by uvicorn; `kill` is kill -9."""

    serve = ("claude_lab", "serve", "--port", "0")
    uvicorn = ("uvicorn", "--factory", "claude_lab.server:create_app", "--port", "0", "--no-use-colors")
    says = re.compile(r"(?:listening|Uvicorn running) on (\S+)")

    def __init__(self, *, command: Sequence[str] = serve, **environment: str) -> None:
        clean = {name: value for name, value in os.environ.items() if name not in ("TOKEN", "REDIS_URL")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=clean | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if command is self.uvicorn else subprocess.DEVNULL,
            text=True,
        )
        self._url = ""

    @property
    def url(self) -> str:
        """Where it listens; waits for the line that says so."""
        while not self._url:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError("The server stopped while starting.")
            if found := self.says.search(line):
                self._url = found[1]
        return self._url

    def kill(self) -> None:
        """Kill it as nobody could expect."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(WITHIN)

    def stop(self) -> None:
        """Stop it, if it still runs."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(WITHIN)
        if self.process.stdout is not None:
            self.process.stdout.close()


@dataclass(slots=True)
class Answer:
    """What a client has: frames by the ids it has seen, and the text they make."""

    name: str = ""
    text: str = ""
    kinds: list[str] = field(default_factory=list)
    ids: list[tuple[int, int]] = field(default_factory=list)
    final: dict[str, Any] = field(default_factory=dict)
    status: int = 0

    @property
    def last(self) -> str:
        """The last id."""
        return "{}-{}".format(*self.ids[-1])

    def take(self, frame: dict[str, Any]) -> None:
        """Do with a frame what a client does."""
        epoch, _, seq = frame["id"].partition("-")
        assert not self.ids or (int(epoch), int(seq)) > self.ids[-1]
        self.ids.append((int(epoch), int(seq)))
        self.kinds.append(frame["type"])
        if frame["type"] == "delta":
            self.text += frame["text"]
        elif frame["type"] == "reset":
            self.text = self.text[: frame["keep_chars"]]
        elif frame["type"] in ("done", "error"):
            self.final = frame

    def read(self, http: httpx.Client, method: str, url: str, **options: Any) -> Iterator[dict[str, Any]]:
        """Yield the frames of one response as they come; a connection that breaks ends it."""
        decoder = sse.Decoder()
        try:
            with http.stream(method, url, **options) as response:
                self.status = response.status_code
                self.name = response.headers.get("x-claude-lab-run", self.name)
                for chunk in response.iter_raw():
                    for event in decoder.feed(chunk):
                        frame = json.loads(event.data)
                        self.take(frame)
                        yield frame
        except httpx.TransportError:
            return

    def ask(self, http: httpx.Client, worker: Worker) -> Iterator[dict[str, Any]]:
        """Ask a worker."""
        yield from self.read(http, "POST", f"{worker.url}/chat/stream", json={"message": "Hello"})

    def resume(self, http: httpx.Client, worker: Worker) -> Iterator[dict[str, Any]]:
        """Read on at a worker, from behind the last id."""
        url = f"{worker.url}/chat/stream/{self.name}"
        yield from self.read(http, "GET", url, headers={"last-event-id": self.last} if self.ids else {})


class Cluster:
    """A fake, a Redis, and workers as they are asked for."""

    def __init__(self, stack: ExitStack, **settings: str) -> None:
        self.stack = stack
        self.fake = stack.enter_context(FakeClaude(SCENARIO))
        self.redis_url = stack.enter_context(redis_server())
        self.settings = settings
        self.http = stack.enter_context(httpx.Client(timeout=WITHIN, trust_env=False))

    def worker(self, *, command: Sequence[str] = Worker.serve, **settings: str) -> Worker:
        """Start a worker; `settings` are environment variables."""
        usual = {"ANTHROPIC_API_KEY": "lab", "ANTHROPIC_BASE_URL": self.fake.url, "REDIS_URL": self.redis_url}
        made = Worker(command=command, **usual | self.settings | settings)
        self.stack.callback(made.stop)
        return made

    def stall(self, *, after: int, seconds: float = FOREVER) -> None:
        """Begin anew: the first request's answer stops short after so many deltas, for so long; the next do not."""
        self.fake.put(replace(SCENARIO, faults=[faults.Stall(after=after, seconds=seconds)]))
        self.fake.journal.clear()

    def kill_and_resume(self, producing: Worker, other: Worker, *, after: int) -> tuple[Answer, float]:
        """Kill a worker after so many frames, read on at the other; the answer, and the seconds to its next frame."""
        self.stall(after=after + 3)
        answer, killed, taken = Answer(), 0.0, 0.0
        for number, _ in enumerate(answer.ask(self.http, producing), 1):
            if number == after:
                producing.kill()
                killed = time.monotonic()
        for frame in answer.resume(self.http, other):
            if not taken and frame["id"].startswith("2-"):
                taken = time.monotonic() - killed
        return answer, taken


@contextmanager
def cluster(**settings: str) -> Iterator[Cluster]:
    """Yield a cluster, and stop all of it."""
    with ExitStack() as stack:
        yield Cluster(stack, **settings)
