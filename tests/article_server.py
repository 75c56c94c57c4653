"""The article's server as its listings give it, and as two of its remarks change it; started as the article does.

Its upstream needs no change: the SDK reads ANTHROPIC_BASE_URL when the client is made.
"""

from __future__ import annotations

from pathlib import Path

LISTING = Path(__file__).parent / "article" / "server.py"
CHANGES = {
    "sync": {},
    # "To avoid blocking uvicorn's event loop inside an async FastAPI route, use AsyncAnthropic instead"
    "async": {
        "anthropic.Anthropic(": "anthropic.AsyncAnthropic(",
        "        with client.messages": "        async with client.messages",
        "            for text in": "            async for text in",
    },
}
"""Which words of the listing give way to which."""


def source(client: str) -> str:
    """Return the server's source with the "sync" or the "async" client; each change is made exactly once."""
    text = LISTING.read_text("utf-8")
    for old, new in CHANGES[client].items():
        if text.count(old) != 1:
            raise ValueError(f"{old!r} is {text.count(old)} times in the listing; it must be there once.")
        text = text.replace(old, new)
    return text


def write(folder: Path, client: str) -> None:
    """Write it as `main.py`, for `uvicorn main:app`."""
    (folder / "main.py").write_text(source(client), "utf-8")
