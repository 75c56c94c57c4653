"""Asking: bodies and addresses, checked before anything is sent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from claude_lab.asking import address_of, body_of


def test_what_nobody_said_is_left_out() -> None:
    """Only the options that were given are in the body."""
    assert body_of("Hi", {"system": None, "max_tokens": 5}) == {"message": "Hi", "max_tokens": 5}


@pytest.mark.parametrize(
    ("prompt", "options", "said"),
    [
        ("", {}, "This cannot be asked: The message is empty; send some text in `message`, or a conversation"),
        (b"Hi", {}, "This cannot be asked: prompt=b'Hi' is no text; give a str."),
        (None, {}, "prompt=None is no text"),
        (
            "Hi",
            {"max_tokens": 0},
            "This cannot be asked: max_tokens: Input should be greater than or equal to 1 (got 0)",
        ),
        ("Hi", {"messages": [{"role": "user", "content": [{"type": "text", "text": object}]}]}, "This cannot be asked"),
    ],
)
def test_what_cannot_be_asked_is_said_without_wrapping(prompt: Any, options: dict[str, Any], said: str) -> None:
    """A sentence of ours stands alone; what pydantic found has its place and value."""
    with pytest.raises(ValueError) as raised:
        body_of(prompt, options)

    assert str(raised.value).startswith("This cannot be asked: ")
    assert said in str(raised.value)
    assert "Value error" not in str(raised.value)


def test_an_address_is_a_url_or_has_one() -> None:
    """A lab, a proxy and their URL are the same way."""
    url = "http://127.0.0.1:8000/lab"

    assert address_of(url) == address_of(SimpleNamespace(url=url)) == url


@pytest.mark.parametrize("route", [5, None, b"http://x", "", "127.0.0.1:8000", "ftp://x", "http://", "http://x:99999"])
def test_what_is_no_address_is_named(route: Any) -> None:
    """With the name it was given by."""
    with pytest.raises(ValueError, match=r"^proxied=.* is no way to a server; give a URL such as"):
        address_of(route, "proxied")
