"""A run that several workers share over Redis, as one of them has it: it produces, or it follows and may take over.

What a worker knows of a run is a beginning of its log, never more: a frame reaches a reader after Redis has it, so
whoever takes over continues behind everything that anybody has seen. A worker that cannot renew its lease stops
producing, and so does one whose frame was refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NoReturn

from claude_lab.clock import now
from claude_lab.kinds import FINAL
from claude_lab.log import Frame, encode_json
from claude_lab.redis_log import ROWS, Known, RedisLog
from claude_lab.runs import STOPPED, Bounds, LogLost, Moved, Run, Writer, too_long

Retake = Callable[[Writer, dict[str, Any]], Coroutine[Any, Any, None]]


class SharedRun(Run):
    """A run as one worker has it: `entries` follow the log; with `held` it is this worker that writes it."""

    def __init__(
        self, name: str, orphan_grace: float, bounds: Bounds, log: RedisLog, *, lease: float, retake: Retake
    ) -> None:
        super().__init__(name, orphan_grace, bounds)
        self.log = log
        self.lease = lease
        self.retake = retake
        self.held = False
        self.lost: LogLost | None = None
        self._pending: list[tuple[str, str]] = []
        self._pending_bytes = 0
        self._sent = 0
        self._closing = False
        self._alive_at = now()
        self._look_at = 0.0
        self._bell = "0-0"
        self._taking = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._flusher: asyncio.Task[None] | None = None
        self._errands: set[asyncio.Task[None]] = set()

    def hold(self, epoch: int, seq: int) -> Writer:
        """Produce from now on, behind number `seq`."""
        writer = self.turn(epoch)
        self.held, self._sent, self._alive_at, self._closing = True, seq, now(), False
        self._keep_up()
        return writer

    def write(self, epoch: int, frames: Iterable[Frame]) -> None:
        """Hand the frames of the producer of that epoch to Redis, unless another has taken over."""
        if epoch != self.epoch or not self.held:
            return
        for kind, frame in frames:
            if self._closing:
                break
            told = json.dumps(frame)
            self._pending.append((kind, told))
            self._pending_bytes += len(told)
            self._closing = kind in FINAL
        if self.entries.size_bytes + self._pending_bytes > self.bounds.run_bytes and not self._closing:
            self.stop()
            self.append(*too_long(self.bounds.run_bytes))
        if self._pending and (self._flusher is None or self._flusher.done()):
            self._flusher = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        """Send what waits, in the batches that gather while the one before is under way."""
        while self._pending and self.held:
            epoch, first, rows = self.epoch, self._sent + 1, self._pending[:ROWS]
            try:
                last = await self.log.append(epoch, first, rows, final=rows[-1][0] in FINAL)
            except LogLost as error:
                await self._endure(error)
                continue
            if not self.held or self.epoch != epoch:
                continue
            if last is None:
                self._lose()
                return
            if last < first - 1:
                self._rewind(last)
                continue
            del self._pending[: len(rows)]
            self._pending_bytes -= sum(len(told) for _, told in rows)
            self._sent += len(rows)
            self._alive_at = now()
            for seq, (kind, told) in enumerate(rows, first):
                self._learn(seq, kind, told, epoch)
            self.announce()

    def _rewind(self, last: int) -> None:
        """Send again what the log had behind a number and has no more: Redis came back older than it was."""
        again = [(entry.kind, json.dumps(entry.frame)) for entry in self.entries[last : self._sent]]
        self._pending[:0] = again
        self._pending_bytes += sum(len(told) for _, told in again)
        self._sent = last

    def _learn(self, seq: int, kind: str, told: str, epoch: int) -> None:
        """Add what the log says next; what is known already is passed over.

        Raises LogLost, for good, when it does not follow from what is known: Redis came back older, and went on.
        """
        known = len(self.entries)
        if seq == known + 1:
            self.epoch = max(self.epoch, epoch)
            self._add(epoch, [kind], [encode_json(kind, told, seq, epoch)])
        elif seq > known or self.entries.epoch(seq - 1) != epoch:
            self._miss()

    def _miss(self) -> NoReturn:
        error = LogLost(f"The log of {self.name!r} lacks entries; Redis must keep what it was given.")
        self._vanish(error)
        raise error

    def _lose(self) -> None:
        """Stop producing, without a word in the log: it is another's now."""
        self.held = False
        self._pending.clear()
        self._pending_bytes = 0
        self._forgive()
        if self.producer is not None:
            self.producer.cancel()

    def _forgive(self) -> None:
        if self._orphaned is not None:
            self._orphaned.cancel()
            self._orphaned = None

    def _keep_up(self) -> None:
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        """Hold the lease, or follow the log, for as long as this worker produces or reads."""
        while not self.ended and self.lost is None and (self.held or self.readers):
            try:
                await (self._attend() if self.held else self._follow())
            except LogLost as error:
                await self._endure(error)
            except Exception as error:
                self._vanish(LogLost(f"Following {self.name!r} failed: {type(error).__name__}: {error}"))
                raise

    async def _attend(self) -> None:
        """Wait for the bell or for a third of the lease; then renew it, and do what the state says."""
        self._bell = await self.log.listen(self._bell, self.lease / 3)
        if self.ended or not self.held:
            return
        epoch = self.epoch
        told = await self.log.keep(epoch)
        if told is None:
            if self.held and self.epoch == epoch:
                self._lose()
            return
        self._alive_at = now()
        stop, others = told
        if stop:
            super().stop()
        elif self.readers or others:
            self._forgive()
        elif self._orphaned is None:
            self._orphaned = asyncio.get_running_loop().call_later(self.orphan_grace, self.orphan)

    async def _follow(self) -> None:
        """Wait for entries; when the lease is over, take over."""
        if now() >= self._look_at:
            known = await self._look(reading=self.readers > 0)
            if known is None:
                self._vanish(LogLost(f"The run {self.name!r} is gone; it ended, or nobody wrote it, long ago."))
                return
            if known.left <= 0 and not known.final:
                await self._take()
                return
            wait = self.lease / 3 if known.final else min(self.lease / 3, known.left + 0.01)
            self._alive_at, self._look_at = now(), now() + wait
            await self._reach(known.epoch, known.seq)
        await self._pull(max(0.001, self._look_at - now()))

    async def _look(self, *, reading: bool) -> Known | None:
        """Return the log's state, asked for again when this worker learned of another producer meanwhile."""
        while True:
            epoch = self.epoch
            known = await self.log.look(reading=reading)
            if self.epoch == epoch:
                return known

    async def _reach(self, epoch: int, seq: int) -> None:
        """Learn all that the log is said to hold. Raises LogLost, for good, when it holds less, or less was written."""
        if not self.ended and self.entries.epochs[-1:] > [epoch]:
            self._miss()
        while len(self.entries) < seq and self.lost is None:
            if self.held:  # Redis has answered already; the answer is on its way
                await super().wait(len(self.entries), self.lease)
            elif not await self._pull(0):
                self._miss()

    async def _pull(self, block: float) -> bool:
        """Read on; whether something came. Raises LogLost when it does not follow from what is known."""
        last = f"{self.entries[-1].epoch}-{self.entries[-1].seq}" if self.entries else "0-0"
        rows = await self.log.read(last, block)
        for row in rows:
            self._learn(row.seq, row.kind, row.told, row.epoch)
        if rows:
            self._alive_at = now()
            self.announce()
        return bool(rows)

    async def _take(self) -> None:
        """Take over, unless somebody was quicker: catch up, then end the log or let the request be produced anew."""
        async with self._taking:
            await self._take_in_turn()

    async def _take_in_turn(self) -> None:
        taken = await self.log.take()
        if taken is None:
            return
        self._lose()
        await self._reach(taken.epoch, taken.seq)
        if len(self.entries) > taken.seq:  # its readers have seen what is gone: they come back to what is there
            await self.log.release(taken.epoch)
            self._miss()
        writer = self.hold(taken.epoch, taken.seq)
        if taken.stop:
            writer.append("done", dict(STOPPED))
        else:
            self.start(self.retake(writer, taken.request))

    async def _endure(self, error: LogLost) -> None:
        """Wait a little for Redis; without it for a whole lease, stop producing, or tell the readers."""
        if now() - self._alive_at <= self.lease:
            await asyncio.sleep(min(0.2, self.lease / 10))
        elif self.held:
            self._lose()
        else:
            self._vanish(error)

    def _vanish(self, error: LogLost) -> None:
        self.lost = error
        self.announce()

    async def wait(self, after: int, block: float) -> None:
        """Wait for an entry after number `after`, as any run does. Raises LogLost when no more can come."""
        if self.lost is not None and len(self.entries) <= after:
            raise self.lost
        await super().wait(after, block)

    async def catch_up(self) -> bool:
        """Learn all that the log holds by now; False when there is none."""
        known = await self._look(reading=False)
        if known is None:
            return False
        if self.held and known.epoch != self.epoch:
            self._lose()
        await self._reach(known.epoch, known.seq)
        return True

    def join(self) -> None:
        """Count a reader in, and let the producer know."""
        super().join()
        if not self.held and not self.ended:
            if self.readers == 1:
                self._errand(lambda: self.log.look(reading=True))
            self._keep_up()

    def leave(self) -> None:
        """Count a reader out, and let the producer know when it was this worker's last."""
        if self.held:
            super().leave()
            return
        self.readers -= 1
        if not self.readers and not self.ended:
            self._errand(self.log.leave)

    def orphan(self) -> None:
        """Stop if nobody reads at any worker."""
        self._orphaned = None
        self._errand(self._stop_orphan)

    async def _stop_orphan(self) -> None:
        told = await self.log.keep(self.epoch) if self.held else None
        if told is not None and not told[1] and not self.readers:
            super().stop()

    def stop(self) -> None:
        """Stop the generation, whichever worker produces it. Twice is fine."""
        if self.held:
            super().stop()
        elif not self.ended:
            self._errand(self._ask_to_stop)

    async def _ask_to_stop(self) -> None:
        if not await self.log.stop():
            await self._take()

    def _errand(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Do something on the side; when Redis is away, what the lease does not cover ends anyhow."""

        async def run() -> None:
            with contextlib.suppress(LogLost):
                await work()

        task = asyncio.create_task(run())
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def close(self) -> None:
        """Let go of the run: send what waits, then give up the lease, so that another worker goes on at once."""
        if self._flusher is not None and self.held:
            await asyncio.wait({self._flusher}, timeout=1)
        if self.held and not self.ended:
            epoch = self.epoch
            self._lose()
            with contextlib.suppress(LogLost):
                await self.log.release(epoch)
        self._vanish(Moved("This worker stops; read on at another."))
        for task in (self._keeper, *self._errands):
            if task is not None:
                task.cancel()
