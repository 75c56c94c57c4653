"""What a proxy is told to do: one frozen value, from keywords, a preset, or an nginx configuration."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, Self

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


PRESETS: dict[str, dict[str, Any]] = {
    "article": {"http_version": "1.1", "buffering": False, "read_timeout": 300.0},
    "nginx-1.22": {},
    "nginx-1.30": {"version": (1, 30, 0)},
    "ingress-nginx": {"version": (1, 27, 1), "http_version": "1.1", "buffering": False, "buffers": (4, 4096)},
    "haproxy-like clumps": {"hold": "clumps"},
    "store-and-forward": {"hold": "everything"},
    "jupyter-server-proxy": {"hold": "everything", "streams_for": "text/event-stream"},
}
