"""Who may ask a server: an ASGI layer in front of every route.

A real key may stand behind the server, so: an allow-list of hosts (against DNS rebinding), an Origin check and JSON
only on writes (against web pages that post blindly), a capability prefix or a bearer token (against other users of the
machine). Health paths need no token and no known host, so that a probe can ask them; nor does the chat page need a
token, which holds no secret and asks its user for it.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from claude_lab import page
from claude_lab.bodies import LIMIT_BYTES

Scope = dict[str, Any]
SEND = "claude_lab.send"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
HEALTH = ("/health", "/health/live", "/health/ready")
PORT = re.compile(r":[0-9]*$")
TOO_LONG = f"The body is longer than the {LIMIT_BYTES} bytes that the API takes; send less."


class Guard:
    """Lets a request through to `app`, or answers 400, 401, 403, 404, 413 or 415 with one sentence."""

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        *,
        hosts: Iterable[str],
        origins: Iterable[str] = (),
        token: str | None = None,
        prefix: str = "",
    ) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)
        self.origins = frozenset(origins)
        self.token = token
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Check a request; lifespan events pass."""
        if scope["type"] == "http":
            refused = self.refuse(scope)
            if refused is not None:
                await answer(send, *refused, origin=self.known_origin(scope))
                return
            extensions = {**scope.get("extensions", {}), SEND: send}
            scope = {**scope, "root_path": scope.get("root_path", "") + self.prefix, "extensions": extensions}
            receive = bounded(receive)
        await self.app(scope, receive, send)

    def known_origin(self, scope: Scope) -> str | None:
        """Return the origin of the page that asks, if it may read the answers here, refusals too."""
        origin = dict(scope["headers"]).get(b"origin", b"").decode("latin-1")
        return origin if origin in self.origins else None

    def refuse(self, scope: Scope) -> tuple[int, str] | None:
        """Return the status and the sentence of a refusal, or None."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, here = headers.get("host", ""), begins(scope["path"], self.prefix)
        path = scope["path"].removeprefix(self.prefix)
        # A probe asks by whatever address the server has; the answer tells a rebound name nothing of worth.
        if bare(host) not in self.hosts and "*" not in self.hosts and not (here and path in HEALTH):
            return 400, f"The host {host[:80]!r} is not served here; add it to ALLOWED_HOSTS if it should be."
        if not here:
            return 404, "Nothing is here; use the lab's whole URL, with its unguessable part."
        # A browser asks with OPTIONS before it sends a token; the answer holds nothing and starts nothing.
        free = path in HEALTH or path in page.PATHS or scope["method"] == "OPTIONS"
        if self.token and not free and not right(headers.get("authorization", ""), self.token):
            return 401, "A token is needed; send `Authorization: Bearer <TOKEN>`."
        return None if scope["method"] in SAFE else self.refuse_write(headers, path)

    def refuse_write(self, headers: dict[str, str], path: str) -> tuple[int, str] | None:
        """Judge a request that could change something or spend."""
        # A view's Stop comes from the notebook's origin, bodyless; its unguessable URL is its permission.
        if path.endswith("/stop") and self.prefix:
            return None
        origin = headers.get("origin")
        if origin is not None and origin not in self.origins and place(origin) != headers.get("host"):
            return 403, f"The origin {origin[:80]!r} may not ask here; add it to ALLOWED_ORIGINS if it should."
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > LIMIT_BYTES:
            return 413, TOO_LONG
        has_body = length != "0" or "transfer-encoding" in headers
        if has_body and headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return 415, f"The content type {headers.get('content-type', '')!r} is not taken; send application/json."
        return None


def bounded(receive: Any) -> Any:
    """Return a `receive` that counts the body. It raises HTTPException 413 once there is more than the API takes."""
    size_bytes = 0

    async def counted() -> Any:
        nonlocal size_bytes
        message = await receive()
        size_bytes += len(message.get("body", b""))
        if size_bytes > LIMIT_BYTES:
            raise HTTPException(413, TOO_LONG)
        return message

    return counted


def place(origin: str) -> str | None:
    """Return an origin's host and port, or None for what is no URL."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def straight(scope: Scope, send: Any) -> Any:
    """Return the server's own `send`, for the pieces of a body whose head went the usual way.

    Every layer between (errors, CORS) looks at the head only and adds a coroutine to each piece.
    """
    return scope.get("extensions", {}).get(SEND, send)


def bare(host: str) -> str:
    """Return a Host header without its port, in small letters."""
    return PORT.sub("", host).lower()


def begins(path: str, prefix: str) -> bool:
    """Whether the path lies under the prefix, compared without a hint of how much of it was right."""
    head = path[: len(prefix)]
    return hmac.compare_digest(head.encode(), prefix.encode()) and path[len(prefix) :][:1] in ("", "/")


def right(header: str, token: str) -> bool:
    """Whether an Authorization header carries the token."""
    scheme, _, given = header.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), token.encode())


async def answer(send: Any, status: int, sentence: str, *, origin: str | None = None) -> None:
    """Send a refusal as JSON; a page of this origin may read it."""
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if origin is not None:
        headers += [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
