"""The server: `POST /chat/stream` and its company, as a FastAPI app.

Divergence 1 (from the article): the status is honest. The head leaves when the upstream has answered or when `grace`
seconds have passed; a failure before that is an HTTP error, with the `error` frame as its body.
Divergence 2 (from the article): no `Connection` header, which is for the hop, not for the app.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from claude_lab import jupyter
from claude_lab.attempts import Attempts, all_of, log_attempt
from claude_lab.clock import now
from claude_lab.contract import Translator, error_frame
from claude_lab.failure import Failure
from claude_lab.framed import RUN, FrameResponse
from claude_lab.guard import Guard
from claude_lab.probe import Probe
from claude_lab.retry import Attempt, RetryPolicy
from claude_lab.runs import Run, Runs, new_name, seq_of
from claude_lab.settings import Settings
from claude_lab.spending import CeilingReached, Ledger

MAX_TOKENS = 128_000


class ChatRequest(BaseModel):
    """What to ask: a `message`, or `messages` for a conversation; not both empty."""

    model_config = ConfigDict(extra="forbid")

    message: str = ""
    messages: list[dict[str, Any]] | None = None
    max_tokens: int = Field(default=1024, ge=1, le=MAX_TOKENS)
    system: str | None = None
    model: str | None = None

    @model_validator(mode="after")
    def ask_something(self) -> ChatRequest:
        """Refuse a request without a question."""
        if not self.message.strip() and not self.messages:
            raise ValueError("The message is empty; send some text in `message`, or a conversation in `messages`.")
        return self

    def upstream(self, model: str) -> dict[str, Any]:
        """Return the Messages API request."""
        said = list(self.messages or ())
        if self.message.strip():
            said.append({"role": "user", "content": self.message})
        request = {"model": self.model or model, "max_tokens": self.max_tokens, "messages": said}
        return request | ({"system": self.system} if self.system else {})


class Relay:
    """Asks the upstream for runs: the settings, the client, the policy and the accounts behind one app."""

    def __init__(self, settings: Settings, policy: RetryPolicy, ledger: Ledger) -> None:
        self.settings = settings
        self.policy = policy
        self.ledger = ledger
        self.share = policy.share()
        self.runs = Runs()
        self.client: Any = None
        self.warnings: list[str] = []

    async def produce(self, run: Run, request: dict[str, Any]) -> None:
        """Write a run's log: frames as they come, and one final frame whatever happens."""
        translator = Translator(run.name, now())
        try:
            await self._relay(run, request, translator)
        except asyncio.CancelledError:
            run.append(*translator.done("stopped"))
            if not run.stopping:
                raise
        except CeilingReached as error:
            run.append(*error_frame(Failure("invalid_request", str(error))))
        except Exception as error:
            from claude_lab.upstream import failure_of

            run.append(*error_frame(failure_of(error)))

    async def _relay(self, run: Run, request: dict[str, Any], translator: Translator) -> None:
        # The SDK takes a second to import: off the loop, so that the server answers meanwhile.
        upstream = await asyncio.to_thread(load_upstream)

        if self.client is None:
            self.client = upstream.make_client(self.settings)

        def announce(attempt: Attempt) -> None:
            if attempt.failure is not None and attempt.wait is not None:
                wait = round(attempt.wait, 6)
                run.append("retry", {"error": attempt.failure.kind, "attempt": attempt.number, "wait": wait})

        attempts = Attempts(self.policy, self.share, all_of(log_attempt, announce))
        batches = upstream.events(
            self.client, request, attempts, ledger=self.ledger, idle_timeout=self.settings.idle_timeout
        )
        async with contextlib.aclosing(batches):
            async for batch in batches:
                for event in batch:
                    for frame in translator.frames(event, now()):
                        run.append(*frame)
                    if event["type"] == "ping":
                        run.ping()

    async def close(self) -> None:
        """Stop every run and close the client."""
        for run in self.runs.runs.values():
            run.stop()
        if self.client is not None:
            await self.client.close()


def load_upstream() -> Any:
    """Import the module that imports the SDK."""
    from claude_lab import upstream

    return upstream


def create_app(
    settings: Settings | None = None,
    *,
    policy: RetryPolicy | None = None,
    ledger: Ledger | None = None,
    prefix: str = "",
) -> Any:
    """Return the ASGI app; its `relay` attribute tells what it does.

    `prefix` is a capability path such as `/kGx...`: whoever does not know it gets 404.
    """
    chosen = settings or Settings()
    relay = Relay(chosen, policy or RetryPolicy(**chosen.retry_fields), ledger or Ledger())

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await relay.close()

    app = FastAPIOffline(title="claude_lab", version="0.1.0", lifespan=lifespan, redoc_url=None)
    add_chat(app, relay)
    add_company(app, relay)
    app.router.routes.append(Route("/_lab/probe", Probe()))
    if chosen.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(chosen.allowed_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type", "last-event-id", RUN],
            expose_headers=[RUN, "retry-after"],
        )
    token = chosen.token.get_secret_value() if chosen.token else None
    guard = Guard(app, hosts=chosen.allowed_hosts, origins=chosen.allowed_origins, token=token, prefix=prefix)
    guard.relay = relay  # type: ignore[attr-defined]  # for whoever serves it
    return guard


def add_chat(app: FastAPI, relay: Relay) -> None:
    """Add the routes of runs."""

    @app.post("/chat/stream", response_class=Response)
    async def ask(
        body: ChatRequest, asked: Request, x_claude_lab_run: Annotated[str | None, Header()] = None
    ) -> Response:
        """Stream an answer as server-sent events."""
        if (held := jupyter.warning(asked.headers)) and held not in relay.warnings:
            relay.warnings.append(held)
        try:
            run = relay.runs.add(x_claude_lab_run or new_name(), relay.settings.orphan_grace)
        except ValueError as error:
            raise HTTPException(409, str(error)) from None
        except OverflowError as error:
            raise HTTPException(503, str(error), {"retry-after": "5"}) from None
        response = FrameResponse(run, relay.settings)
        run.start(relay.produce(run, body.upstream(relay.settings.model)))
        return response

    @app.get("/chat/stream/{name}", response_class=Response)
    async def resume(name: str, last_event_id: Annotated[str | None, Header()] = None) -> Response:
        """Stream a run again, from behind `Last-Event-ID` on."""
        run = found(relay, name)
        try:
            after = seq_of(last_event_id) if last_event_id else 0
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        return FrameResponse(run, relay.settings, after=min(after, len(run.entries)))

    @app.delete("/chat/stream/{name}", status_code=204)
    @app.post("/chat/stream/{name}/stop", status_code=204)
    async def stop(name: str) -> None:
        """Stop a run, and stop paying for it."""
        found(relay, name).stop()


def found(relay: Relay, name: str) -> Run:
    """Return the run of that name, or answer 404."""
    run = relay.runs.get(name)
    if run is None:
        raise HTTPException(404, f"There is no run {name[:70]!r}; it may have ended long ago.")
    return run


def add_company(app: FastAPI, relay: Relay) -> None:
    """Add health and the chat page."""

    @app.get("/health")
    @app.get("/health/live")
    @app.get("/health/ready")
    async def health() -> dict[str, Any]:
        """Say that the server is up."""
        return {"status": "ok", "timestamp": time.time(), "open_runs": relay.runs.open}

    @app.get("/", response_class=HTMLResponse)
    async def page() -> str:
        """Show a small chat page."""
        return (files("claude_lab") / "static" / "chat.html").read_text("utf-8")

    @app.exception_handler(404)
    async def missing(request: Any, error: Exception) -> JSONResponse:
        detail = getattr(error, "detail", "Not Found")
        return JSONResponse({"detail": detail}, 404)
