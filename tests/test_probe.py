"""The probe's endpoint, over a real socket."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator

import pytest
from conftest import soon
from origin import Client, fetch

from claude_lab import background, sse
from claude_lab.probe import MARK, Plan, Probe


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A probe served with the raw transport."""
    with background.serve(Probe(), protocol=background.TransportProtocol) as served:
        yield served.url


def test_events_have_their_size_and_their_times(url: str) -> None:
    """Each says its number, when it was due and when it was written."""
    reader, body, ended = fetch(url, "/?count=5&every=0.01&size=200")
    events = [json.loads(event.data) for event in sse.Decoder().feed(body)]

    assert (ended, reader.head and reader.head.get(MARK), len(body)) == ("whole", "1", 5 * 200)
    assert [event["n"] for event in events] == list(range(5))
    assert [event["due"] for event in events] == [pytest.approx(number * 0.01) for number in range(5)]
    assert all(event["at"] >= event["due"] for event in events)


def test_a_plan_survives_its_query() -> None:
    """What is written into the URL is what the endpoint reads."""
    plan = Plan(count=7, every=0.5, accel="", cache="a&b=c, d", gap=2.0, die=3, how="reset", id="a-b")

    assert Plan.parse(plan.query()) == plan


@pytest.mark.parametrize(
    "query",
    [
        "count=0",
        "every=-1",
        "size=5",
        "how=melt",
        "fill=holes",
        "count=many",
        "accel=a%0d%0ab",
        "accel=%ff",
        "type=%00",
    ],
)
def test_a_bad_question_is_a_422(url: str, query: str) -> None:
    """With the bound in the message."""
    reader, body, _ = fetch(url, f"/?{query}")

    assert reader.head is not None
    assert (reader.head.status, "error" in json.loads(body)) == (422, True)


@pytest.mark.parametrize(("given", "said"), [("abc1", "abc1"), ("a%0d%0ab", "1"), ("%E2%82%AC", "1"), ("x" * 65, "1")])
def test_a_fresh_word_is_said_again(url: str, given: str, said: str) -> None:
    """So an answer that a cache had kept shows; what could not stand in a header is not repeated."""
    reader, _, _ = fetch(url, f"/?count=1&fresh={given}")

    assert reader.head is not None
    assert reader.head.get(MARK) == said


def test_random_filling_has_the_asked_size_and_does_not_compress(url: str) -> None:
    """A compressor halves it at most: hexadecimal digits carry four bits each."""
    _, body, _ = fetch(url, "/?count=3&every=0&size=4000&fill=random")

    assert len(body) == 3 * 4000
    assert len(zlib.compress(body)) > 0.45 * len(body)


@pytest.mark.parametrize(("how", "ended"), [("cut", "closed"), ("reset", "reset")])
def test_it_dies_as_told(url: str, how: str, ended: str) -> None:
    """After so many events, by FIN or by RST."""
    reader, body, seen = fetch(url, f"/?count=9&every=0.001&die=3&how={how}")

    assert (seen, body.count(b"\n\n"), reader.whole) == (ended, 3, False)


def test_the_silence_is_in_the_middle() -> None:
    """A gap shifts the second half."""
    plan = Plan(count=4, every=1.0, gap=10.0)

    assert [plan.due(number) for number in range(4)] == [0, 1, 2, 13]


def test_a_report_says_when_the_client_left(url: str) -> None:
    """Or that nobody knows the stream."""
    client = Client(url)
    client.send(path="/?id=mine&count=1000&every=0.01")
    client.sock.recv(1000)
    client.close()

    def report() -> dict[str, object]:
        return json.loads(fetch(url, "/?report=mine")[1])

    assert soon(lambda: isinstance(report().get("left"), float))
    assert report()["ended"] is False
    assert json.loads(fetch(url, "/?report=other")[1]) == {"error": "unknown id"}
