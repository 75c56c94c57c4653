"""`POST /chat/ui`: a run read by `useChat`, and the routes by which it asks, comes back and stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Query
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from claude_lab import ui, ui_request
from claude_lab.chats import Chats, SharedChats, Turn
from claude_lab.framed import HEADERS, FrameResponse
from claude_lab.intake import MOST_TOLD, made
from claude_lab.kinds import FINAL
from claude_lab.log import Entry
from claude_lab.runs import STOPPED, LogLost, Run
from claude_lab.settings import Settings

REFUSED = (HTTPException, ValueError, OverflowError, LogLost)
SENTENCE = {"content-type": "text/plain; charset=utf-8"}
Version = Annotated[int, Query(ge=6)]


class UIResponse(FrameResponse):
    """A run's frames as a UI message stream; an error before it begins is its sentence, which `useChat` shows.

    Raises OverflowError, as any reader of a run does that has as many as it may.
    """

    names: Mapping[str, str] = {**HEADERS, ui.HEADER: "v1"}
    moved = b""  # the protocol has no word for it
    most = 500

    def __init__(
        self,
        run: Run,
        settings: Settings,
        message_id: str,
        *,
        after: int = 0,
        version: int = 6,
        earlier: Sequence[ui.Part] = (),
    ) -> None:
        super().__init__(run, settings, after=after)
        self.begin = after
        self.made = partial(ui.Parts, message_id, resets=version >= 7, earlier=earlier)
        self.parts = self.made()
        self.void = ui.Void()

    @property
    def closing(self) -> bytes:  # type: ignore[override]  # a constant of the class above
        """What ends a body; one that ends in any other way than with a final frame shall not say that it is whole."""
        return ui.DONE if self.after and self.run.entries.kinds[self.after - 1] in FINAL else b""

    async def ready(self) -> None:
        """Read what was told before, or what was taken back of the whole, in slices: the loop goes on meanwhile."""
        kinds = self.run.entries.kinds
        if self.begin:
            await self._read(self.parts, self.begin)
        elif "reset" in kinds:
            await self._read(self.made(), len(kinds) - kinds[::-1].index("reset"))

    async def _read(self, parts: ui.Parts, end: int) -> None:
        for begin in range(0, end, self.most):
            for entry in self.run.entries[begin : min(end, begin + self.most)]:
                told = parts.of(entry.seq, entry.kind, entry.frame)
                if not self.begin:
                    self.void.note(entry.seq, entry.kind, told)
            await asyncio.sleep(0)

    def head(self, first: list[Entry]) -> tuple[int, dict[str, str]]:
        """Return the status and the headers that these first entries ask for."""
        status, extra = super().head(first)
        return status, extra if status == 200 else extra | SENTENCE

    def written(self, begin: int) -> bytes:
        """Return entries as parts, with their ids; without what was void when the first were written."""
        return b"".join(map(self._encoded, self.run.entries[begin : self.after]))

    def _encoded(self, entry: Entry) -> bytes:
        parts = self.parts.of(entry.seq, entry.kind, entry.frame)
        return ui.encode(self.void.left(entry.seq, parts), f"{entry.epoch}-{entry.seq}")

    def refused(self, entries: list[Entry]) -> bytes:
        """Return the last entry's sentence."""
        return str(entries[-1].frame["message"]).encode()


def add_ui(app: FastAPI, relay: Any, upstream: Callable[..., dict[str, Any]]) -> None:
    """Add the routes of `useChat` to the relay's; `upstream(**fields)` is a Messages API request, or a ValueError.

    A version of the `ai` package other than 6 is told by `?ai=`, which stays in the URL when it comes back.
    """

    def question(body: Any) -> tuple[ui_request.Asked, dict[str, Any]]:
        wanted = ui_request.read(body)
        return wanted, upstream(**wanted.fields)

    database = getattr(relay.runs, "database", None)
    chats = Chats() if database is None else SharedChats(database)

    @app.post("/chat/ui", response_class=Response)
    async def ask(
        asked: Request, x_claude_lab_run: Annotated[str | None, Header()] = None, ai: Version = 6
    ) -> Response:
        """Stream an answer to `useChat`."""
        try:
            wanted, request = await made(await body_of(asked), question)
            run = await relay.open(asked, x_claude_lab_run, request)
            turn = Turn.of(run.name, wanted.continues)
            try:
                await chats.put((relay.caller_of(asked), wanted.chat), turn)
            except LogLost:
                run.append("done", dict(STOPPED))  # nobody will write it
                raise
        except REFUSED as error:
            return refusal(error)
        response = UIResponse(run, relay.settings, turn.message_id, version=ai)  # counted before the producer starts
        relay.begin(run, request)
        return response

    add_return(app, relay, chats)


def add_return(app: FastAPI, relay: Any, chats: Chats | SharedChats) -> None:
    """Add the routes of a chat that has asked."""

    @app.get("/chat/ui/{chat:path}/stream", response_class=Response)
    async def resume(
        chat: str,
        asked: Request,
        x_claude_lab_run: Annotated[str | None, Header()] = None,
        last_event_id: Annotated[str | None, Header()] = None,
        ai: Version = 6,
    ) -> Response:
        """Stream a chat's last run again, from its beginning or from behind `Last-Event-ID`; 204 when there is none."""
        try:
            turn = await chats.get((relay.caller_of(asked), chat))
            if turn is None or x_claude_lab_run not in (None, turn.run):
                return Response(status_code=204)
            if turn.earlier is None and not last_event_id:
                raise HTTPException(409, "The message is too long to be built again from its beginning; ask again.")
            run, after = await relay.find(asked, turn.run, last_event_id)
            known = {"after": after, "earlier": turn.earlier or ()}
            return UIResponse(run, relay.settings, turn.message_id, version=ai, **known)
        except REFUSED as error:
            return refusal(error)

    @app.delete("/chat/ui/{chat:path}/stream", status_code=204)
    async def stop(chat: str, asked: Request) -> Response:
        """Stop a chat's last run, and stop paying for it."""
        try:
            if turn := await chats.get((relay.caller_of(asked), chat)):
                run, _ = await relay.find(asked, turn.run)
                run.stop()
        except REFUSED as error:
            return refusal(error)
        return Response(status_code=204)


def refusal(error: Exception) -> Response:
    """Return a refusal as its sentence: `useChat` shows the body as it is."""
    if isinstance(error, HTTPException):
        return PlainTextResponse(error.detail, error.status_code, error.headers)
    if isinstance(error, ValueError):
        return PlainTextResponse(sentence(error), 422)
    return PlainTextResponse(str(error), 503, {"retry-after": "5"})


async def body_of(asked: Request) -> bytes:
    """Read a request's body. Raises ValueError when its sender has left in the middle of it."""
    try:
        return await asked.body()
    except ClientDisconnect:
        raise ValueError("The body is no JSON; post {id, messages: [{role, parts}], trigger}.") from None


def sentence(error: ValueError) -> str:
    """Return what is wrong, in a sentence for a page; pydantic's own text is for developers."""
    if not isinstance(error, ValidationError):
        return str(error)
    told = error.errors(include_url=False, include_input=False)[:MOST_TOLD]
    return " ".join(f"{'.'.join(map(str, each['loc'])) or 'body'}: {plain(each['msg'])}." for each in told)


def plain(message: str) -> str:
    """Return a message of pydantic's without what is for developers, and without its end."""
    return message.removeprefix("Value error, ").rstrip(".")
