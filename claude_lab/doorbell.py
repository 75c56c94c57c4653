"""A small HTTP door through which a view in the browser reaches the kernel while the kernel is busy.

A comm message waits until the kernel's main thread is free; a POST to the portal's loopback server does not. Each
view hangs a bell at an unguessable path, and rings it with one word: "ready", "stop" or "snapshot".
Nothing can be read through the door, and no other path exists.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any

from claude_lab import background

READY_WITHIN = 2.0
MISSING = "The live view did not come up within {:g} s (does this front end have anywidget?), so this is plain HTML."
WORDS = frozenset({"ready", "stop", "snapshot"})

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
    global _served
    with _lock:
        if _served is None or not _served.alive:
            _served = background.serve(answer)
        secret = secrets.token_urlsafe(18)
        _bells[secret] = bell
        return f"{_served.url}/{secret}"


def unhang(url: str) -> None:
    """Take a bell down; twice is fine."""
    with _lock:
        _bells.pop(url.rsplit("/", 1)[-1], None)


def expect(ready: Callable[[], bool], instead: Callable[[str], None], *, within: float | None = None) -> None:
    """Call `instead` with the reason, on the portal's thread, when nothing is `ready` in time (`READY_WITHIN`)."""
    loop, wait = background.portal().loop, READY_WITHIN if within is None else within

    def look() -> None:
        if not ready():
            instead(MISSING.format(wait))

    loop.call_soon_threadsafe(loop.call_later, wait, look)


def bells() -> int:
    """Return how many bells hang."""
    return len(_bells)
