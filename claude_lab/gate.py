"""What a request must bring before anybody reads its body: a key, an API version, beta names that could exist.

Divergence 1: any key opens the gate but the word "invalid", so that a lab needs none and can still show a 401.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from claude_lab.bodies import VERSIONS, invalid
from claude_lab.faults import Refusal, Unauthorized

BETA = re.compile(r"[a-z0-9-]+-\d{4}-?\d{2}-?\d{2}")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")


def key_of(headers: Mapping[str, str]) -> str | None:
    """Return the key of a request: a bearer token, as the SDK 2.x sends it, or `x-api-key`."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key", "").strip() or None


def refuse(headers: Mapping[str, str]) -> Refusal | None:
    """Return the refusal of a request's headers, or None if they will do."""
    key = key_of(headers)
    if key is None:
        return Unauthorized(message="x-api-key header is required")
    if key == "invalid":
        return Unauthorized()
    version = headers.get("anthropic-version")
    if version is None:
        return invalid("anthropic-version: header is required")
    if version not in VERSIONS:
        return invalid(
            f'anthropic-version: "{version}" is not a valid version. See the versioning page of the API docs.'
        )
    betas = [name.strip() for name in headers.get("anthropic-beta", "").split(",") if name.strip()]
    if wrong := next((name for name in betas if not BETA.fullmatch(name)), None):
        return invalid(f"Unexpected value(s) `{wrong}` for the `anthropic-beta` header.")
    return None


def stranger(headers: Mapping[str, str], host: str) -> Refusal | None:
    """Return the refusal of a control request that a web page may have sent: another name for us, or another origin."""
    name = headers.get("host", "").rsplit(":", 1)[0]
    origin = headers.get("origin")
    if name not in (*LOOPBACK, host) or (origin is not None and origin.split("//")[-1] != headers.get("host")):
        return Refusal(status=403, message="The control of a fake is for this machine alone; use its own URL.")
    return None
