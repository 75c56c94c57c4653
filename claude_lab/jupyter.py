"""Jupyter as a proxy: where a port of this machine appears behind it, and when it would hold a stream.

jupyter-server-proxy (4.6, its handlers.py) streams an answer only to a request whose Accept is exactly
`text/event-stream`; any other is collected whole. JupyterHub puts a prefix in front of every path.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

CONTEXT = "x-proxycontextpath"
STREAMED = "text/event-stream"


def proxied(port: int, path: str = "/", *, environment: Mapping[str, str] | None = None) -> str:
    """Return the path under which a browser finds a local port: `<prefix>/proxy/<port>/...`.

    The prefix is JupyterHub's (`JUPYTERHUB_SERVICE_PREFIX`), or `/` on a server of one's own.
    """
    given = os.environ if environment is None else environment
    prefix = given.get("JUPYTERHUB_SERVICE_PREFIX", "/").rstrip("/")
    return f"{prefix}/proxy/{port}/{path.lstrip('/')}"


def warning(headers: Mapping[str, str]) -> str | None:
    """Return a sentence if this request came through jupyter-server-proxy in a way that will hold its stream, or None.

    `headers` has lower-case names. The proxy gives itself away by the context path that it adds.
    """
    accept = headers.get("accept", "")
    if CONTEXT not in headers or accept == STREAMED:
        return None
    return (
        f"This request came through jupyter-server-proxy with Accept {accept!r}, so its answer will arrive all at once; "
        f"send `Accept: {STREAMED}`, exactly."
    )
