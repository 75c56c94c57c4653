"""A run's log in Redis: a stream with explicit ids, a lease on writing it, and the steps that must not be torn apart.

Each step is one script, so nothing comes between its check and its act. Time is Redis's own: the workers' clocks do
not matter. All keys of a run share a hash tag. An append is refused when the epoch is not the run's present one, which
fences off a producer that was taken for dead; one that is repeated after a lost answer adds nothing twice. One that
would leave a hole is refused too: a Redis that was restored may stand where it stood a while ago.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from claude_lab.clock import now
from claude_lab.redis_scripts import SCRIPTS, THOUSAND
from claude_lab.runs import LogLost

ROWS = 512
"""How many entries go in one command, either way."""
READY_WITHIN = 1.0
CONNECTIONS, APPENDS = 20_000, 32
"""Connections of one worker, one for each run that waits, and how many appends may be under way at once."""


@dataclass(frozen=True, slots=True)
class Row:
    """An entry as it lies in Redis: its id's two numbers, its type, and its frame as JSON."""

    epoch: int
    seq: int
    kind: str
    told: str


@dataclass(frozen=True, slots=True)
class Known:
    """What a run's state says: its epoch, its last number, the lease's remaining seconds, and whether it has ended."""

    epoch: int
    seq: int
    left: float
    final: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """A run that was taken over: the new epoch, the last number written, the request, and whether it should stop."""

    epoch: int
    seq: int
    request: dict[str, Any]
    stop: bool


class Database:
    """One Redis and the scripts in it; made anywhere, used in one loop. `patience` bounds the wait for an answer.

    Raises ValueError for a URL that is none of Redis's, or without the `redis` package.
    """

    def __init__(self, url: str, *, patience: float) -> None:
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
            from redis.exceptions import RedisError
        except ImportError:
            missing = "REDIS_URL is set, and the redis package is missing; run: pip install 'claude_lab[redis]'."
            raise ValueError(missing) from None

        # Whoever asks has a cursor or an epoch and repeats the step itself: a retry below would only hide the time.
        # The package's own timeouts lose cancellations (asyncio.wait_for does, before Python 3.12): `ask` has ours.
        options: dict[str, Any] = {"socket_timeout": None, "socket_connect_timeout": None}
        self.redis: Any = Redis.from_url(url, max_connections=CONNECTIONS, retry=Retry(NoBackoff(), 0), **options)
        self.appends = asyncio.Semaphore(APPENDS)
        self.patience = patience
        self.errors = RedisError, OSError
        self.scripts = {name: self.redis.register_script(source) for name, source in SCRIPTS.items()}

    async def ask(self, answer: Awaitable[Any], *, block: float = 0.0, patience: float | None = None) -> Any:
        """Await an answer that may take `block` seconds. Raises LogLost when none comes."""
        try:
            async with asyncio.timeout((self.patience if patience is None else patience) + block):
                return await answer
        except self.errors as error:
            raise LogLost(f"The log of runs cannot be reached ({type(error).__name__}); check REDIS_URL.") from error

    async def ready(self) -> None:
        """Raise LogLost unless Redis answers within `READY_WITHIN` seconds."""
        await self.ask(self.redis.ping(), patience=READY_WITHIN)

    async def close(self) -> None:
        """Close the connections."""
        await self.redis.aclose()


class RedisLog:
    """One run's keys, and what can be done with them: `lease` and `age`, which an idle log stays, are seconds.

    `size_bytes` is what was appended here, `gone_at` when an ended log is forgotten, by `clock.now`.
    Every method raises LogLost when Redis does not answer.
    """

    def __init__(self, database: Database, place: str, worker: str, *, lease: float, age: float) -> None:
        self.database = database
        self.keys = [f"claude_lab:{{{place}}}:{part}" for part in ("state", "log", "bell", "readers")]
        self.worker = worker
        self.lease_ms = round(lease * 1000)
        self.age_ms = max(1, round(age * 1000)) + self.lease_ms
        self.size_bytes = 0
        self.gone_at = math.inf

    async def _do(self, script: str, *arguments: Any) -> Any:
        return await self.database.ask(self.database.scripts[script](keys=self.keys, args=arguments))

    async def create(self, request: dict[str, Any]) -> bool:
        """Begin the log, with the lease; False when there is one."""
        return bool(await self._do("create", self.lease_ms, self.age_ms, json.dumps(request)))

    async def append(self, epoch: int, first: int, frames: Sequence[tuple[str, str]], *, final: bool) -> int | None:
        """Add frames numbered from `first`, and renew the lease; return the log's last number. None: the epoch is over.

        Nothing is added when the log does not reach up to `first`: it came back older, and lacks what it had.
        Doing it again adds nothing. Appends take turns, so that under load they gather frames, not connections.
        """
        pairs = (part for frame in frames for part in frame)
        async with self.database.appends:
            last = int(await self._do("append", epoch, first, self.age_ms, int(final), self.lease_ms, *pairs))
        if last >= first - 1 + len(frames):
            self.size_bytes += sum(len(told) for _, told in frames)
            self.gone_at = now() + self.age_ms / 1000 if final else math.inf
        return None if last < 0 else last

    async def keep(self, epoch: int) -> tuple[bool, int] | None:
        """Renew the lease; whether the run should stop, and how many other workers read it. None: the epoch is over."""
        told = await self._do("keep", epoch, self.lease_ms, self.age_ms, self.worker)
        return (bool(told[0]), told[1]) if told else None

    async def look(self, *, reading: bool) -> Known | None:
        """Return the run's state, or None; with `reading` the producer learns that this worker has readers."""
        told = await self._do("look", self.worker, self.lease_ms if reading else 0)
        return Known(told[0], told[1], told[2] / 1000, bool(told[3])) if told else None

    async def take(self) -> Taken | None:
        """Take over a run whose lease has expired, in the next epoch; None when it has not, or somebody was quicker."""
        told = await self._do("take", self.lease_ms, self.age_ms, THOUSAND)
        return Taken(told[0], told[1], json.loads(told[2]), bool(told[3])) if told else None

    async def stop(self) -> bool:
        """Ask the producer to stop; False when there is none, and whoever takes over should end the log."""
        return bool(await self._do("stop"))

    async def leave(self) -> None:
        """Tell the producer that this worker's last reader has left."""
        await self._do("leave", self.worker)

    async def release(self, epoch: int) -> None:
        """Give the lease up, so that another may take over at once."""
        await self._do("release", epoch)

    async def read(self, after: str, block: float) -> list[Row]:
        """Return the rows after an id, at most ROWS, waiting up to `block` seconds for one."""
        return [row for event_id, fields in await self._read(1, after, block) for row in rows_of(event_id, fields)]

    async def listen(self, after: str, block: float) -> str:
        """Wait up to `block` seconds for the bell that calls the producer; return the id of its last ring."""
        rung = await self._read(2, after, block)
        return rung[-1][0].decode() if rung else after

    async def _read(self, key: int, after: str, block: float) -> Any:
        wait = {"block": max(1, round(block * 1000))} if block > 0 else {}
        asked = self.database.redis.xread({self.keys[key]: after}, count=ROWS, **wait)
        told = await self.database.ask(asked, block=block)
        return told[0][1] if told else []

    async def forget(self) -> None:
        """Remove the run."""
        await self.database.ask(self.database.redis.unlink(*self.keys))


def rows_of(event_id: bytes, fields: dict[bytes, bytes]) -> Iterable[Row]:
    """Return a stream entry as a row."""
    epoch, _, seq = event_id.decode().partition("-")
    return [Row(int(epoch), int(seq), kind.decode(), told.decode()) for kind, told in fields.items()]
