"""Steps 1 and 4 of the article: its tree of files, the key in one of them, and the image made of them."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from claims import bench
from claims.bench import LISTINGS

KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")


def tree() -> tuple[str, ...]:
    """Return the names of the files in the article's tree."""
    return tuple(re.findall(r"── (\S+)", (LISTINGS / "tree.txt").read_text("utf-8")))


@dataclass(frozen=True)
class Key:
    """Whether the listing's client has the key of `.env`, as the article starts it and told of the file."""

    as_started: bool
    told: bool
    ignore_files: tuple[str, ...]


def key_in_a_file(name: str = ".env", *, loads: bool = False) -> Key:
    """Put the key into `.env`, and start the listing by `uvicorn main:app`, then with `--env-file .env`."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path(name).write_text("ANTHROPIC_API_KEY=from-the-file\n", "utf-8")
        found = [has_key(file, loads=loads) for file in (None, ".env")]
    return Key(*found, tuple(each for each in tree() if each in (".gitignore", ".dockerignore")))


def has_key(env_file: str | None, *, loads: bool) -> bool:
    """Configure uvicorn as its command line does, then run the listing in a process without a key of its own."""
    more = [("import os\n", "import os\nfrom dotenv import load_dotenv\nload_dotenv('.env')\n")] if loads else []
    source = bench.replaced(bench.article_server.source("sync"), more)
    names: dict[str, Any] = {"__name__": "main"}
    with bench.environment(*KEYS):
        uvicorn.Config("main:app", env_file=env_file, log_config=None)
        exec(compile(source, "main.py", "exec"), names)
    with names["client"] as client:
        return client.api_key == "from-the-file"


@dataclass(frozen=True)
class Image:
    """What the Dockerfile copies by name, and what of it is not in the tree."""

    copied: tuple[str, ...]
    missing: tuple[str, ...]
    missing_once_written: tuple[str, ...]


def image(add: tuple[str, ...] = (), *, written: tuple[str, ...] = ("requirements.txt",)) -> Image:
    """Look for each file that the article's Dockerfile copies by name in the article's tree."""
    copied, there = tuple(sources()), {*tree(), *add}
    missing = tuple(name for name in copied if name not in there)
    return Image(copied, missing, tuple(name for name in missing if name not in written))


def sources() -> Iterator[str]:
    """Yield what the Dockerfile's COPY lines name, but for the whole folder."""
    for line in (LISTINGS / "Dockerfile").read_text("utf-8").splitlines():
        if line.startswith("COPY "):
            yield from (name for name in line.split()[1:-1] if name != ".")
