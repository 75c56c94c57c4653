"""What a proxy is told to do: one frozen value, from keywords, a preset, or an nginx configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Self

from claude_lab.directives import ConfError, Location, locations, seconds, size_bytes

Hold = Literal["nginx", "clumps", "everything"]
HTTP_1_1_BY_DEFAULT = (1, 29, 7)
CRLF_COUNTED = (1, 29, 4)


@dataclass(frozen=True, slots=True)
class Rule:
    """How one hop treats a response; the defaults are those of nginx 1.22 on a machine with 4 KB pages.

    Sizes are in bytes, times in seconds. `hold` says whose rule it is: nginx's, or a stand-in for proxies that release
    in "clumps" of `clump` seconds (HAProxy), or hold "everything" to the end unless the request's Accept header is
    exactly `streams_for` (jupyter-server-proxy).
    """

    version: tuple[int, ...] = (1, 22, 1)
    buffering: bool = True
    http_version: str | None = None
    buffer_size: int = 4096
    buffers: tuple[int, int] = (8, 4096)
    busy_size: int | None = None
    gzip: bool = False
    gzip_types: frozenset[str] = frozenset({"text/html"})
    gzip_level: int = 1
    gzip_min_length: int = 20
    gzip_http_version: str = "1.1"
    postpone_output: int = 1460
    chunked: bool = True
    honor_x_accel: bool = True
    pass_headers: frozenset[str] = frozenset()
    read_timeout: float = 60.0
    ignore_client_abort: bool = False
    tls: bool = False
    http2: bool = False
    record_size: int = 16384
    hold: Hold = "nginx"
    clump: float = 0.2
    streams_for: str | None = None

    def __post_init__(self) -> None:
        if self.hold not in ("nginx", "clumps", "everything"):
            raise ValueError(f"Unknown hold {self.hold!r}; use 'nginx', 'clumps' or 'everything'.")
        if self.buffer_size <= 0 or min(self.buffers) <= 0 or self.read_timeout <= 0:
            raise ValueError(
                f"Sizes, counts and timeouts must be positive, not buffer_size={self.buffer_size!r}, "
                f"buffers={self.buffers!r}, read_timeout={self.read_timeout!r}."
            )

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Return a named rule, with fields changed; raises ValueError with the names there are."""
        if name not in PRESETS:
            raise ValueError(f"Unknown preset {name!r}; there are {', '.join(map(repr, PRESETS))}.")
        return cls(**{**PRESETS[name], **changes})

    @classmethod
    def from_nginx_conf(cls, text: str, *, path: str | None = None, **changes: Any) -> Self:
        """Return the rule of a proxied location in a configuration's text; `path` picks one where there are several.

        `changes` says what the text cannot: `version`, `tls`, `http2`. Without them a server that listens with `ssl`
        is taken to be asked over HTTPS with HTTP/1.1. Raises ConfError (a ValueError).
        """
        return cls.of_location(chosen(locations(text), path), **changes)

    @classmethod
    def of_location(cls, location: Location, **changes: Any) -> Self:
        """Return the rule in force in a location; raises ConfError for a value that nginx would refuse too."""
        values = {field: read(location) for name, (field, read) in DIRECTIVES.items() if location.all(name)}
        try:
            return cls(**{"tls": location.listens("ssl"), **values, **changes})
        except (IndexError, KeyError) as error:
            raise ConfError(f"The location {location.path!r} has a directive without its words ({error}).") from None

    def but(self, **changes: Any) -> Self:
        """Return the same rule with fields changed."""
        return dataclasses.replace(self, **changes)

    @property
    def upstream_http(self) -> str:
        """The HTTP version spoken to the upstream: "1.1" by default only since nginx 1.29.7."""
        return self.http_version or ("1.1" if self.version >= HTTP_1_1_BY_DEFAULT else "1.0")

    @property
    def busy_bytes(self) -> int:
        """How many bytes of buffers go to the client in one write."""
        return self.busy_size or 2 * max(self.buffer_size, self.buffers[1])


# directive -> the field it sets, and how its words are read
DIRECTIVES: dict[str, tuple[str, Callable[[Location], Any]]] = {
    "proxy_buffering": ("buffering", lambda at: at.flag("proxy_buffering", default=True)),
    "proxy_http_version": ("http_version", lambda at: at.get("proxy_http_version")),
    "proxy_buffer_size": ("buffer_size", lambda at: size_bytes(at.get("proxy_buffer_size"))),
    "proxy_buffers": ("buffers", lambda at: buffers_of(at.words("proxy_buffers"))),
    "proxy_busy_buffers_size": ("busy_size", lambda at: size_bytes(at.get("proxy_busy_buffers_size"))),
    "gzip": ("gzip", lambda at: at.flag("gzip", default=False)),
    "gzip_types": ("gzip_types", lambda at: frozenset({"text/html", *at.words("gzip_types")})),
    "gzip_comp_level": ("gzip_level", lambda at: int(at.get("gzip_comp_level"))),
    "gzip_min_length": ("gzip_min_length", lambda at: size_bytes(at.get("gzip_min_length"))),
    "gzip_http_version": ("gzip_http_version", lambda at: at.get("gzip_http_version")),
    "postpone_output": ("postpone_output", lambda at: size_bytes(at.get("postpone_output"))),
    "chunked_transfer_encoding": ("chunked", lambda at: at.flag("chunked_transfer_encoding", default=True)),
    "proxy_ignore_headers": ("honor_x_accel", lambda at: X_ACCEL not in lower(at.words("proxy_ignore_headers"))),
    "proxy_pass_header": ("pass_headers", lambda at: frozenset(lower(at.words("proxy_pass_header")))),
    "proxy_read_timeout": ("read_timeout", lambda at: seconds(" ".join(at.words("proxy_read_timeout")))),
    "proxy_ignore_client_abort": (
        "ignore_client_abort",
        lambda at: at.flag("proxy_ignore_client_abort", default=False),
    ),
    "ssl_buffer_size": ("record_size", lambda at: size_bytes(at.get("ssl_buffer_size"))),
}
X_ACCEL = "x-accel-buffering"

PRESETS: dict[str, dict[str, Any]] = {
    "article": {"http_version": "1.1", "buffering": False, "read_timeout": 300.0},
    "nginx-1.22": {},
    "nginx-1.30": {"version": (1, 30, 0)},
    "ingress-nginx": {"version": (1, 27, 1), "http_version": "1.1", "buffering": False, "buffers": (4, 4096)},
    "haproxy-like clumps": {"hold": "clumps"},
    "store-and-forward": {"hold": "everything", "ignore_client_abort": True},
    "jupyter-server-proxy": {"hold": "everything", "streams_for": "text/event-stream", "ignore_client_abort": True},
}


def buffers_of(words: tuple[str, ...]) -> tuple[int, int]:
    """Read the words of `proxy_buffers`: a number and a size."""
    count, size = words
    return int(count), size_bytes(size)


def lower(words: Iterable[str]) -> list[str]:
    """Return the words in lower case."""
    return [word.lower() for word in words]


def chosen(found: list[Location], path: str | None) -> Location:
    """Return the proxied location that a path names, or the only one there is."""
    proxied = [location for location in found if location.upstream] or found[-1:]
    if path is not None:
        proxied = [location for location in proxied if location.path == path] or best(proxied, path)
    if len(proxied) != 1:
        there = ", ".join(repr(location.path) for location in proxied) or "none"
        raise ConfError(f"The configuration has no single proxied location for {path!r} ({there}); pass path=.")
    return proxied[0]


def best(found: list[Location], path: str) -> list[Location]:
    """Return the location with the longest prefix of a path, as nginx chooses where no expression matches."""
    prefixes = [location for location in found if location.modifier in ("", "^~") and path.startswith(location.path)]
    return [max(prefixes, key=lambda location: len(location.path))] if prefixes else []
