"""The runs of one worker among several on one Redis: any worker serves any run's readers and stops it."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakValueDictionary

from claude_lab.clock import now
from claude_lab.redis_log import Database, RedisLog
from claude_lab.runs import NAME, Bounds, LogLost, Run, check_name, new_name
from claude_lab.shared_run import Retake, SharedRun


class SharedRuns:
    """The runs of one worker among several on one Redis; the interface of `Runs`."""

    def __init__(self, url: str, bounds: Bounds, *, lease: float, orphan_grace: float, retake: Retake) -> None:
        self.bounds = bounds
        self.lease = lease
        self.orphan_grace = orphan_grace
        self.retake = retake
        self.worker = new_name()
        self.leaving = False
        self.database = Database(url, patience=max(2.0, lease))
        self.runs: WeakValueDictionary[tuple[str, str], SharedRun] = WeakValueDictionary()
        self._made: dict[tuple[str, str], RedisLog] = {}

    def _run(self, name: str, caller: str, orphan_grace: float) -> SharedRun:
        run = SharedRun(name, orphan_grace, self.bounds, self._log(name, caller), lease=self.lease, retake=self.retake)
        self.runs[caller, name] = run
        return run

    def _log(self, name: str, caller: str) -> RedisLog:
        return RedisLog(self.database, f"{caller}:{name}", self.worker, lease=self.lease, age=self.bounds.age)

    async def add(
        self, name: str, orphan_grace: float, *, caller: str = "", request: dict[str, Any] | None = None
    ) -> Run:
        """Register a run. Raises ValueError for a name taken or malformed, OverflowError when full, LogLost."""
        check_name(name)
        self._stay()
        await self._make_room()
        if not await self._log(name, caller).create(request or {}):
            raise ValueError(f"The run {name!r} exists already; read it with GET, or choose another name.")
        run = self._run(name, caller, orphan_grace)
        self._made[caller, name] = run.log
        run.hold(1, 0)
        return run

    async def get(self, name: str, *, caller: str = "") -> Run | None:
        """Return the caller's run of that name with all that its log holds by now, or None. Raises LogLost."""
        if not NAME.fullmatch(name):
            return None
        self._stay()
        run = self.runs.get((caller, name))
        if run is not None and run.lost is None:
            try:
                return run if await run.catch_up() else None
            except LogLost:
                if run.lost is None:  # Redis is away; else the log is not what this worker knew of it
                    raise
        run = self._run(name, caller, self.orphan_grace)
        return run if await run.catch_up() else None

    def _stay(self) -> None:
        if self.leaving:
            raise LogLost("This worker stops; ask another.")

    async def _make_room(self) -> None:
        """Forget the oldest runs of this worker's that are not under way. Raises OverflowError without one."""
        self._made = {key: log for key, log in self._made.items() if log.gone_at > now()}
        while full := self.bounds.full(len(self._made), sum(log.size_bytes for log in self._made.values())):
            oldest = next((key for key in self._made if not self._under_way(key)), None)
            if oldest is None:
                raise OverflowError(f"{full}; try again when some have ended.")
            log = self._made.pop(oldest)
            known = await log.look(reading=False)
            if known is not None and known.final:  # else another worker has it now
                await log.forget()

    def _under_way(self, key: tuple[str, str]) -> bool:
        run = self.runs.get(key)
        return run is not None and run.held and not run.ended

    @property
    def open(self) -> int:
        """How many runs this worker produces."""
        return sum(run.held and not run.ended for run in list(self.runs.values()))

    async def ready(self) -> None:
        """Raise LogLost unless Redis answers, and soon."""
        await self.database.ready()

    async def leave(self) -> None:
        """Hand every run over, and take none any more."""
        self.leaving = True
        await asyncio.gather(*(run.close() for run in list(self.runs.values())))

    async def close(self) -> None:
        """Hand every run over, and close the connections."""
        await self.leave()
        await self.database.close()
