"""The status card of a lab: what runs, where, and what it may spend; as HTML and as text.

The card never holds a key, only whether there is one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from html import escape
from urllib.parse import urlsplit

from claude_lab.still import style


def proxied(url: str) -> str | None:
    """Return the path at which a hub's proxy shows a loopback URL to the browser, or None outside a hub.

    The path is the one jupyter-server-proxy serves, under the prefix that JupyterHub gives the user's server.
    """
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if not prefix:
        return None
    parts = urlsplit(url)
    return f"{prefix.rstrip('/')}/proxy/{parts.port}{parts.path}"


def spent(dollars: float, ceiling: float | None) -> str:
    """Return what was spent, and the ceiling, in dollars."""
    return f"${dollars:.4f}" + ("" if ceiling is None else f" of at most ${ceiling:.2f}")


def html(title: str, facts: Mapping[str, str], *, url: str = "") -> str:
    """Return the card: a heading, the facts as a table, and links to the lab and its docs.

    Behind a hub the links go through its proxy, since the browser is on another machine.
    """
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left;padding:1px 14px 1px 0;font-weight:600">{escape(name)}</th>'
        f'<td style="text-align:left;padding:1px 0">{escape(value)}</td></tr>'
        for name, value in facts.items()
    )
    return (
        f'<div class="claude-lab cl-still"><style>{style()}</style>'
        f'<div class="cl-head"><strong class="cl-title">{escape(title)}</strong></div>'
        f'<table style="margin:2px 0 4px;border-collapse:collapse;font-size:13px">{rows}</table>{links(url)}</div>'
    )


def links(url: str) -> str:
    """Return the links to the lab and its docs, or nothing without a URL."""
    if not url:
        return ""
    seen = proxied(url) or url
    anchors = [
        f'<a href="{escape(seen + path)}" target="_blank" rel="noopener">{escape(name)}</a>'
        for name, path in (("chat page", "/"), ("API docs", "/docs"), ("health", "/health"))
    ]
    return f'<div class="cl-note">{" · ".join(anchors)}</div>'


def text(title: str, facts: Mapping[str, str]) -> str:
    """Return the card as lines of text."""
    width = max((len(name) for name in facts), default=0)
    return "\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in facts.items())])
