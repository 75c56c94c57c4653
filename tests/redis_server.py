"""A real redis-server of the tests' own, where one is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from conftest import need

from claude_lab.crash import redis


@contextmanager
def redis_server() -> Iterator[str]:
    """Yield the URL of a Redis that nobody else uses."""
    need("redis-server")
    with redis() as url:
        yield url
