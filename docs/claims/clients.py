"""Step 5 of the article: what browsers and Python read. Needs node, chromium and the npm packages of tests/ui."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from claims import bench
from claims.bench import LISTINGS, TESTS, TEXT
from claude_lab import background
from claude_lab.lab import Lab
from claude_lab.scenario import Scenario


class Missing(LookupError):
    """An outside part of an experiment is not installed."""


def part(path: str | None, how: str) -> str:
    """Return an outside part's path. Raises Missing, with how to get it."""
    if path is None or not Path(path).exists():
        raise Missing(how)
    return path


NODE = "Node.js is missing; install nodejs."
CHROMIUM = "Chromium is missing; install chromium."
NPM = "The npm packages of tests/ui are missing; run npm ci --prefix tests/ui."
CUTS = """
async function listing(fetch, outputElement) {
%s
}
const bytes = new TextEncoder().encode(%s), expected = %s, seen = { right: 0, threw: 0, lost: 0, between: 0 };
const between = new Set(%s);
for (let cut = %d; cut < bytes.length; cut++) {
  const pieces = [bytes.slice(0, cut), bytes.slice(cut)].filter((piece) => piece.length);
  const body = new ReadableStream({ pull(to) { pieces.length ? to.enqueue(pieces.shift()) : to.close(); } });
  const element = { textContent: "" };
  try {
    await listing(async () => new Response(body), element);
    const right = element.textContent === expected;
    seen[right ? "right" : "lost"]++;
    seen.between += right && between.has(cut);
  } catch { seen.threw++; }
}
console.log(JSON.stringify(seen));
"""


@dataclass(frozen=True)
class Cuts:
    """The article's browser loop, for every place where one cut can fall."""

    cuts: int
    right: int
    threw: int
    lost: int
    places_between_events: int
    right_between_events: int


def browser_loop(first_cut: int = 1, words: tuple[str, ...] = ("Air ", "scatters ", "blue ", "light 🌤")) -> Cuts:
    """Run the article's JavaScript in Node on four events and a final one, cut once, at every possible place."""
    node = part(shutil.which("node"), NODE)
    frames = [{"type": "delta", "text": word} for word in words] + [{"type": "done"}]
    events = [f"data: {json.dumps(frame, ensure_ascii=False)}\n\n" for frame in frames]
    body, ends = "".join(events), list(itertools.accumulate(len(event.encode()) for event in events))[:-1]
    first = first_cut if first_cut > 0 else len(body.encode()) - 1
    told = json.dumps(body), json.dumps("".join(words)), json.dumps(ends)
    code = CUTS % ((LISTINGS / "ask.js").read_text("utf-8"), *told, first)
    ran = subprocess.run([node, "--input-type=module", "-"], input=code, capture_output=True, text=True, check=True)
    seen = json.loads(ran.stdout)
    right, threw, lost, between = (seen[name] for name in ("right", "threw", "lost", "between"))
    return Cuts(right + threw + lost, right, threw, lost, len(ends), between)


PAGE = """<!doctype html><script>
const seen = {};
const listen = (name, url, options) => new Promise((done) => {
  const source = new EventSource(url, options);
  source.onmessage = (event) => { seen[name] = JSON.parse(event.data).text; source.close(); done(); };
  source.onerror = () => { seen[name] ??= "error"; source.close(); done(); };
});
const fetching = async (name, url, options) => { seen[name] = await (await fetch(url, options)).text(); };
const again = () => new Promise((done) => {
  const source = new EventSource("/cut?events");
  let count = 0;
  source.onmessage = () => { if (++count == 2) { source.close(); done(); } };
});
Promise.all([listen("events", "/events?kind=text/event-stream"), listen("plain", "/events?kind=KIND"),
  again(), fetching("lines", "/cut?lines"), fetching("fetched", "/events?kind=KIND"),
  ASKER("post", "/events?kind=text/event-stream&post", { method: "POST" })]).then(() =>
  fetch("/seen", { method: "POST", body: JSON.stringify(seen) }));
</script>"""


@dataclass(frozen=True)
class Source:
    """What Chromium's EventSource made of three streams and of one that was cut, and `fetch` of two of them."""

    event_stream: str
    plain_text: str
    plain_by_fetch: str
    asked_with_post: str
    article_answers_get: int
    came_back_with: str
    fetches_after_a_cut: int


def event_source(
    article_method: str = "post", asker: str = "listen", kind: str = "text/plain", *, ids: bool = True
) -> Source:
    """Let Chromium's EventSource read a stream, the same as text/plain, one it shall POST for, and one that is cut."""
    chromium = part(shutil.which("chromium"), CHROMIUM)
    methods: dict[str, str] = {}
    seen: dict[str, str] = {}
    cut: dict[str, list[str]] = {"events": [], "lines": []}
    page = PAGE.replace("ASKER", asker).replace("KIND", kind).encode()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        query = scope["query_string"].decode()
        sort, body = "text/html", page
        if scope["path"] == "/events":
            methods["post" if query.endswith("post") else "get"] = scope["method"]
            sort, body = query.partition("kind=")[2].partition("&")[0], b'data: {"text": "read"}\n\n'
        if scope["path"] == "/cut":
            cut[query].append(dict(scope["headers"]).get(b"last-event-id", b"none").decode())
            sort, body = "text/event-stream", b"retry: 10\n" + b"id: 7\n" * ids + b'data: {"text": "cut"}\n\n'
        if scope["path"] == "/seen":
            seen.update(json.loads((await receive())["body"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", sort.encode())]})
        await send({"type": "http.response.body", "body": body})

    with background.serve(app) as served, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        browser = subprocess.Popen([chromium, *flags, served.url], start_new_session=True, **quiet)
        try:
            asyncio.run(bench.until(lambda: bool(seen)))
        finally:
            browser.terminate()
            browser.wait(10)
            with contextlib.suppress(ProcessLookupError):  # its helpers may outlive it, and write to the profile
                os.killpg(browser.pid, signal.SIGKILL)
    change = (('@app.post("/chat/stream")', f'@app.{article_method}("/chat/stream")'),)
    with bench.article("async", changes=change) as article:
        status = httpx.get(f"{article.url}/chat/stream", trust_env=False).status_code
    fetched = "read" if '"read"' in seen["fetched"] else "error"
    asked = methods["post"], status
    return Source(seen["events"], seen["plain"], fetched, *asked, cut["events"][1], len(cut["lines"]))


CHAT = """
import { Chat } from "chat-v6";
import { DefaultChatTransport } from "ai-v6";
for (const api of %s) {
  const chat = new Chat({ transport: new DefaultChatTransport({ api }) });
  await chat.sendMessage({ text: "Hello!" });
  const text = chat.messages.at(-1).parts.filter((part) => part.type === "text").map((part) => part.text).join("");
  console.log(chat.error ? "`" + chat.error.name + "`" : text === %s ? "the whole text" : "another text");
}
"""


@dataclass(frozen=True)
class Hook:
    """What the real useChat made of the article's frames, and of the lab's."""

    article: str
    ours: str


def use_chat(path: str = "") -> Hook:
    """Point the Chat behind `useChat`, of the npm package `ai` 6, at the article's endpoint and at the lab's."""
    node = part(shutil.which("node"), NODE)
    part(str(TESTS / "ui/node_modules/ai-v6"), NPM)
    change = (("    message: str\n", '    message: str = "Hello!"\n'),)
    with bench.article("async", changes=change) as served, Lab(Scenario(answer=TEXT, pace="instant")) as lab:
        urls = [f"{lab.url}{path}" if path else f"{served.url}/chat/stream", f"{lab.url}/chat/ui"]
        told = subprocess.run(
            [node, "--input-type=module", "-"], input=CHAT % (json.dumps(urls), json.dumps(TEXT)),
            capture_output=True, text=True, check=True, timeout=60, cwd=TESTS / "ui",
        )  # fmt: skip
    return Hook(*told.stdout.splitlines())
