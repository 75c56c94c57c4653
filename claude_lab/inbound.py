"""A client's requests at a proxy: read whole, and written again for the upstream.

Divergence 1: the body is read whole before the upstream is asked, up to `MAX_BODY_BYTES`, and sent on with its length.
"""

from __future__ import annotations

from claude_lab import heads
from claude_lab.heads import HEAD_END, HOP_BY_HOP, BadHead, Chunks, Head
from claude_lab.release import Asked

MAX_HEAD_BYTES = 32 * 1024
MAX_BODY_BYTES = 8 * 1024 * 1024
NOT_SENT_ON = HOP_BY_HOP | {"host", "content-length", "expect"}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Requests:
    """Takes a connection's bytes and gives back whole requests; raises BadHead for what is none."""

    def __init__(self) -> None:
        self._raw = b""
        self._head: Head | None = None
        self._body = bytearray()
        self._chunks: Chunks | None = None

    @property
    def wants_continue(self) -> bool:
        """Whether the client waits for `100 Continue` before it sends the body."""
        return self._head is not None and self._head.get("expect").lower() == "100-continue" and not self._body

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        self._raw += data

    def take(self) -> tuple[Head, bytes] | None:
        """Return the next whole request, or None while it is incomplete."""
        if self._head is None and not self._take_head():
            return None
        assert self._head is not None
        if not self._take_body(self._head):
            if len(self._body) > MAX_BODY_BYTES:
                raise BadHead(f"The request's body is longer than {MAX_BODY_BYTES} bytes; this proxy takes no more.")
            return None
        request = self._head, bytes(self._body)
        self._head, self._chunks = None, None
        self._body.clear()
        return request

    def _take_head(self) -> bool:
        found = HEAD_END.search(self._raw)
        if not found:
            if len(self._raw) > MAX_HEAD_BYTES:
                raise BadHead(
                    f"The request's head is longer than {MAX_HEAD_BYTES} bytes; send fewer or shorter fields."
                )
            return False
        head = heads.parse(self._raw[: found.end()])
        if (
            head.line.count(" ") != 2
            or head.version not in ("1.0", "1.1")
            or not head.line.split(" ")[1].startswith("/")
        ):
            raise BadHead(f"{head.line[:60]!r} is no request this proxy takes; send `GET /path HTTP/1.1`.")
        self._head, self._raw = head, self._raw[found.end() :]
        self._chunks = Chunks() if head.chunked else None
        return True

    def _take_body(self, head: Head) -> bool:
        """Move body bytes over; whether all are there. After a chunked body nothing is kept."""
        if self._chunks is not None:
            raw, self._raw = self._raw, b""
            self._body += b"".join(self._chunks.feed(raw))
            return self._chunks.done
        missing = (head.content_length or 0) - len(self._body)
        self._body += self._raw[:missing]
        self._raw = self._raw[missing:]
        return len(self._body) == (head.content_length or 0)


def asked(head: Head, method: str) -> Asked:
    """Return what matters of a request."""
    word = head.get("connection").lower()
    return Asked(
        http=head.version,
        method=method,
        accept=head.get("accept"),
        accept_encoding=head.get("accept-encoding"),
        keep_alive="keep-alive" in word if head.version == "1.0" else "close" not in word,
    )


def sent_on(head: Head, body: bytes, *, path: str, host: str, http: str) -> bytes:
    """Return the request as nginx would send it on: Host and Connection its own, hop-by-hop fields left out."""
    method = head.line.split(" ", 1)[0]
    fields = [("Host", host), ("Connection", "close")]
    fields += [(name, value) for name, value in head.fields if name.lower() not in NOT_SENT_ON]
    if body or method in ("POST", "PUT", "PATCH"):
        fields.append(("Content-Length", str(len(body))))
    return heads.write(f"{method} {path} HTTP/{http}", fields) + body
