"""The endpoints of the Messages API: which method and path is answered by what. Values in, values out; no socket."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from claude_lab import batches, bodies, catalogue, chance, clauses, clock, gate, limits, presets, replies, tokens
from claude_lab.batches import Batch, Batches
from claude_lab.calls import Call
from claude_lab.faults import Refusal
from claude_lab.journal import Entry
from claude_lab.messages import Json, Usage
from claude_lab.responses import Response, Tags, decided, plain, refused
from claude_lab.scenario import Request, Scenario, World
from claude_lab.threads import Threads

CHOICE = "x-claude-lab-scenario"
WORLDS = 64
"""How many scenarios chosen by header are kept under way."""
BATCH_SECONDS = (0.2, 10.0)
"""A batch takes at least and at most so long."""
NOT_FOUND = Refusal(status=404, message="Not found")


class Endpoints:
    """The endpoints, as one scenario has them: its world, and the batches made in it."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.world = scenario.world()
        self._chosen: dict[str, World] = {}
        self._threads = Threads()
        self._batches = Batches(
            self._batch_answer, min(max(BATCH_SECONDS[0], self.world.pace.ttft * 4), BATCH_SECONDS[1])
        )

    def respond(self, call: Call) -> Response:
        """Return the response to a request: by its path, and only if its headers will do."""
        found = [(route, match) for route in ROUTES if (match := route[1].fullmatch(call.path))]
        if not found:
            return refused(NOT_FOUND, call.tags)
        chosen = next(((route, match) for route, match in found if route[0] == call.method), None)
        if chosen is None:
            return refused(Refusal(status=405, message="Method Not Allowed"), call.tags)
        if refusal := gate.refuse(call.headers) or too_large(call):
            return refused(refusal, call.tags)
        if call.method == "POST" and call.raw:
            try:
                call.body = call.entry.body = bodies.parse(call.raw)
            except ValueError as error:
                return refused(bodies.invalid(error), call.tags)
        return chosen[0][2](self, call, *chosen[1].groups())

    def messages(self, call: Call) -> Response:
        """Answer `POST /v1/messages`."""
        try:
            world = self._world(call)
        except ValueError as error:
            return refused(bodies.invalid(error), call.tags)
        entry, body = call.entry, self._threads.whole(call.body)
        if isinstance(body, Refusal):
            return refused(body, call.tags)
        if refusal := clauses.check(body, call.headers["anthropic-version"]):
            return refused(refusal, call.tags)
        size = tokens.count_request(body)
        if refusal := clauses.fits_window(body, size):
            return refused(refusal, call.tags)
        entry.stream = bool(body.get("stream"))
        decision = world.admit(entry.at, request_of(entry, body, size))
        if decision.reply is not None and decision.fault is None:
            self._threads.hold(body, decision.reply)
        levels = (decision.levels or limits.FREE) if world.scenario.headers else None
        tags = Tags(decision.request_id, levels)
        return decided(decision, tags, stream=entry.stream, padding=world.scenario.padding)

    def _world(self, call: Call) -> World:
        """Return the world of a request: its header's own, else everybody's. Raises ValueError for a bad header."""
        chosen = call.headers.get(CHOICE)
        if chosen is None:
            return self.world
        if chosen not in self._chosen:
            world = presets.read(chosen).world()
            while len(self._chosen) >= WORLDS:
                del self._chosen[next(iter(self._chosen))]
            self._chosen[chosen] = world
        return self._chosen[chosen]

    def count_tokens(self, call: Call) -> Response:
        """Answer `POST /v1/messages/count_tokens`."""
        if refusal := clauses.check(call.body, call.headers["anthropic-version"], counting=True):
            return refused(refusal, call.tags)
        return plain({"input_tokens": tokens.count_request(call.body)}, call.tags)

    def list_models(self, call: Call) -> Response:
        """Answer `GET /v1/models`."""
        return paged([catalogue.describe(model) for model in catalogue.MODELS.values()], call)

    def get_model(self, call: Call, id: str) -> Response:
        """Answer `GET /v1/models/{id}`; an alias answers for what it stands for."""
        model = catalogue.MODELS.get(id)
        if model is None:
            return refused(Refusal(status=404, message=f"model: {id}"), call.tags)
        return plain(catalogue.describe(catalogue.MODELS[model.alias_of or id]), call.tags)

    def create_batch(self, call: Call) -> Response:
        """Answer `POST /v1/messages/batches`."""
        made = self._batches.create(call.body, clock.date())
        return refused(made, call.tags) if isinstance(made, Refusal) else plain(made.json(call.base), call.tags)

    def list_batches(self, call: Call) -> Response:
        """Answer `GET /v1/messages/batches`, newest first."""
        found = [self._find(call, id) for id in reversed(self._batches.kept)]
        return paged([batch.json(call.base) for batch in found if batch], call)

    def _find(self, call: Call, id: str) -> Batch | None:
        return self._batches.find(id, clock.date(), call.headers["anthropic-version"])

    def on_batch(self, act: Callable[[Call, Batch], Response]) -> Callable[[Call, str], Response]:
        """Return an answer about one batch, or its 404."""

        def answer(call: Call, id: str) -> Response:
            batch = self._find(call, id)
            if batch is None:
                return refused(Refusal(status=404, message=f"Message batch {id} not found."), call.tags)
            return act(call, batch)

        return answer

    def get_batch(self, call: Call, id: str) -> Response:
        """Answer `GET /v1/messages/batches/{id}`."""
        return self.on_batch(lambda call, batch: plain(batch.json(call.base), call.tags))(call, id)

    def cancel_batch(self, call: Call, id: str) -> Response:
        """Answer `POST /v1/messages/batches/{id}/cancel`."""

        def act(call: Call, batch: Batch) -> Response:
            self._batches.cancel(batch, clock.date())
            return plain(batch.json(call.base), call.tags)

        return self.on_batch(act)(call, id)

    def delete_batch(self, call: Call, id: str) -> Response:
        """Answer `DELETE /v1/messages/batches/{id}`."""

        def act(call: Call, batch: Batch) -> Response:
            gone = self._batches.delete(batch)
            return refused(gone, call.tags) if isinstance(gone, Refusal) else plain(gone, call.tags)

        return self.on_batch(act)(call, id)

    def batch_results(self, call: Call, id: str) -> Response:
        """Answer `GET /v1/messages/batches/{id}/results`, as JSON lines."""

        def act(call: Call, batch: Batch) -> Response:
            if batch.ended is None:
                return refused(Refusal(status=404, message=f"Message batch {id} has no results yet."), call.tags)
            return plain(batches.results(batch), call.tags, kind="application/x-jsonl")

        return self.on_batch(act)(call, id)

    def _batch_answer(self, params: Json, name: str) -> Json:
        usage = Usage(tokens.count_request(params), tier="batch")
        reply = replies.compose(
            params,
            usage,
            voice=self.scenario.voice,
            think=catalogue.thinks(params["model"]),
            seed=self.scenario.seed,
            key=chance.key(name),
            attempt=1,
        )
        return reply.message()


Handler = Callable[..., Response]
ROUTES: tuple[tuple[str, re.Pattern[str], Handler], ...] = tuple(
    (method, re.compile(path), handler)
    for method, path, handler in (
        ("POST", "/v1/messages", Endpoints.messages),
        ("POST", "/v1/messages/count_tokens", Endpoints.count_tokens),
        ("GET", "/v1/models", Endpoints.list_models),
        ("GET", "/v1/models/([^/]+)", Endpoints.get_model),
        ("POST", "/v1/messages/batches", Endpoints.create_batch),
        ("GET", "/v1/messages/batches", Endpoints.list_batches),
        ("GET", "/v1/messages/batches/([^/]+)", Endpoints.get_batch),
        ("DELETE", "/v1/messages/batches/([^/]+)", Endpoints.delete_batch),
        ("POST", "/v1/messages/batches/([^/]+)/cancel", Endpoints.cancel_batch),
        ("GET", "/v1/messages/batches/([^/]+)/results", Endpoints.batch_results),
    )
)
"""What answers which method and path."""


def paged(items: list[Any], call: Call) -> Response:
    """Return one page of a list."""
    page = batches.page(items, call.query)
    return refused(page, call.tags) if isinstance(page, Refusal) else plain(page, call.tags)


def too_large(call: Call) -> Refusal | None:
    """Return the 413 of a body beyond the limit."""
    if call.size_bytes > bodies.LIMIT_BYTES:
        return Refusal(status=413, message="Request exceeds the maximum size", type="request_too_large")
    return None


def request_of(entry: Entry, body: Json, input_tokens: int) -> Request:
    """Return a valid request, its thread's part included, as the world sees it."""
    return Request(
        model=body["model"],
        max_tokens=body["max_tokens"],
        stream=entry.stream,
        input_tokens=input_tokens,
        body=body,
        call=entry.call,
        attempt=entry.attempt,
        fingerprint=entry.fingerprint,
    )
