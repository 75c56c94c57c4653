"""Jupyter as a proxy: when it would hold a stream.

jupyter-server-proxy (4.6, its handlers.py) streams an answer only to a request whose Accept is exactly
`text/event-stream`; any other is collected whole.
"""

from __future__ import annotations

from collections.abc import Mapping

CONTEXT = "x-proxycontextpath"
STREAMED = "text/event-stream"


def warning(headers: Mapping[str, str]) -> str | None:
    """Return a sentence if this request came through jupyter-server-proxy in a way that will hold its stream, or None.

    `headers` has lower-case names. The proxy gives itself away by the context path that it adds.
    """
    accept = headers.get("accept", "")
    if CONTEXT not in headers or accept == STREAMED:
        return None
    return (
        f"This request came through jupyter-server-proxy with Accept {accept!r}, so its answer will arrive at once; "
        f"send `Accept: {STREAMED}`, exactly."
    )
