"""What the article's server needs and offers: versions, a key, packages, validation, documentation."""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import anthropic
import fastapi
import httpx

from claims import bench
from claims.bench import ASK, LISTINGS, TEXT
from claude_lab import sse
from claude_lab.fake import FakeClaude
from claude_lab.lab import Lab
from claude_lab.scenario import Scenario

INSTALLED = ("fastapi", "uvicorn", "anthropic", "httpx")


@dataclass(frozen=True)
class Installed:
    """The versions of here, and what the listing does on them."""

    newer: bool
    frames: str


def on_these_versions(model: str = bench.NAMED) -> Installed:
    """Run the listing, word for word, on the versions that are installed."""
    with bench.article("sync", changes=((bench.NAMED, model),)) as served:
        frames = [
            json.loads(event.data) for event in sse.Decoder().feed(httpx.post(**served.ask(), trust_env=False).content)
        ]
    last = frames[-1]
    newer = numbers(anthropic.__version__) > (0, 97) and numbers(fastapi.__version__) > (0, 136)
    return Installed(newer, last.get("error") or last["type"])


def numbers(version: str) -> tuple[int, ...]:
    """Return a version's first two numbers."""
    return tuple(int(part) for part in version.split(".")[:2])


@dataclass(frozen=True)
class Python:
    """What the packages ask for."""

    oldest: str
    packages: int


def oldest_python(packages: tuple[str, ...] = (*INSTALLED, "httpx2")) -> Python:
    """Read the oldest Python that the four packages and the SDK's transport accept from their metadata."""
    asked = [importlib.metadata.metadata(name)["Requires-Python"] for name in packages]
    minors = [int(re.search(r">=\s*3\.(\d+)", each)[1]) for each in asked]  # type: ignore[index]  # all have one
    return Python(f"3.{max(minors)}", len(packages))


@dataclass(frozen=True)
class Keyless:
    """What happens without a key."""

    error: str
    lab_answered: bool


def without_a_key(key: str | None = None) -> Keyless:
    """Make the SDK's client without a key and ask once; ask a lab the same."""
    kept = {name: os.environ.pop(name) for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN") if name in os.environ}
    try:
        with FakeClaude(Scenario(answer=TEXT, pace="instant")) as fake, Lab(Scenario(pace="instant")) as lab:
            with anthropic.Anthropic(base_url=fake.url, api_key=key, max_retries=0) as sdk:
                try:
                    sdk.messages.create(**ASK)
                    error = "none"
                except Exception as problem:
                    error = type(problem).__name__
            return Keyless(error, lab.stream("?", view="off").error is None)
    finally:
        os.environ.update(kept)


@dataclass(frozen=True)
class Imports:
    """What the listings import, and who brings it."""

    third_party: tuple[str, ...]
    missing: tuple[str, ...]


def listings_imports(packages: tuple[str, ...] = INSTALLED) -> Imports:
    """Collect the imports of the article's Python listings and look for them in what the packages bring."""
    wanted = imported("\n".join(path.read_text("utf-8") for path in LISTINGS.glob("*.py")))
    there = brought(packages)
    return Imports(wanted, tuple(name for name in wanted if name not in there))


def imported(source: str) -> tuple[str, ...]:
    """Return the packages, beyond Python's own, that a source imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return tuple(sorted(found - sys.stdlib_module_names))


def brought(packages: tuple[str, ...] = INSTALLED, extra: str = "") -> set[str]:
    """Return these packages and what they require themselves; an optional requirement only for this extra."""
    needs = [need for name in packages for need in importlib.metadata.requires(name) or ()]
    plain = [need for need in needs if "extra ==" not in need or (extra and f"extra == '{extra}'" in need)]
    return {*packages, *(re.split(r"[^\w-]", need)[0] for need in plain)}


@dataclass(frozen=True)
class Validated:
    """How the article's schema takes odd bodies, and how it does with ranges."""

    without_message: int
    wrong_type: int
    below_zero: int
    empty_message: int
    with_ranges: tuple[int, ...]
    documented: tuple[str, ...]


ODD: tuple[dict[str, Any], ...] = (
    {},
    {"message": "hi", "max_tokens": "many"},
    {"message": "hi", "max_tokens": -5},
    {"message": ""},
)
FIELD = '__import__("pydantic").Field'
RANGES = (
    ("message: str\n", f"message: str = {FIELD}(min_length=1)\n"),
    ("max_tokens: int = 1024", f"max_tokens: int = {FIELD}(1024, ge=1)"),
)
"""The schema's two lines as they would have to be."""


def validation(ranges: bool = False, least: int = 1) -> Validated:
    """Post odd bodies to the article's endpoint, then to one whose schema has ranges; read its OpenAPI document."""
    ranged_as = tuple((old, new.replace("ge=1", f"ge={least}")) for old, new in RANGES)
    with ThreadPoolExecutor() as together:
        (plain, fields), (ranged, _) = together.map(posted, (RANGES if ranges else (), ranged_as))
    return Validated(*plain, ranged, fields)


def posted(changes: tuple[tuple[str, str], ...]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the statuses for odd bodies, and the documented fields, of the listing with these changes."""
    with bench.article("async", changes=changes) as served:
        url = f"{served.url}/chat/stream"
        statuses = tuple(httpx.post(url, json=body, trust_env=False).status_code for body in ODD)
        schemas = httpx.get(f"{served.url}/openapi.json", trust_env=False).json()["components"]["schemas"]
    return statuses, tuple(schemas["ChatRequest"]["properties"])


@dataclass(frozen=True)
class Docs:
    """The documentation's page."""

    status: int
    swagger: bool
    outside: tuple[str, ...]


def swagger(server: str = "article") -> Docs:
    """Open /docs on the article's server, and note where the page loads its scripts from."""
    with contextlib.ExitStack() as stack:
        made: Any = stack.enter_context(bench.article("async") if server == "article" else Lab())
        page = httpx.get(f"{made.url}/docs", trust_env=False)
    hosts = set(re.findall(r'(?:src|href)="https?://([^/"]+)', page.text))
    return Docs(page.status_code, "swagger-ui" in page.text, tuple(sorted(hosts)))
