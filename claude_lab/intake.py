"""The JSON of a request's body, and what is made of it; a large body in a thread, so that the event loop goes on.

One thread takes the large bodies in turn: values take up to thirty times the room of their text, and several bodies at
once would take it several times. Reading a body holds the interpreter for as long as its values take to be made, so
their number is bounded too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from claude_lab.bodies import parse
from claude_lab.conversation import ChatRequest

LARGE_BYTES = 256 * 1024
MOST_VALUES = 2_000_000
"""Counted as brackets and commas, also those within texts: so many are more tokens than a model reads."""
MOST_TOLD = 10
"""So many things that are wrong with a request are told at most, each place by so many characters at most."""
LONGEST_PLACE = 100
BODY = {"content": {"application/json": {"schema": ChatRequest.model_json_schema()}}, "required": True}
"""What the documentation says of the body."""
T = TypeVar("T")


async def made(raw: bytes, make: Callable[[Any], T]) -> T:
    """Return what `make` makes of a body's JSON. Raises ValueError for what is none, and what `make` raises."""
    if len(raw) <= LARGE_BYTES:
        return make(parse(raw))
    return await asyncio.get_running_loop().run_in_executor(turns(os.getpid()), lambda: make(parse(counted(raw))))


@lru_cache(maxsize=1)
def turns(process: int) -> ThreadPoolExecutor:
    """Return the one thread of a process; what forks has none of its parent's."""
    return ThreadPoolExecutor(1, "claude-lab-intake")


def counted(raw: bytes) -> bytes:
    """Pass a body on. Raises ValueError for one of more values than are read."""
    values = sum(raw.count(mark) for mark in (b",", b"{", b"["))
    if values > MOST_VALUES:
        raise ValueError(f"The request body has {values} commas and brackets; send at most {MOST_VALUES}.")
    return raw


async def chat(asked: Request, model: str) -> dict[str, Any]:
    """Read a `ChatRequest` and return the Messages API request, for `model` if it names none.

    Raises RequestValidationError for a body that is no JSON or none of ours.
    """
    try:
        return await made(await asked.body(), lambda body: ChatRequest.model_validate(body).upstream(model))
    except ValidationError as error:
        told = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**each, "loc": ("body", *map(brief, each["loc"]))} for each in told]) from None
    except ValueError as error:
        raise RequestValidationError([{"type": "json_invalid", "loc": ("body",), "msg": str(error)}]) from None
    except ClientDisconnect:
        raise HTTPException(400, "The request ended in the middle of its body.") from None


def brief(step: int | str) -> int | str:
    """Return a step of a place, cut to a length that can be shown."""
    return step if isinstance(step, int) else step[:LONGEST_PLACE]
