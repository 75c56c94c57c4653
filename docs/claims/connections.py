"""Connections that last: how many one process holds, readers who leave, restarts after a cut, and resuming."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import httpx

from claims import bench
from claims.bench import ASK, BRISK, HELD, TEXT
from claude_lab import faults, sse
from claude_lab.fake import FakeClaude
from claude_lab.lab import Lab
from claude_lab.pacing import Pace
from claude_lab.recovery import Strategy
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario


@dataclass(frozen=True)
class Workers:
    """Streams that one process held open at once."""

    asked: int
    sync_one_worker: int
    async_one_worker: int
    worker_class: str


def streams_of_one_worker(count: int = 40, client: str = "async") -> Workers:
    """Open 40 streams at once on one process with the async client, and five with the sync one."""

    def held(kind: str, asked: int) -> int:
        with bench.article(kind, Scenario(answer=TEXT, pace=Pace(0.1 if kind == "sync" else 1.5, 0.0))) as served:
            asyncio.run(bench.stream_all(served, asked))
            return bench.at_once(served.fake.requests)

    with ThreadPoolExecutor() as together:
        found = together.map(held, ("sync", client), (5, count))
    place = importlib.util.find_spec("uvicorn")
    source = Path(place.submodule_search_locations[0], "workers.py")  # type: ignore[union-attr,index]  # a package
    told = "deprecated" if source.exists() and "is deprecated" in source.read_text("utf-8") else "current"
    return Workers(count, *found, told)


@dataclass(frozen=True)
class Left:
    """What the listing's generator sees when its reader leaves."""

    raised: str
    upstream: str


def reader_leaves(leave: bool = True) -> Left:
    """Leave after the first frame, and see what is raised in the listing's generator, and how the upstream ends."""
    place = "    except anthropic.RateLimitError:\n"
    spy = "    except asyncio.CancelledError as e:\n        raised.append(type(e).__name__)\n        raise\n"
    scenario = Scenario([HELD] if leave else [], answer=TEXT, pace=BRISK)
    with bench.article("async", scenario, changes=((place, spy + place),)) as served:
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
    """What a reader gets who is served from the beginning again, and one who is told to drop what it has."""

    twice_percent: int
    resets: int
    whole_with_reset: bool


def restart_after_a_cut(after: int = 6, recovery: Strategy = "restart") -> Restarted:
    """Cut a stream in the middle, ask from scratch as a simple loop would, and forward all; then let the lab do so."""
    text, cut = "", [faults.Truncate(after=after)] if after else []
    with FakeClaude(Scenario(cut, answer=TEXT, pace="instant")) as fake:
        with anthropic.Anthropic(base_url=fake.url, api_key="lab", max_retries=0) as sdk:
            for _ in range(2):
                with sdk.messages.stream(**ASK) as stream:
                    text += "".join(stream.text_stream)
                    if stream.get_final_message().stop_reason is not None:
                        break
    with Lab(Scenario(cut, answer=TEXT, pace="fast"), policy=RetryPolicy(base_delay=0.01), recovery=recovery) as lab:
        with httpx.stream("POST", f"{lab.url}/chat/stream", json={"message": "?"}, trust_env=False) as answer:
            frames = frames_of(answer)
    kept = ""
    for frame in frames:
        kept = kept[: frame["keep_chars"]] if frame["type"] == "reset" else kept
        kept += frame["text"] if frame["type"] == "delta" else ""
    resets = sum(frame["type"] == "reset" for frame in frames)
    return Restarted(round(100 * (len(text) - len(TEXT)) / len(TEXT)), resets, kept == TEXT)


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
