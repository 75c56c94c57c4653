"""An nginx configuration as values: its proxied locations, and which directive is in force in each."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZE = re.compile(r"(\d+)([kKmMgG]?)")
TIME = re.compile(r"(\d+)(ms|s|m|h|d|w|M|y)?")
UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
SECONDS = {"ms": 0.001, None: 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000}


class ConfError(ValueError):
    """A configuration that cannot be read, with the place and the reason."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One line: its name, its words, and where it stands."""

    name: str
    args: tuple[str, ...]
    line: int
    file: str = ""


@dataclass(frozen=True, slots=True)
class Location:
    """A `location` and what is in force in it: `levels` are the directives of http, server, location, in this order.

    A directive on an inner level replaces all of the same name on outer ones; so nginx treats those that concern us.
    """

    path: str
    line: int
    levels: tuple[tuple[Directive, ...], ...]
    file: str = ""
    modifier: str = ""

    def all(self, name: str) -> tuple[Directive, ...]:
        """Return the directives of this name in force: those of the innermost level that has any."""
        for level in reversed(self.levels):
            if found := tuple(directive for directive in level if directive.name == name):
                return found
        return ()

    def everywhere(self, name: str) -> tuple[Directive, ...]:
        """Return the directives of this name on any level."""
        return tuple(directive for level in self.levels for directive in level if directive.name == name)

    def get(self, name: str, default: str = "") -> str:
        """Return the first word of a directive in force."""
        found = self.all(name)
        return found[-1].args[0] if found and found[-1].args else default

    def flag(self, name: str, *, default: bool) -> bool:
        """Return an on/off directive."""
        return self.get(name, "on" if default else "off") == "on"

    def words(self, name: str) -> tuple[str, ...]:
        """Return all words of a directive in force."""
        return tuple(word for directive in self.all(name) for word in directive.args)

    @property
    def upstream(self) -> str:
        """Where `proxy_pass` sends requests, or an empty string: it is not inherited."""
        passes = [directive for directive in self.levels[-1] if directive.name == "proxy_pass"]
        return passes[-1].args[0] if passes else ""

    def listens(self, word: str) -> bool:
        """Whether a `listen` of this server has this word, such as "ssl" or "http2"."""
        return any(word in directive.args[1:] for directive in self.everywhere("listen"))


def size_bytes(text: str) -> int:
    """Read a size such as `8k`; raises ConfError."""
    if not (found := SIZE.fullmatch(text)):
        raise ConfError(f"{text!r} is no size; write bytes, or a number with k or m.")
    return int(found[1]) * UNITS[found[2].lower()]


def seconds(text: str) -> float:
    """Read a time such as `60s` or `1h 30m`; raises ConfError."""
    parts = [TIME.fullmatch(part) for part in re.findall(r"\d+[a-zA-Z]*", text)] or [None]
    if not all(parts):
        raise ConfError(f"{text!r} is no time; write seconds, or a number with ms, s, m, h or d.")
    return sum(int(part[1]) * SECONDS[part[2]] for part in parts if part)


def locations(text: str) -> list[Location]:
    """Return the locations of a configuration's text, outermost first; its includes are left alone.

    Text that is only directives counts as one location, so a snippet from a page can be read. Raises ConfError.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "nginx.conf")
        path.write_text(text)
        return [*found(parsed(path, follow=False), name="")]


def locations_of(path: Path | str) -> list[Location]:
    """Return the locations of a configuration file and of all that it includes; raises ConfError, OSError."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}; name an nginx configuration.")
    return [*found(parsed(Path(path), follow=True), name=str(path))]


def parsed(path: Path, *, follow: bool) -> list[dict[str, Any]]:
    """Return crossplane's tree of a file."""
    import crossplane  # only those who read a configuration need it

    payload = crossplane.parse(str(path), single=not follow, combine=follow, check_ctx=False, check_args=False)
    errors = [error for error in payload["errors"] if "No such file" not in str(error["error"])]
    if errors:
        line, reason = errors[0].get("line"), re.sub(r" in \S+nginx\.conf\S*$", "", str(errors[0]["error"]))
        raise ConfError(f"The configuration cannot be read: line {line}: {reason}.")
    return [block for config in payload["config"] for block in config["parsed"]]


def found(tree: list[dict[str, Any]], *, name: str) -> Iterator[Location]:
    """Yield the locations in a tree."""
    yield from walk(tree, (), name)
    level = own(tree, name)
    if any(directive.name.startswith(("proxy_", "gzip")) for directive in level) and not any(
        block["directive"] in ("http", "server", "location") for block in tree
    ):
        yield Location("/", 1, (level,), name)


def walk(tree: list[dict[str, Any]], levels: tuple[tuple[Directive, ...], ...], name: str) -> Iterator[Location]:
    """Yield the locations below a block, each with the levels above it."""
    here = (*levels, own(tree, name))
    for block in tree:
        if block["directive"] in ("http", "server"):
            yield from walk(block["block"], here, name)
        elif block["directive"] == "location":
            *modifier, path = block["args"]
            inner = (*here, own(block["block"], name))
            file = block.get("file", name)
            yield Location(path, block["line"], inner, file, modifier[0] if modifier else "")
            yield from walk(block["block"], here, name)


def own(tree: list[dict[str, Any]], name: str) -> tuple[Directive, ...]:
    """Return a block's own simple directives."""
    return tuple(
        Directive(block["directive"], tuple(block["args"]), block["line"], block.get("file", name))
        for block in tree
        if "block" not in block
    )
