from __future__ import annotations

import json
import subprocess
import warnings
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import need
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_lab import background, sockets
from claude_lab.relay import Relay, cut

SCRIPT = Path(__file__).parents[1] / "claude_lab" / "static" / "browser.js"
FRAMES = b"".join(
    b"data: " + json.dumps(frame, ensure_ascii=False).encode() + b"\n\n"
    for frame in [{"type": "delta", "text": text} for text in ("Héllo 🙂 ", "wörld, ", "again")] + [{"type": "done"}]
)
NODE = """
import { Pane, PerChunk, PerEvent } from "%s";
const chunks = JSON.parse(process.argv[1]);
const panes = [new Pane(PerChunk), new Pane(PerEvent)];
for (const chunk of chunks) for (const pane of panes) pane.feed(Uint8Array.from(chunk));
console.log(JSON.stringify(panes.map(({ text, error, ended }) => ({ text, error, ended }))));
"""
READ = NODE % f"data:text/javascript;base64,{b64encode(SCRIPT.read_bytes()).decode()}"


def panes(chunks: list[bytes]) -> Any:
    """Let Node's JavaScript read the chunks with both readers."""
    command = [need("node"), "--input-type=module", "-e", READ, json.dumps([list(chunk) for chunk in chunks])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    return json.loads(done.stdout)


async def stream(scope: Any, receive: Any, send: Any) -> None:
    """An upstream that answers with `FRAMES`."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await send({"type": "http.response.body", "body": FRAMES})


@pytest.fixture
def upstream() -> Iterator[str]:
    """The upstream's URL."""
    with background.serve(stream) as served:
        yield served.url


def test_whole_events_read_the_same_both_ways() -> None:
    """Where chunks end with events the two readers agree."""
    left, right = panes([part + b"\n\n" for part in FRAMES.split(b"\n\n")[:-1]])

    assert left == right == {"text": "Héllo 🙂 wörld, again", "error": "", "ended": True}


def test_chunks_that_end_anywhere_break_the_one_and_not_the_other() -> None:
    """Cut into pieces of 17 bytes, the first reader fails or loses text; the second has all of it."""
    left, right = panes(list(cut(FRAMES, 17)))

    assert left["text"] != right["text"]
    assert left["error"].startswith("SyntaxError")
    assert right == {"text": "Héllo 🙂 wörld, again", "error": "", "ended": True}


@given(st.binary(max_size=80), st.one_of(st.none(), st.integers(1, 90)))
@settings(max_examples=50)
def test_cutting_loses_nothing(chunk: bytes, size: int | None) -> None:
    """The pieces are the chunk, each at most as long as asked."""
    pieces = list(cut(chunk, size))

    assert b"".join(pieces) == chunk
    assert all(len(piece) <= (size or 80) for piece in pieces)


def test_the_relay_passes_the_bytes_to_any_page(upstream: str) -> None:
    """The answer carries the headers that let another origin read it, and all of its bytes."""
    with Relay(upstream, cut_bytes=64) as relay:
        answer = httpx.post(relay.url, json={"message": "hi"}, headers={"origin": "http://notebook.example"})

    assert answer.content == FRAMES
    assert answer.headers["access-control-allow-origin"] == "*"


def test_the_relay_answers_only_at_its_path(upstream: str) -> None:
    """Without the secret there is nothing; a preflight is allowed, a GET is not."""
    with Relay(upstream) as relay:
        base = relay.url.rsplit("/", 1)[0]
        answers = [httpx.post(f"{base}/guess"), httpx.options(relay.url), httpx.get(relay.url)]

    assert [answer.status_code for answer in answers] == [403, 204, 405]


def test_a_target_that_is_down_is_a_bad_gateway(free_port: int) -> None:
    """Nobody listens there: the page is told so."""
    with Relay(f"http://127.0.0.1:{free_port}") as relay:
        assert httpx.post(relay.url, json={}).status_code == 502


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with sockets.listen() as sock:
        return int(sock.getsockname()[1])


def test_a_cut_of_nothing_is_refused(upstream: str) -> None:
    """The error says what to give."""
    with pytest.raises(ValueError, match="cut_bytes=0 cuts nothing off"):
        Relay(upstream, cut_bytes=0)


def test_the_widget_stops_its_relay(upstream: str) -> None:
    """Closing the widget closes the port behind it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from claude_lab.browser import BrowserClient
    client = BrowserClient(upstream)
    url = client.relay_url

    client.close()

    with pytest.raises(httpx.ConnectError):
        httpx.post(url)
