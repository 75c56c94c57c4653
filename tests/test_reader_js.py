"""The JavaScript reader under Node: the same vectors as the Python one, cut at every byte."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from conftest import need
from cutter import Cutter
from test_client import WHOLE
from test_client import server as hanging
from test_client_cuts import ANSWER, AT_ONCE, CLIENTS, STEADY, server
from test_reading import POLICY, VECTORS, data_of

from claude_lab.background import TransportProtocol, serve
from claude_lab.sse import BOM, Decoder

READER = Path(__file__).parents[1] / "claude_lab" / "static" / "reader.js"
NAMES = [b"data", b"data", b"data", b"event", b"id", b"retry", b"", b"Data", b"\xff", BOM + b"data"]
VALUES = [b"", b"a", b"7", b" ", b":", b"\0", b"\xf0\x9f", b"\x8c", b"\xed\xa0\x80", BOM]
VALUES += ["🌊".encode(), "\u2028".encode()]
ENDS = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r", b""]
DICE = Random(20)
PLAY = """
import { readFileSync } from "node:fs";
const { Decoder, Reading, refusal, wait } = await import(process.argv[1]);
const { events, frames, random, sessions, policy } = JSON.parse(readFileSync(0));
const bytes = (base64) => Uint8Array.from(Buffer.from(base64, "base64"));

function* cuts(data) {
  for (let at = 0; at <= data.length; at++) yield [data.subarray(0, at), data.subarray(0, 0), data.subarray(at)];
  yield [...data].map((byte) => Uint8Array.of(byte));
}

function outcomes(data, read) { // how differently the cuts come out: one way, if all is well
  const found = new Set([...cuts(bytes(data))].map((pieces) => JSON.stringify(read(pieces))));
  return [...found].map((each) => JSON.parse(each));
}

function decoded(pieces) {
  const decoder = new Decoder();
  const found = pieces.flatMap((piece) => decoder.feed(piece)).map(({ data, event, id }) => [data, event, id]);
  return [found, decoder.lastEventId, decoder.retryMs];
}

function read(pieces) {
  const reading = new Reading();
  const types = pieces.flatMap((piece) => reading.feed(piece)).map(({ type }) => type);
  const { text, thinking, ended, lastId, moved, damage } = reading;
  return [types, text, thinking, ended?.type ?? null, lastId, moved, Boolean(damage)];
}

async function listen(reading, { status, headers, data, ends }) {
  if (status === null) return { kind: "network_error", message: "The connection broke." };
  const response = new Response([204, 205, 304].includes(status) ? null : bytes(data), { status, headers });
  if (!reading.head(response.headers)) return refusal(response);
  reading.feed(bytes(data));
  return {
    clean: {},
    broken: { message: "The connection broke." },
    silent: { kind: "timeout", message: "Nothing came." },
  }[ends];
}

async function session({ stopping, connections }) {
  const reading = new Reading({ run: "r", policy });
  reading.stopping = stopping;
  const asked = [], waits = [];
  let then = null;
  for (const connection of connections) {
    const [method, , headers] = reading.request();
    asked.push([method, headers["last-event-id"] ?? null]);
    then = reading.lost({ ...(await listen(reading, connection)), chance: 0.5 });
    if (then?.type === "resume") waits.push(then.wait);
  }
  const { text, ended } = reading;
  return [asked, waits, text, ended?.error ?? ended?.type ?? null, then?.type ?? null, ended?.message ?? ""];
}

const result = {
  events: events.map((data) => outcomes(data, decoded)),
  frames: frames.map((data) => outcomes(data, read)),
  random: random.map((data) => outcomes(data, decoded)),
  sessions: await Promise.all(sessions.map(session)),
  waits: [0, 1, 2, 3, 4, 5].flatMap((retries) => [0, 0.25, 0.999].map((chance) => wait(policy, retries, 0, chance))),
};
console.log(JSON.stringify(result));
"""


def line() -> bytes:
    """Return a random line, or something like one."""
    value = b"".join(DICE.choices(VALUES, k=DICE.randrange(4)))
    return DICE.choice(NAMES) + DICE.choice([b":", b": ", b""]) + value + DICE.choice(ENDS)


RANDOM = [DICE.choice([b"", BOM]) + b"".join(line() for _ in range(DICE.randrange(1, 9))) for _ in range(300)]


def as_node_takes_it(connection: dict[str, Any]) -> dict[str, Any]:
    """Return a connection with its bytes and headers spelled out."""
    status = connection.get("status", 200)
    names = {
        "content-type": connection.get("type", "text/event-stream" if status == 200 else "application/json"),
        "x-claude-lab-run": connection.get("run", "r"),
        "retry-after": connection.get("retry_after"),
    }
    headers = {name: value for name, value in names.items() if value is not None}
    data = base64.b64encode(data_of(connection)).decode()
    return {"status": status, "headers": headers, "data": data, "ends": connection["ends"]}


@cache
def played() -> dict[str, Any]:
    """Let one Node play all vectors and return what came of them."""
    streams = {kind: [data_of(each) for each in VECTORS[kind]] for kind in ("events", "frames")} | {"random": RANDOM}
    given = {kind: [base64.b64encode(data).decode() for data in found] for kind, found in streams.items()}
    sessions = [
        {
            "stopping": each.get("stopping", False),
            "connections": [as_node_takes_it(connection) for connection in each["connections"]],
        }
        for each in VECTORS["sessions"]
    ]
    names = ("max_retries", "base_delay", "max_delay", "max_retry_after")
    policy = {name: getattr(POLICY, name) for name in names}
    source = "data:text/javascript;base64," + base64.b64encode(READER.read_bytes()).decode()
    command = [need("node"), "--input-type=module", "-e", PLAY, source]
    told = json.dumps({**given, "sessions": sessions, "policy": policy})
    done = subprocess.run(command, input=told, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def numbered(kind: str) -> Any:
    """Run a test with each vector of a kind and its number."""
    names = [vector["name"].replace(" ", "_") for vector in VECTORS[kind]]
    return pytest.mark.parametrize("number", range(len(names)), ids=names)


@numbered("events")
def test_events_are_the_standards_wherever_the_bytes_are_cut(number: int) -> None:
    """Data, type and id of every event, the id to come back with, and the retry time."""
    vector = VECTORS["events"][number]
    events = [[data, *rest, *("message", "")[len(rest) :]] for data, *rest in vector["events"]]

    assert played()["events"][number] == [[events, vector.get("last_id", ""), vector.get("retry")]]


def test_both_readers_agree_on_streams_that_nobody_wrote() -> None:
    """Three hundred streams of random parts, each cut at every byte: the Python decoder says the same."""
    seen = 0
    for data, found in zip(RANDOM, played()["random"], strict=True):
        decoder = Decoder()
        events = [[event.data, event.event, event.id] for event in decoder.feed(data)]
        seen += len(events)

        assert found == [[events, decoder.last_event_id, decoder.retry_ms]], data

    assert seen > 100


@numbered("frames")
def test_frames_are_the_contracts_wherever_the_bytes_are_cut(number: int) -> None:
    """Types, text, thinking, end, last id, and whether the stream was damaged."""
    vector = VECTORS["frames"][number]
    told = [vector["said"], vector.get("thought", ""), vector["ended"], vector.get("last_id"), vector.get("moved")]

    assert played()["frames"][number] == [[vector["frames"], *told, vector.get("damaged", False)]]


@numbered("sessions")
def test_an_answer_is_read_over_several_connections(number: int) -> None:
    """What is asked each time, how long is waited, what was said, and how it ended."""
    vector = VECTORS["sessions"][number]
    asked = [connection["asks"] for connection in vector["connections"]]
    *told, last, message = played()["sessions"][number]

    assert told == [asked, vector["waits"], vector["said"], vector["ended"]]
    assert last != "resume"
    assert (vector["ended"] in ("truncated", "timeout")) == ("not the whole answer" in message)


def test_it_waits_as_the_python_reader_waits() -> None:
    """One formula on both sides: the same ceilings, the same half drawn."""
    chances = (0.0, 0.25, 0.999)
    policy = POLICY.but(max_retries=6)
    rows = [list(policy.waits(lambda chance=chance: chance)) for chance in chances]

    assert played()["waits"] == pytest.approx([row[retries] for retries in range(6) for row in rows])


ASK = """
const { ask } = await import(process.argv[1]);
const policy = { max_retries: 4, base_delay: 0.002, max_delay: 0.01, max_retry_after: 300 };
const found = [];
for (const url of JSON.parse(process.argv[2])) {
  const answer = ask(url, { message: "Hi" }, { policy, silence: Number(process.argv[3]) });
  const frames = [];
  for await (const frame of answer) frames.push(frame);
  const { text, thinking } = answer;
  const { error = null } = frames.at(-1);
  const ids = frames.map(({ id }) => id).filter(Boolean);
  found.push({ text, thinking, error, types: frames.map(({ type }) => type), ids });
}
console.log(JSON.stringify(found));
"""


def asked(urls: list[str], *, silence: float = 30.0) -> list[dict[str, Any]]:
    """Let one Node ask at each of these URLs, and return what it read."""
    source = "data:text/javascript;base64," + base64.b64encode(READER.read_bytes()).decode()
    command = [need("node"), "--input-type=module", "-e", ASK, source, json.dumps(urls), str(silence)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_an_answer_that_is_cut_anywhere_comes_whole() -> None:
    """Over real sockets, cut twice at many places: the text is exact and every frame came once."""
    with server(AT_ONCE) as served, ExitStack() as stack:
        places = range(0, 2400, 89)
        roads = [stack.enter_context(Cutter(f"{served.url}/p", [at, 2400 - at], polite=at % 2 == 0)) for at in places]
        whole, *found = asked([f"{served.url}/p", *(road.url for road in roads)])

    assert whole["text"] == ANSWER
    assert "resume" not in whole["types"]
    for at, each in zip(places, found, strict=True):
        assert (each["text"], each["ids"], each["types"][-1]) == (ANSWER, whole["ids"], "done"), at
    assert sum("resume" in each["types"] for each in found) > len(found) / 2


def test_a_cut_for_good_is_told() -> None:
    """A lab keeps no run that nobody reads; a server may fall silent, or be gone: each ends with one error, its own."""
    with server(STEADY, orphan_grace=0.0) as served, Cutter(f"{served.url}/p", [1500]) as road:
        url = road.url
        (cut,) = asked([url])
    (closed,) = asked([url])
    with serve(hanging(200, WHOLE[:3], hang=True), protocol=TransportProtocol) as served:
        (silent,) = asked([served.url], silence=0.1)

    assert [each["error"] for each in (cut, closed, silent)] == ["truncated", "network_error", "timeout"]
    assert (cut["types"][-1], cut["types"].count("error")) == ("error", 1)
    assert 0 < len(cut["text"]) < len(ANSWER * 4)
    assert (closed["text"], silent["text"]) == ("", "naïve 🌊")


ENDLESS = """
const { refusal } = await import(process.argv[1]);
let sent = 0;
const body = new ReadableStream({ pull: (to) => { to.enqueue(new Uint8Array(65536).fill(120)); sent += 65536; } });
const { kind, message } = await refusal(new Response(body, { status: 500 }));
console.log(JSON.stringify({ kind, long: message.length, sent }));
"""


def test_of_an_endless_refusal_the_beginning_is_read() -> None:
    """A server that answers an error with bytes without end costs a megabyte, and the sentence stays short."""
    source = "data:text/javascript;base64," + base64.b64encode(READER.read_bytes()).decode()
    command = [need("node"), "--input-type=module", "-e", ENDLESS, source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    told = json.loads(done.stdout)

    assert told["kind"] == "server_error"
    assert told["long"] < 300
    assert told["sent"] < 2 * 2**20


def test_the_documented_loop_runs() -> None:
    """The JavaScript of docs/clients.md, as it stands there, hands the answer on."""
    (block,) = re.findall(r"```js\n(.*?)```", CLIENTS.read_text("utf-8"), re.DOTALL)
    source = "data:text/javascript;base64," + base64.b64encode(READER.read_bytes()).decode()
    page = "const page = { append: (text) => process.stdout.write(text), complain: console.error };"
    with server(AT_ONCE) as served:
        script = f"const url = '{served.url}/p'; {page}\n" + block.replace("./reader.js", source)
        command = [need("node"), "--input-type=module", "-e", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)

    assert (done.stdout, done.stderr) == (ANSWER, "")
