"""Servers and their runs: validation, documentation, workers, disconnects, restarts, resuming, the prompt cache."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import fastapi
import httpx

from claims import bench
from claims.bench import ASK, BRISK, LISTINGS, TEXT
from claude_lab import faults, sse
from claude_lab.fake import FakeClaude
from claude_lab.lab import Lab
from claude_lab.pacing import Pace
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario

INSTALLED = ("fastapi", "uvicorn", "anthropic", "httpx")


@dataclass(frozen=True)
class Installed:
    """The versions of here, and what the listing does on them."""

    newer: bool
    frames: str


def on_these_versions(model: str = bench.NAMED) -> Installed:
    """Run the listing, word for word, on the versions that are installed."""
    with bench.article("sync", changes=((bench.NAMED, model),)) as served:
        frames = [
            json.loads(event.data) for event in sse.Decoder().feed(httpx.post(**served.ask(), trust_env=False).content)
        ]
    last = frames[-1]
    newer = numbers(anthropic.__version__) > (0, 97) and numbers(fastapi.__version__) > (0, 136)
    return Installed(newer, last.get("error") or last["type"])


def numbers(version: str) -> tuple[int, ...]:
    """Return a version's first two numbers."""
    return tuple(int(part) for part in version.split(".")[:2])


@dataclass(frozen=True)
class Python:
    """What the packages ask for."""

    oldest: str
    packages: int


def oldest_python(packages: tuple[str, ...] = (*INSTALLED, "httpx2")) -> Python:
    """Read the oldest Python that the four packages and the SDK's transport accept from their metadata."""
    asked = [importlib.metadata.metadata(name)["Requires-Python"] for name in packages]
    minors = [int(re.search(r">=\s*3\.(\d+)", each)[1]) for each in asked]  # type: ignore[index]  # all have one
    return Python(f"3.{max(minors)}", len(packages))


@dataclass(frozen=True)
class Keyless:
    """What happens without a key."""

    error: str
    lab_answered: bool


def without_a_key(key: str | None = None) -> Keyless:
    """Make the SDK's client without a key and ask once; ask a lab the same."""
    kept = {name: os.environ.pop(name) for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN") if name in os.environ}
    try:
        with FakeClaude(Scenario(answer=TEXT, pace="instant")) as fake, Lab(Scenario(pace="instant")) as lab:
            with anthropic.Anthropic(base_url=fake.url, api_key=key, max_retries=0) as sdk:
                try:
                    sdk.messages.create(**ASK)
                    error = "none"
                except Exception as problem:
                    error = type(problem).__name__
            return Keyless(error, lab.stream("?", view="off").error is None)
    finally:
        os.environ.update(kept)


@dataclass(frozen=True)
class Imports:
    """What the listings import, and who brings it."""

    third_party: tuple[str, ...]
    missing: tuple[str, ...]


def listings_imports(packages: tuple[str, ...] = INSTALLED) -> Imports:
    """Collect the imports of the article's Python listings and look for them in what the packages bring."""
    found: set[str] = set()
    for path in LISTINGS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    own = {"os", "json", "asyncio", "typing", "time"}
    brought = set(packages) | {
        re.split(r"[^\w-]", need)[0] for name in packages for need in importlib.metadata.requires(name) or ()
    }
    wanted = tuple(sorted(found - own))
    return Imports(wanted, tuple(name for name in wanted if name not in brought))


@dataclass(frozen=True)
class Validated:
    """How the article's schema takes odd bodies."""

    without_message: int
    wrong_type: int
    below_zero: int
    empty_message: int
    documented: tuple[str, ...]


def validation(ranges: bool = False) -> Validated:
    """Post odd bodies to the article's endpoint, and read its OpenAPI document."""
    field = '__import__("pydantic").Field'
    text, number = f"message: str = {field}(min_length=1)\n", f"max_tokens: int = {field}(1024, ge=1)"
    changes = (("message: str\n", text), ("max_tokens: int = 1024", number)) if ranges else ()
    with bench.article("async", changes=changes) as served:
        url = f"{served.url}/chat/stream"
        bodies: tuple[dict[str, Any], ...] = (
            {},
            {"message": "hi", "max_tokens": "many"},
            {"message": "hi", "max_tokens": -5},
            {"message": ""},
        )
        statuses = [httpx.post(url, json=body, trust_env=False).status_code for body in bodies]
        schemas = httpx.get(f"{served.url}/openapi.json", trust_env=False).json()["components"]["schemas"]
    missing, mistyped, below, empty = statuses
    return Validated(missing, mistyped, below, empty, tuple(schemas["ChatRequest"]["properties"]))


@dataclass(frozen=True)
class Docs:
    """The documentation's page."""

    status: int
    swagger: bool
    outside: tuple[str, ...]


def swagger(server: str = "article") -> Docs:
    """Open /docs on the article's server, and note where the page loads its scripts from."""
    with contextlib.ExitStack() as stack:
        made: Any = stack.enter_context(bench.article("async") if server == "article" else Lab())
        page = httpx.get(f"{made.url}/docs", trust_env=False)
    hosts = set(re.findall(r'(?:src|href)="https?://([^/"]+)', page.text))
    return Docs(page.status_code, "swagger-ui" in page.text, tuple(sorted(hosts)))


@dataclass(frozen=True)
class Workers:
    """Streams that one process held open at once."""

    asked: int
    sync_one_worker: int
    async_one_worker: int
    four_workers: int
    worker_class: str


def streams_of_one_worker(count: int = 40, client: str = "async") -> Workers:
    """Open 40 streams at once on one process with the async client, and five with the sync one."""
    found = []
    for kind, asked in (("sync", 5), (client, count)):
        with bench.article(kind, Scenario(answer=TEXT, pace=Pace(0.1 if kind == "sync" else 1.5, 0.0))) as served:
            asyncio.run(bench.stream_all(served, asked))
            found.append(bench.at_once(served.fake.requests))
    place = importlib.util.find_spec("uvicorn")
    source = Path(place.submodule_search_locations[0], "workers.py")  # type: ignore[union-attr,index]  # a package
    told = "deprecated" if source.exists() and "is deprecated" in source.read_text("utf-8") else "current"
    return Workers(count, found[0], found[1], 4 * found[0], told)


@dataclass(frozen=True)
class Left:
    """What the listing's generator sees when its reader leaves."""

    raised: str
    upstream: str


def reader_leaves(leave: bool = True) -> Left:
    """Leave after the first frame, and see what is raised in the listing's generator, and how the upstream ends."""
    place = "    except anthropic.RateLimitError:\n"
    spy = "    except asyncio.CancelledError as e:\n        raised.append(type(e).__name__)\n        raise\n"
    with bench.article("async", Scenario(answer=TEXT, pace=BRISK), changes=((place, spy + place),)) as served:
        raised: list[str] = []
        served.names["raised"] = raised
        with httpx.stream("POST", **served.ask(), trust_env=False) as answer:
            chunks = answer.iter_bytes()
            next(chunks)
            if not leave:
                for _ in chunks:
                    pass
        asyncio.run(bench.until(lambda: served.fake.requests[0].ended != "open"))
        return Left(raised[0] if raised else "nothing", served.fake.requests[0].ended)


@dataclass(frozen=True)
class Restarted:
    """What a reader gets who is served from the beginning again."""

    twice_percent: int
    with_reset: bool


def restart_after_a_cut(after: int = 6) -> Restarted:
    """Cut a stream in the middle, ask from scratch as a simple loop would, and forward everything to one reader."""
    text = ""
    with FakeClaude(Scenario([faults.Truncate(after=after)] if after else (), answer=TEXT, pace="instant")) as fake:
        with anthropic.Anthropic(base_url=fake.url, api_key="lab", max_retries=0) as sdk:
            for _ in range(2):
                with sdk.messages.stream(**ASK) as stream:
                    text += "".join(stream.text_stream)
                    if stream.get_final_message().stop_reason is not None:
                        break
    extra = len(text) - len(TEXT)
    return Restarted(round(100 * extra / len(TEXT)), text.endswith(TEXT) and extra > 0)


@dataclass(frozen=True)
class Resumed:
    """What a reader gets who comes back with its last event id."""

    exact: bool
    upstream_requests: int
    sdk_asks_with_id: bool
    upstream_cut: str


def resume(after: int = 5, *, cut_upstream: bool = True) -> Resumed:
    """Leave the lab's server in mid-answer and come back with Last-Event-ID; then cut the upstream itself."""
    with Lab(Scenario(answer=TEXT, pace="fast")) as lab:
        lab.relay.settings.orphan_grace = 5.0
        with httpx.stream("POST", f"{lab.url}/chat/stream", json={"message": "?"}, trust_env=False) as answer:
            frames = frames_of(answer, after)
        last = frames[-1]["id"]
        url = f"{lab.url}/chat/stream/{frames[0]['run']}"
        with httpx.stream("GET", url, headers={"last-event-id": last}, trust_env=False) as answer:
            frames += frames_of(answer)
        requests = lab.fake.journal.total if lab.fake else 0
        sent = lab.fake.journal[0].headers if lab.fake else {}
    plan = [faults.Truncate(after=6)] if cut_upstream else ()
    with Lab(Scenario(plan, answer=TEXT, pace="instant"), policy=RetryPolicy(max_retries=0)) as cut:
        error = cut.stream("?", view="off").error
    text = "".join(frame["text"] for frame in frames if frame["type"] == "delta")
    return Resumed(text == TEXT, requests, "last-event-id" in sent, error["error"] if error else "none")


def frames_of(answer: httpx.Response, count: int = 10**6) -> list[Any]:
    """Read so many frames of an answer."""
    decoder, frames = sse.Decoder(), []
    for chunk in answer.iter_bytes():
        for event in decoder.feed(chunk):
            if event.data:
                frames.append(json.loads(event.data))
            if len(frames) >= count:
                return frames
    return frames
