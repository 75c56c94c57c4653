from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from conftest import soon

from claude_lab import doorbell
from claude_lab.background import portal

rung: list[str] = []


@pytest.fixture
def url() -> Iterator[str]:
    """A bell that notes what was rung."""
    rung.clear()
    url = doorbell.hang(rung.append)
    yield url
    doorbell.unhang(url)


def test_each_word_rings(url: str) -> None:
    """A POST without a body reaches the kernel, and twice is fine."""
    answers = [httpx.post(f"{url}/{word}").status_code for word in ("ready", "stop", "stop")]

    assert answers == [204, 204, 204]
    assert rung == ["ready", "stop", "stop"]


def test_strangers_ring_nothing(url: str) -> None:
    """A wrong secret, a wrong word and a GET are refused, and say nothing."""
    base = url.rsplit("/", 1)[0]
    answers = [httpx.post(f"{base}/guess/stop"), httpx.post(f"{url}/shutdown"), httpx.get(f"{url}/stop")]

    assert [answer.status_code for answer in answers] == [403, 404, 405]
    assert rung == []
    assert all(answer.content == b"" for answer in answers)


def test_a_bell_taken_down_is_silent(url: str) -> None:
    """After the stream has ended its URL means nothing any more."""
    doorbell.unhang(url)

    assert httpx.post(f"{url}/stop").status_code == 403
    assert rung == []


def test_another_origin_may_ring_but_not_read(url: str) -> None:
    """No answer carries a CORS header: a page that guessed everything still reads nothing."""
    answer = httpx.post(f"{url}/stop", headers={"origin": "http://evil.example"})

    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_ring_in_a_pause_is_heard_before_the_view_is_given_up(url: str) -> None:
    """A loop that stood still for longer than a view has hears what came meanwhile."""
    given_up: list[str] = []
    with ThreadPoolExecutor() as threads:
        doorbell.expect(lambda: "ready" in rung, given_up.append, within=0.4)
        portal().loop.call_soon_threadsafe(time.sleep, 0.6)
        ringing = threads.submit(httpx.post, f"{url}/ready", timeout=30)

    assert ringing.result().status_code == 204
    portal().run(asyncio.sleep(0.5))
    assert given_up == []


def test_a_view_that_never_comes_up_is_given_up() -> None:
    """After its time, with the reason, which names the time."""
    given_up: list[str] = []
    doorbell.expect(lambda: False, given_up.append, within=0.01)

    assert soon(lambda: bool(given_up))
    assert "within 0.01 s" in given_up[0]


def test_the_door_opens_while_a_bell_is_taken_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The portal's thread, which opens it, may be ending another view at that moment."""
    monkeypatch.setattr(doorbell, "_served", None)
    portal().loop.call_soon_threadsafe(lambda: (time.sleep(0.2), doorbell.unhang("")))

    url = doorbell.hang(rung.append)

    assert httpx.post(f"{url}/ready", timeout=30).status_code == 204
    doorbell.unhang(url)
    doorbell.opened().stop()


@pytest.mark.parametrize("asked", ["soon", "-1", "nan", "inf"])
def test_no_time_to_come_up_is_refused(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable, its value, and what to do."""
    monkeypatch.setenv("CLAUDE_LAB_READY_WITHIN", asked)
    with pytest.raises(ValueError, match=f"CLAUDE_LAB_READY_WITHIN is '{asked}'.*set it to seconds"):
        doorbell.ready_within()

    monkeypatch.setenv("CLAUDE_LAB_READY_WITHIN", "7.5")
    assert doorbell.ready_within() == 7.5
