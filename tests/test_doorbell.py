from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from claude_lab import doorbell

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
