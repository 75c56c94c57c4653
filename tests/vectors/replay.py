"""The lab's side of a vector: the same pieces through `Release`."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from claude_lab.buffering import Asked, Release, Rule

HERE = Path(__file__).parent


def load(name: str) -> dict[str, Any]:
    """Return a file of vectors."""
    data: dict[str, Any] = json.loads(gzip.decompress((HERE / name).read_bytes()))
    return data


def rule_of(vector: Mapping[str, Any], common: str, version: tuple[int, ...]) -> Rule:
    """Read the vector's own nginx directives."""
    text = f"http {{ {common} server {{ location / {{ proxy_pass http://upstream; {vector['directives']} }} }} }}"
    changes = {"record_size": vector["ssl_buffer_size"]} if vector["ssl_buffer_size"] else {}
    return Rule.from_nginx_conf(text, version=version, tls=vector["tls"], **changes)


def asked_of(vector: Mapping[str, Any]) -> Asked:
    """Return the vector's request."""
    http = vector["client_http"]
    return Asked(http=http, accept_encoding=vector["accept_encoding"], keep_alive=http == "1.1")


def pieces_of(vector: Mapping[str, Any]) -> list[bytes]:
    """Return what the upstream wrote."""
    return [base64.b64decode(piece) if isinstance(piece, str) else piece for piece in vector["pieces"]]


def play(release: Release, pieces: Iterable[bytes], *, end: str) -> tuple[bytes, list[int]]:
    """Return the client's bytes, and how many it had after each step."""
    wire, held = bytearray(), []
    for piece in pieces:
        wire += release.feed(piece)
        held.append(len(wire))
    wire += release.error() if end == "rst" else release.eof()
    return bytes(wire), [*held, len(wire)]
