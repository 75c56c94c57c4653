"""Step 2 of the article: server-sent events, and the two clients of the SDK."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from claims import bench
from claims.bench import ASK, BRISK, HELD, PATIENCE, TEXT
from claude_lab import clock, faults, sse
from claude_lab.fake import FakeClaude
from claude_lab.scenario import Scenario


@dataclass(frozen=True)
class Pieces:
    """What came of one streamed answer."""

    pieces: int
    first_while_written: bool
    content_type: str


def pieces(response: str = "StreamingResponse") -> Pieces:
    """Stream from the article's server, once to the end and once to see whether text comes before an end."""
    whole = ("    return StreamingResponse(\n        stream_claude(request),",
             "    text = ''.join([part async for part in stream_claude(request)])\n    return StreamingResponse(\n"
             "        iter([text]),")  # fmt: skip
    changes = (whole,) if response == "collected" else ()
    with bench.article("async", Scenario([faults.ok, HELD], answer=TEXT, pace=BRISK), changes=changes) as served:
        answer = httpx.post(**served.ask(), trust_env=False)
        frames = [json.loads(event.data) for event in sse.Decoder().feed(answer.content)]
        open_then = comes_while_written(served)
    count = sum(frame["type"] == "delta" for frame in frames)
    return Pieces(count, open_then, answer.headers["content-type"].partition(";")[0])


def comes_while_written(served: bench.Bench) -> bool:
    """Ask for an answer that is held, and return whether anything of it comes."""
    ask = served.ask() | {"timeout": PATIENCE}
    try:
        with httpx.stream("POST", **ask, trust_env=False) as answer:
            next(answer.iter_bytes())
            return served.fake.requests[-1].ended == "open"
    except httpx.ReadTimeout:
        return False


@dataclass(frozen=True)
class Shown:
    """The frames as they really come."""

    status: int
    first_frame: str
    keys: tuple[str, ...]
    as_printed: str


def with_curl(mended: bool = False) -> Shown:
    """Ask the listing as it stands, then once more with a model that exists."""
    order = (("{'text': text, 'type': 'delta'}", "{'type': 'delta', 'text': text}"),) if mended else ()
    with bench.article("sync", changes=((bench.NAMED, bench.MODEL if mended else bench.NAMED), *order)) as served:
        answer = httpx.post(**served.ask(), trust_env=False)
        as_printed = json.loads(sse.Decoder().feed(answer.content)[0].data)
    with bench.article("sync", changes=order) as served:
        data = sse.Decoder().feed(httpx.post(**served.ask(), trust_env=False).content)[0].data
    told = as_printed["type"] + (f" ({as_printed['error']})" if as_printed["type"] == "error" else "")
    return Shown(answer.status_code, f"`{data}`", tuple(json.loads(data)), told)


LEGAL = {
    "CR LF": b'data: {"text":"hi"}\r\n\r\n',
    "CR": b'data: {"text":"hi"}\r\r',
    "no space": b'data:{"text":"hi"}\n\n',
    "a comment first": b': hello\ndata: {"text":"hi"}\n\n',
    "an event line first": b'event: delta\ndata: {"text":"hi"}\n\n',
    "an id line first": b'id: 1\ndata: {"text":"hi"}\n\n',
    "two data lines": b'data: {"text":\ndata: "hi"}\n\n',
    "a byte order mark": b'\xef\xbb\xbfdata: {"text":"hi"}\n\n',
    "as in the article": b'data: {"text":"hi"}\n\n',
}
"""Legal ways to write one event, by the HTML standard, section 9.2.6."""


@dataclass(frozen=True)
class Legal:
    """Who reads the legal forms."""

    forms: int
    by_the_rule: int
    by_the_standard: int
    missed: tuple[str, ...]
    written_read: bool


def legal_forms(forms: tuple[str, ...] = tuple(LEGAL)) -> Legal:
    """Read two events in every legal form by the article's rule, and by the standard; then what the rule writes."""
    ruled, standard = [], []
    for form in forms:
        data = LEGAL[form] + LEGAL[form].removeprefix(b"\xef\xbb\xbf")
        blocks = [block for block in data.decode().split("\n\n") if block.startswith("data:")]
        try:
            ruled.append([json.loads(block[6:]) for block in blocks] == [{"text": "hi"}] * 2)
        except ValueError:
            ruled.append(False)
        standard.append([json.loads(event.data) for event in sse.Decoder().feed(data)] == [{"text": "hi"}] * 2)
    own = "data: " + json.dumps({"text": TEXT + "\n\n"}) + "\n\n"
    written = [json.loads(event.data)["text"] for event in sse.Decoder().feed(own.encode())] == [TEXT + "\n\n"]
    missed = tuple(form for form, right in zip(forms, ruled, strict=True) if not right)
    return Legal(len(forms), sum(ruled), sum(standard), missed, written)


@dataclass(frozen=True)
class Kinds:
    """Which kind of context manager `stream()` returns."""

    sync_enters: bool
    sync_aenters: bool
    async_aenters: bool


def managers(client: str = "sync") -> Kinds:
    """Look at what `messages.stream()` of each client returns."""
    kinds = (bench.KINDS[client], bench.KINDS["async"])
    made = [bench.discard(kind(api_key="lab").messages.stream(**ASK)) for kind in kinds]
    return Kinds(hasattr(made[0], "__enter__"), hasattr(made[0], "__aenter__"), hasattr(made[1], "__aenter__"))


@dataclass(frozen=True)
class Readers:
    """Several readers of one process: streams open upstream at once, and whether /health answered during a stream.

    `sync_alone` says whether a single reader of the sync client gets the text as it is written.
    """

    asked: int
    sync_at_once: int
    async_at_once: int
    sync_health: bool
    async_health: bool
    sync_alone: bool


async def one_reader(served: bench.Bench) -> tuple[bool, bool]:
    """Read a held stream and ask /health meanwhile; return whether the upstream still wrote when each came."""

    def writing() -> bool:
        return served.fake.requests[-1].ended == "open"

    async with httpx.AsyncClient(trust_env=False) as http, http.stream("POST", **served.ask()) as answer:
        pieces = answer.aiter_bytes()
        await anext(pieces)
        in_pieces = writing()
        try:
            await http.get(f"{served.url}/health", timeout=PATIENCE)
        except httpx.ReadTimeout:
            return in_pieces, False
        return in_pieces, writing()


def readers(count: int = 3, sync: str = "sync", other: str = "async") -> Readers:
    """Let several read at once from one process with each client, and ask /health during a stream."""

    def found(client: str) -> tuple[int, bool, bool]:
        script = [faults.ok] * count + [HELD]
        with bench.article(client, Scenario(script, answer=TEXT, pace=BRISK)) as served:
            asyncio.run(bench.stream_all(served, count))
            return bench.at_once(served.fake.requests), *asyncio.run(one_reader(served))

    with ThreadPoolExecutor() as together:
        (blocked, alone, deaf), (free, _, healthy) = together.map(found, (sync, other))
    return Readers(count, blocked, free, deaf, healthy, alone)


@dataclass(frozen=True)
class Waited:
    """How long until there is something to read, in hundredths of the time the answer takes."""

    whole_percent: int
    streamed_percent: int


def first_word(words: int = 300) -> Waited:
    """Ask for a long answer whole and streamed, on virtual time, and note when there is something to read."""
    text = " ".join(["word"] * words)
    fake = FakeClaude(Scenario(answer=text, pace="steady"))
    ask = {**ASK, "max_tokens": 4 * words, "thinking": {"type": "disabled"}}

    async def main() -> tuple[float, float, float]:
        async with bench.sdk_of(fake) as sdk:
            began = clock.now()
            await sdk.messages.create(**ask)
            whole, began = clock.now() - began, clock.now()
            async with sdk.messages.stream(**ask) as stream:
                async for _ in stream.text_stream:
                    first = clock.now() - began
                    break
                await stream.get_final_message()
            return whole, first, clock.now() - began

    whole, first, took = clock.run_virtual(main())
    return Waited(round(100 * whole / took), round(100 * first / took))
