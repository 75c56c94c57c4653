"""A small HTTP door through which a view in the browser reaches the kernel while the kernel is busy.

A comm message waits until the kernel's main thread is free; a POST to the portal's loopback server does not. Each
view hangs a bell at an unguessable path, and rings it with one word: "ready", "stop" or "snapshot".
Nothing can be read through the door, and no other path exists.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Set
from typing import Any

from claude_lab import background
from claude_lab.amounts import is_amount
from claude_lab.clock import LOOKS

READY_WITHIN = 2.0
"""Seconds a view has to come up; `CLAUDE_LAB_READY_WITHIN` gives it more, where the way to the browser is long."""
LINGER = 30.0
"""Seconds after its end in which a view still answers a page that is being loaded again."""
MISSING = "The live view did not come up within {:g} s (does this front end have anywidget?), so this is plain HTML."
WORDS = frozenset({"ready", "stop", "snapshot"})

_opening = threading.Lock()
_lock = threading.Lock()
_bells: dict[str, Callable[[str], None]] = {}
_served: background.Served | None = None


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI app: `POST /<secret>/<word>` rings, anything else is 403, 404 or 405."""
    if scope["type"] != "http":
        return
    status = ring(scope["method"], scope["path"])
    headers = [(b"content-length", b"0"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def ring(method: str, path: str) -> int:
    """Ring the bell a request asks for, and return the HTTP status."""
    _, _, rest = path.partition("/")
    secret, _, word = rest.partition("/")
    bell = _bells.get(secret)
    if bell is None:
        return 403
    if word not in WORDS:
        return 404
    if method != "POST":
        return 405
    bell(word)
    return 204


def hang(bell: Callable[[str], None]) -> str:
    """Hang a bell, called on the portal's thread with each word rung, and return its URL without a trailing slash."""
    door, secret = opened(), secrets.token_urlsafe(18)
    with _lock:
        _bells[secret] = bell
    return f"{door.url}/{secret}"


def opened() -> background.Served:
    """Return the door, opening it at the first call.

    That waits for the portal, so it is done before a lock is taken that the portal's thread may want.
    """
    global _served
    if _served is None or not _served.alive:
        with _opening:
            if _served is None or not _served.alive:
                _served = background.serve(answer)
    return _served


def unhang(url: str) -> None:
    """Take a bell down; twice is fine."""
    with _lock:
        _bells.pop(url.rsplit("/", 1)[-1], None)


def expect(ready: Callable[[], bool], instead: Callable[[str], None], *, within: float | None = None) -> None:
    """Call `instead` with the reason, on the portal's thread, when nothing is `ready` in time (`READY_WITHIN`)."""
    loop, wait = background.portal().loop, ready_within() if within is None else within

    def look(left: int) -> None:
        if ready():
            return
        if left:
            loop.call_later(wait / LOOKS, look, left - 1)
        else:
            instead(MISSING.format(wait))

    loop.call_soon_threadsafe(look, LOOKS)


def linger(pages: Set[str], drop: Callable[[], None]) -> None:
    """Call `drop` after `LINGER` seconds, on the portal's thread, unless a second page has come up by then.

    `pages` holds a name for each page that has said it is ready, and "" for one without.
    """
    expect(lambda: len(pages - {""}) > 1, lambda _: drop(), within=LINGER)


def ready_within() -> float:
    """Return how many seconds a view has to come up. Raises ValueError for a setting that is no length of time."""
    asked = os.environ.get("CLAUDE_LAB_READY_WITHIN", "").strip()
    try:
        seconds = float(asked or READY_WITHIN)
    except ValueError:
        seconds = -1.0
    if not is_amount(seconds):
        raise ValueError(f"CLAUDE_LAB_READY_WITHIN is {asked!r}, no length of time; set it to seconds, or unset it.")
    return seconds


def bells() -> int:
    """Return how many bells hang."""
    return len(_bells)
