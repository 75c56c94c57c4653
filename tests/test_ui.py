"""`POST /chat/ui` read by the real `useChat` of the npm package `ai`, versions 6 and 7, over real sockets."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import need
from test_server import ANSWER, INSTANT, PREFIX, Bench, bench

from claude_lab.pacing import Pace
from claude_lab.proxy import Cut, Proxy, Route, Rule
from claude_lab.replies import Voice
from claude_lab.scenario import Scenario

HERE = Path(__file__).parent / "ui"
STEADY = Pace(0.0, 0.01, 0.0, 0.0)
LONG = ANSWER * 6
SLOW = Scenario(voice=Voice(LONG, thinking=False), pace=STEADY)
WEATHER = {"name": "weather", "description": "Tells it.", "input_schema": {"type": "object", "properties": {}}}
CUT = "The network cut the answer before its end."


class Driver:
    """A Node.js process with the real `useChat` of one version, which plays one scenario at a time."""

    def __init__(self, node: str, version: int, url: str) -> None:
        self.version = version
        command = [node, str(HERE / "use_chat.mjs"), str(version), f"{url}/chat/ui.js"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, "NODE_ENV": "production"}
        )
        self.count = 0

    def play(self, api: str, play: str = "ask", **job: Any) -> dict[str, Any]:
        """Play a scenario in a chat of its own and return what the page showed and heard."""
        assert self.process.stdin
        assert self.process.stdout
        self.count += 1
        chat = f"chat {self.version}/{self.count}"
        line = {"api": api, "chat": chat, "play": play, "texts": ["Hello"], **job}
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], 20)[0], "the page said nothing for 20 seconds"
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert "failed" not in told, told["failed"]
        return told

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    """One bench for the module."""
    with bench() as made:
        yield made


@pytest.fixture(scope="module")
def proxy(shared: Bench) -> Iterator[Proxy]:
    """A hop between the page and the server, which breaks as it is told."""
    with Proxy(shared.served.url) as made:
        yield made


@pytest.fixture(scope="module", params=[6, 7])
def page(request: pytest.FixtureRequest, shared: Bench) -> Iterator[Driver]:
    """The two versions: 6 on the Node.js that is installed, 7 on the one from npm."""
    node22 = need(str(HERE / "node_modules" / "node" / "bin" / "node"))
    driver = Driver(need("node") if request.param == 6 else node22, request.param, shared.served.url + PREFIX)
    yield driver
    driver.close()


def api(shared: Bench) -> str:
    """Where the page asks."""
    return f"{shared.served.url}{PREFIX}/chat/ui"


def broken(proxy: Proxy, how: str, after_bytes: int, **rule: Any) -> str:
    """Let the hop break every answer after so many bytes; return where the page asks."""
    upstream = proxy.routes[""].upstream
    proxy.routes[""] = Route(upstream, Rule(**rule), Cut(after_bytes, how))  # type: ignore[arg-type]  # a test's words
    return f"{proxy.url}{PREFIX}/chat/ui"


def kinds(told: dict[str, Any]) -> list[str]:
    """The types of the last message's parts."""
    return [part["type"] for part in told["messages"][-1]["parts"]]


def whole(told: dict[str, Any], text: str = ANSWER) -> bool:
    """Whether a page shows this whole answer and says it is done, in all the ways it has."""
    last = told["messages"][-1]
    (finish,) = told["finishes"][-1:]
    return (
        (told["status"], told["error"], told["texts"][-1], last["metadata"]["complete"])
        == ("ready", None, text, True)
        and not (finish["isAbort"] or finish["isError"] or finish["isDisconnect"])
        and finish["finishReason"] is not None
    )  # fmt: skip


def test_a_text_arrives_whole(shared: Bench, page: Driver) -> None:
    """The answer is on screen, ready, with the run, the usage and the reason of its end as metadata."""
    shared.follow(INSTANT)

    told = page.play(api(shared))

    metadata = told["messages"][-1]["metadata"]
    assert whole(told)
    assert kinds(told) == ["step-start", "text"]
    assert told["messages"][-1]["id"] == metadata["run"]
    assert (told["finishes"][0]["finishReason"], metadata["stop_reason"]) == ("stop", "end_turn")
    assert metadata["usage"]["output_tokens"] > 0
