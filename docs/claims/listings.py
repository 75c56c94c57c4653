"""What the article's listings claim without a sentence: their constants, their frames, the clients they spell out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from claims import bench
from claims.bench import LISTINGS, TEXT
from claude_lab import background, faults, sse
from claude_lab.fake import FakeClaude
from claude_lab.lab import Lab
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario


@dataclass(frozen=True)
class Named:
    """What the API says to the model that the listing names."""

    status: int
    error: str


def model(name: str = bench.NAMED) -> Named:
    """Ask the fake, which knows the API's list of models, for the one that the listing names."""
    with FakeClaude(Scenario(answer=TEXT, pace="instant")) as fake:
        headers = {"x-api-key": "lab", "anthropic-version": "2023-06-01"}
        body = {**bench.ASK, "model": name}
        answer = httpx.post(f"{fake.url}/v1/messages", json=body, headers=headers, trust_env=False)
    return Named(answer.status_code, answer.json().get("error", {}).get("type", "none"))


@dataclass(frozen=True)
class Told:
    """What a reader hears of a rate limit."""

    article_status: int
    article_seconds: float
    server_seconds: float
    ours_status: int
    ours_seconds: float


def rate_limit_told(seconds: float = 7.0) -> Told:
    """Let the upstream refuse with `retry-after: 7`, and read what the article's server and the lab's make of it."""
    script = [faults.RateLimited(retry_after=seconds)]
    with bench.article("async", Scenario(script, pace="instant")) as served:
        answer = httpx.post(**served.ask(), trust_env=False)
    frame = json.loads(sse.Decoder().feed(answer.content)[-1].data)
    with Lab(Scenario(script, pace="instant"), policy=RetryPolicy(max_retries=0)) as lab:
        ours = httpx.post(f"{lab.url}/chat/stream", json={"message": "?"}, trust_env=False)
    told = float(ours.headers.get("retry-after", 0))
    return Told(answer.status_code, frame.get("retry_after", 0.0), seconds, ours.status_code, told)


@dataclass(frozen=True)
class Counted:
    """What the constant counts."""

    constant: int
    requests: int
    retries: int


def max_retries(constant: int = 3, spare: int = 0) -> Counted:
    """Refuse every request of the article's loop, on a client without retries of its own, and count them."""
    script = [faults.RateLimited()] * 20
    seen = bench.call(Scenario(script, pace="instant"), bench.articles_loop(attempts=constant + spare))
    return Counted(constant, seen.requests, seen.requests - 1)


@dataclass(frozen=True)
class Separated:
    """The article's httpx loop on an answer that holds a line separator."""

    escaped: str
    raw: str


def python_loop(separator: str = "\u2028") -> Separated:
    """Run the article's httpx loop on a text with U+2028 in it: escaped, as the listing's server sends it, and raw."""
    word = f"blue{separator}sky"
    frames: dict[str, Callable[[Any], str]] = {
        "/escaped": json.dumps,
        "/raw": lambda frame: json.dumps(frame, ensure_ascii=False),
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        data = frames[scope["path"]]({"type": "delta", "text": word})
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode()})

    with background.serve(app) as served:
        return Separated(*(printed(served.url + path, word) for path in frames))


def printed(url: str, word: str) -> str:
    """Run the article's Python client on an address; return what became of the text."""
    source = (LISTINGS / "ask.py").read_text("utf-8").replace("http://localhost:8000/chat/stream", url)
    names: dict[str, Any] = {"__name__": "ask"}
    exec(compile(source, "ask.py", "exec"), names)
    shown: list[str] = []
    names["print"] = lambda text, **options: shown.append(text)
    try:
        asyncio.run(names["stream_chat"]("?"))
    except ValueError as error:
        return f"`{type(error).__name__}`"
    return "right" if "".join(shown) == word else "another text"
