"""Asks the upstream for runs: who may have one, what is produced into it, and how it goes on after a failure."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Iterable
from typing import Any

from fastapi import HTTPException
from starlette.requests import Request

from claude_lab.attempts import Attempts, Tally, all_of, log_attempt, retry_frame
from claude_lab.clock import now
from claude_lab.contract import Frame, Translator, error_frame
from claude_lab.failure import Failure
from claude_lab.mending import last_frame, mended
from claude_lab.recovery import Came
from claude_lab.redis_scripts import THOUSAND
from claude_lab.retry import Attempt, RetryPolicy
from claude_lab.runs import Bounds, LogLost, Run, Runs, Writer, new_name
from claude_lab.settings import Settings
from claude_lab.shared_runs import SharedRuns
from claude_lab.spending import Ledger, known_cost

SHORTEST_KEY = 12
MAX_EPOCHS = 4
"""How many producers a run may have: a request that kills its worker must not kill them all."""


class Relay:
    """Asks the upstream for runs: the settings, the client, the policy and the accounts behind one app."""

    def __init__(self, settings: Settings, policy: RetryPolicy, ledger: Ledger) -> None:
        self.settings = settings
        self.policy = policy
        self.ledger = ledger
        self.share = policy.share()
        self.tally = Tally()
        self.runs = self._runs()
        self.client: Any = None
        self.upstream: Any = None
        self.warnings: list[str] = []

    def _runs(self) -> Runs | SharedRuns:
        """Return where runs are kept: in memory, or in the Redis that the settings name."""
        chosen = self.settings
        bounds = Bounds(chosen.max_runs, chosen.max_run_bytes, chosen.max_readers, chosen.run_age, chosen.max_bytes)
        if chosen.redis_url is None:
            return Runs(bounds)
        url = chosen.redis_url.get_secret_value()
        return SharedRuns(url, bounds, lease=chosen.lease, orphan_grace=chosen.orphan_grace, retake=self.retake)

    async def produce(self, run: Writer, request: dict[str, Any], written: Iterable[Frame] = ()) -> None:
        """Write a run's log: frames as they come, and one final frame whatever happens.

        `written` is what a worker that died had written of it; the answer is finished as `mending.mended` says.
        """
        came = list(written)
        translator = Translator.after(run.name, now(), came)
        translator.most_bytes = self.settings.max_run_bytes
        try:
            await self._relay(run, request, translator, came)
        except asyncio.CancelledError:
            run.append(*translator.done("stopped"))
            if not run.stopping:
                raise
        except Exception as error:
            from claude_lab.upstream import failure_of

            kind, frame = last_frame(error, failure_of)
            run.append(kind, self.without_key(frame))

    def without_key(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Return a frame without the key, should an upstream have said it back anywhere; what is short is no key."""
        key = self.settings.api_key.get_secret_value() if self.settings.api_key else ""
        if len(key) < SHORTEST_KEY:
            return frame
        said = {name: told.replace(key, "[redacted]") for name, told in frame.items() if isinstance(told, str)}
        return frame | said

    async def retake(self, run: Writer, request: dict[str, Any]) -> None:
        """Go on with the answer of a worker that died, as the strategy says; but not for ever."""
        if run.epoch % THOUSAND > MAX_EPOCHS:
            run.append(*error_frame(Failure("server_error", f"{MAX_EPOCHS} workers died over this answer.")))
            return
        await self.produce(run, request, [(entry.kind, entry.frame) for entry in run.run.entries])

    async def _relay(self, run: Writer, request: dict[str, Any], translator: Translator, came: list[Frame]) -> None:
        # The SDK takes a second to import: off the loop, so that the server answers meanwhile.
        upstream = self.upstream = self.upstream or await asyncio.to_thread(load_upstream)

        if self.client is None:
            self.client = upstream.make_client(self.settings)

        def announce(attempt: Attempt) -> None:
            if (told := retry_frame(attempt)) is not None:
                run.append("retry", told)

        attempts = Attempts(self.policy, self.share, all_of(log_attempt, announce, self.tally.watch))
        bounds = {"idle_timeout": self.settings.idle_timeout, "most_bytes": self.settings.max_run_bytes}
        ask = upstream.asker(self.client, attempts, ledger=self.ledger, **bounds)
        mending = self.settings.recovery != "fail"
        batches = mended(
            ask,
            request,
            lambda: Came.of(came, ended=translator.stop_reason is not None),
            strategy=self.settings.recovery,
            attempts=attempts,
            judge=upstream.failure_of,
            died=bool(came),
        )
        async with contextlib.aclosing(batches):
            async for batch in batches:
                made = translator.frames(batch, now)
                run.extend(made)
                if mending:
                    came += made
                if not made and any(event["type"] == "ping" for event in batch):
                    run.ping()

    async def open(self, asked: Request, name: str | None, request: dict[str, Any]) -> Run:
        """Register a run for whoever asks, by their name or a new one. Raises HTTPException 409, 422 or 503."""
        if self.ledger.ceiling is not None and known_cost(request["model"], {}) is None:
            raise HTTPException(422, f"There is a ceiling and no price for {request['model']!r}; ask another model.")
        grace, caller = self.settings.orphan_grace, self.caller_of(asked)
        try:
            return await self.runs.add(name or new_name(), grace, caller=caller, request=request)
        except ValueError as error:
            raise HTTPException(409, str(error)) from None
        except (OverflowError, LogLost) as error:
            raise unavailable(error) from None

    def begin(self, run: Run, request: dict[str, Any]) -> None:
        """Ask the upstream, and let the answer be written into the run."""
        run.start(self.produce(Writer(run), request))

    async def find(self, asked: Request, name: str, last_event_id: str | None = None) -> tuple[Run, int]:
        """Return the caller's run and the place behind an event id, 0 without one. Raises HTTPException 404 or 400."""
        try:
            run = await self.runs.get(name, caller=self.caller_of(asked))
        except LogLost as error:
            raise unavailable(error) from None
        if run is None:
            raise HTTPException(404, f"There is no run {name[:70]!r}; it may have ended long ago.")
        try:
            return run, run.place(last_event_id) if last_event_id else 0
        except ValueError as error:
            raise HTTPException(400, str(error)) from None

    def caller_of(self, asked: Request) -> str:
        """Return who asks, as a digest of the token and the prefix: a run is found by the caller that made it only."""
        token = asked.headers.get("authorization", "").partition(" ")[2] if self.settings.token else ""
        return hashlib.sha256(f"{token}\n{asked.scope.get('root_path', '')}".encode()).hexdigest()[:32]

    async def leave(self) -> None:
        """Hand the runs over, where another worker has them too; their readers are told."""
        await self.runs.leave()

    async def close(self) -> None:
        """Stop every run and close the client."""
        await self.runs.close()
        if self.client is not None:
            await self.client.close()


def unavailable(error: Exception) -> HTTPException:
    """Return the refusal of what would pass a bound, or needs a log that cannot be reached."""
    return HTTPException(503, str(error), {"retry-after": "5"})


def load_upstream() -> Any:
    """Import the module that imports the SDK."""
    from claude_lab import upstream

    return upstream
