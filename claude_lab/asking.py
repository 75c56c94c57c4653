"""What is asked, and by which way: a request's body and a route's address, checked before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from claude_lab.conversation import ChatRequest


def body_of(prompt: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request body. Raises ValueError, in the server's own words, for one it would refuse."""
    if not isinstance(prompt, str):
        raise ValueError(f"This cannot be asked: prompt={prompt!r:.60} is no text; give a str.")
    body = {"message": prompt, **{name: value for name, value in options.items() if value is not None}}
    try:
        ChatRequest.model_validate(body)
        json.dumps(body)
    except ValidationError as error:
        raise ValueError(f"This cannot be asked: {'; '.join(map(said, error.errors()))}") from None
    except TypeError as error:
        raise ValueError(f"This cannot be asked: {error}; give texts, numbers, lists and dicts.") from None
    return body


def said(wrong: Mapping[str, Any]) -> str:
    """Return what pydantic found, in a line; a sentence of our own without its wrapping."""
    where = ".".join(map(str, wrong["loc"]))
    if wrong["type"] == "value_error":
        return f"{where}: {wrong['ctx']['error']}" if where else str(wrong["ctx"]["error"])
    return f"{where or 'request'}: {wrong['msg']} (got {wrong['input']!r:.60})"


def address_of(route: Any, name: str = "through") -> str:
    """Return the URL of a route: its own, or that of anything with a `.url`. Raises ValueError for what has none."""
    address = getattr(route, "url", route)
    try:
        parts = urlsplit(address if isinstance(address, str) else "")
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        told = "give a URL such as 'http://127.0.0.1:8000', or anything with a `.url`"
        raise ValueError(f"{name}={address!r:.80} is no way to a server; {told}.")
    return str(address)
