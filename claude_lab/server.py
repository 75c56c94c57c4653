"""The server: `POST /chat/stream` and its company, as a FastAPI app.

Divergence 1 (from the article): the status is honest. The head leaves when the upstream has answered or when `grace`
seconds have passed; a failure before that is an HTTP error, with the `error` frame as its body.
Divergence 2 (from the article): no `Connection` header, which is for the hop, not for the app.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, Header
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from claude_lab import entry, jupyter, page
from claude_lab.conversation import ChatRequest
from claude_lab.framed import FrameResponse
from claude_lab.guard import Guard
from claude_lab.intake import BODY, MOST_TOLD, chat
from claude_lab.kinds import RUN
from claude_lab.leaving import heard
from claude_lab.probe import Probe
from claude_lab.producing import Relay, load_upstream, unavailable
from claude_lab.retry import RetryPolicy
from claude_lab.runs import LogLost
from claude_lab.settings import Settings
from claude_lab.spending import Ledger
from claude_lab.ui_response import add_ui


def create_app(
    settings: Settings | None = None,
    *,
    policy: RetryPolicy | None = None,
    ledger: Ledger | None = None,
    prefix: str = "",
    say: entry.Say | None = None,
) -> Any:
    """Return the ASGI app; its `relay` attribute tells what it does.

    `prefix` is a capability path such as `/kGx...`: whoever does not know it gets 404. `say` gets the lines of the
    start; as a factory, without settings, the app writes them to stderr. Raises ValueError without a key, and for a key
    of the API that anybody could spend.
    """
    chosen = settings or Settings()
    entry.check(chosen, prefix=prefix)
    if settings is None and say is None:
        say = to_stderr
    relay = Relay(chosen, policy or chosen.policy, ledger or Ledger())

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if chosen.redis_url is not None:  # whoever may have to take over in mid-answer has no second to spare
            await asyncio.to_thread(load_upstream)
        if say is not None:
            say(entry.retries(chosen, relay.policy))
        with heard(relay.leave) if chosen.redis_url is not None else contextlib.nullcontext():
            yield
        await relay.close()

    app = FastAPIOffline(title="claude_lab", version="0.1.0", lifespan=lifespan, redoc_url=None)
    add_chat(app, relay)
    add_ui(app, relay, lambda **fields: ChatRequest(**fields).upstream(relay.settings.model))
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
    if chosen.redis_url is not None:
        guard.leave = relay.leave  # type: ignore[attr-defined]  # with a log in memory there is nowhere to send readers
    return guard


def to_stderr(line: str) -> None:
    """Say a line where a server's own log goes."""
    print(line, file=sys.stderr, flush=True)


def add_chat(app: FastAPI, relay: Relay) -> None:
    """Add the routes of runs."""

    @app.post("/chat/stream", response_class=Response, openapi_extra={"requestBody": BODY})
    async def ask(asked: Request, x_claude_lab_run: Annotated[str | None, Header()] = None) -> Response:
        """Stream an answer as server-sent events."""
        request = await chat(asked, relay.settings.model)
        if (held := jupyter.warning(asked.headers)) and held not in relay.warnings:
            relay.warnings.append(held)
        run = await relay.open(asked, x_claude_lab_run, request)
        response = FrameResponse(run, relay.settings)  # the first reader is counted before the producer starts
        relay.begin(run, request)
        return response

    @app.get("/chat/stream/{name}", response_class=Response)
    async def resume(name: str, asked: Request, last_event_id: Annotated[str | None, Header()] = None) -> Response:
        """Stream a run again, from behind `Last-Event-ID` on."""
        run, after = await relay.find(asked, name, last_event_id)
        try:
            return FrameResponse(run, relay.settings, after=after)
        except OverflowError as error:
            raise unavailable(error) from None

    @app.delete("/chat/stream/{name}", status_code=204)
    @app.post("/chat/stream/{name}/stop", status_code=204)
    async def stop(name: str, asked: Request) -> None:
        """Stop a run, and stop paying for it."""
        run, _ = await relay.find(asked, name)
        run.stop()


def add_company(app: FastAPI, relay: Relay) -> None:
    """Add health and the chat page."""

    @app.get("/health")
    @app.get("/health/live")
    async def health() -> dict[str, Any]:
        """Say that the server is up, how many runs are open, and how its attempts upstream went."""
        told = {"status": "ok", "timestamp": time.time(), "open_runs": relay.runs.open}
        return told | {"attempts": asdict(relay.tally)}

    @app.get("/health/ready")
    async def ready() -> dict[str, Any]:
        """Say the same if runs can be had; 503 when their log does not answer within a second."""
        try:
            await relay.runs.ready()
        except LogLost as error:
            raise unavailable(error) from None
        return await health()

    app.router.routes += page.routes()

    @app.exception_handler(RequestValidationError)
    async def refused(request: Any, error: RequestValidationError) -> Response:
        """Say what is wrong and where, not the whole request again; in ASCII, which half a character cannot break."""
        told = [{name: each[name] for name in ("type", "loc", "msg")} for each in error.errors()[:MOST_TOLD]]
        return Response(json.dumps({"detail": told}), 422, media_type="application/json")

    @app.exception_handler(404)
    async def missing(request: Any, error: Exception) -> JSONResponse:
        detail = getattr(error, "detail", "Not Found")
        return JSONResponse({"detail": detail}, 404)
