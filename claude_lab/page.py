"""The chat page at `/`: static files, and the reader among them; nothing inline, and nothing from elsewhere."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from claude_lab.assets import joined

TYPES = {
    "chat.css": "text/css; charset=utf-8",
    "chat.js": "text/javascript; charset=utf-8",
    "reader.js": "text/javascript; charset=utf-8",
    "ui.js": "text/javascript; charset=utf-8",
}
PATHS = frozenset({"", "/", *(f"/{name}" for name in TYPES)})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


async def page(request: Request) -> Response:
    """Return the page."""
    return Response(joined("chat.html"), media_type="text/html; charset=utf-8", headers=HEADERS)


async def file(request: Request) -> Response:
    """Return one of the page's files."""
    name = request.url.path.rpartition("/")[2]
    return Response(joined(name), headers={**HEADERS, "content-type": TYPES[name]})


def routes() -> list[Route]:
    """Return the page's routes."""
    return [Route("/", page), *(Route(f"/{name}", file) for name in TYPES)]
