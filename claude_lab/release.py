"""What a proxy holds back: upstream bytes in, the bytes its client gets now out. No clock, no sockets.

Three stages may hold: the pipe (`claude_lab.pipe`), compression, and the record in front of TLS (`claude_lab.outlet`).
`proxy_buffering off`, or `X-Accel-Buffering: no` from the upstream, puts a flush mark on every piece and opens all
three.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from claude_lab import heads
from claude_lab.heads import HEAD_END, HIDDEN, HOP_BY_HOP, BadHead, Head
from claude_lab.outlet import FLUSH, Chain, Gzip, Piece, Records, Writer, in_chunk
from claude_lab.pipe import Body, Direct, Pipe, Source, Store
from claude_lab.rule import CRLF_COUNTED, Rule

NO_BODY = frozenset({204, 304})
EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"


@dataclass(frozen=True, slots=True)
class Asked:
    """What matters of the client's request."""

    http: str = "1.1"
    method: str = "GET"
    accept: str = "*/*"
    accept_encoding: str = ""
    keep_alive: bool = True


class Release:
    """One answer on its way through a proxy: `feed` the upstream's bytes, get what the client receives at that moment.

    `ended` becomes "whole" or "cut"; after that nothing more comes out. `client_stays` tells whether the client's
    connection can carry another request.
    """

    def __init__(self, rule: Rule, asked: Asked | None = None, *, date: str = EPOCH) -> None:
        self.rule = rule
        self.asked = asked or Asked()
        self.ended: Literal["whole", "cut"] | None = None
        self.client_stays = False
        self.head: Head | None = None
        self.unbuffered = False
        self._date = date
        self._raw = b""
        self._source: Source | None = None
        self._gzip: Gzip | None = None
        self._framed = False
        records = Records(rule.record_size) if rule.tls and not rule.http2 else None
        self._writer = Writer(postpone_bytes=rule.postpone_output, records=records)

    def feed(self, data: bytes) -> bytes:
        """Take what has just arrived from the upstream."""
        if self.ended:
            return b""
        if self._source is None:
            return self._read_head(data)
        return self._send(self._source.feed(data))

    def eof(self) -> bytes:
        """The upstream closed its side."""
        if self.ended:
            return b""
        if self._source is None:
            return self._fail(502)
        out = self._send(self._source.eof())
        self._end(whole=self._source.body.fewest <= 0)
        return out

    def error(self, status: int = 502) -> bytes:
        """The upstream was reset or timed out (504): what its buffers still held is lost."""
        if self.ended:
            return b""
        if self._source is None:
            return self._fail(status)
        out = self._send([FLUSH])
        self._end(whole=False)
        return out

    def _read_head(self, data: bytes) -> bytes:
        size = self.rule.buffer_size
        self._raw += data
        found = HEAD_END.search(self._raw, 0, size)
        if not found:
            return self._fail(502) if len(self._raw) >= size else b""
        raw, self._raw = self._raw, b""
        try:
            self.head = heads.parse(raw[: found.end()])
        except BadHead:
            return self._fail(502)
        out = self._writer.feed([Piece(self._begin(self.head))])
        assert self._source is not None
        return out + self._send(self._source.start(found.end(), raw[found.end() :]))

    def _begin(self, head: Head) -> bytes:
        """Choose the stages for this answer, and return the head that the client gets."""
        rule, asked = self.rule, self.asked
        bodiless = asked.method == "HEAD" or head.status in NO_BODY
        length = 0 if bodiless else head.content_length
        crlf = rule.version >= CRLF_COUNTED
        body = Body(chunked=head.chunked and not bodiless, length=None if head.chunked else length, crlf=crlf)
        self.unbuffered = not buffers(rule, asked, head)
        self._source = source(rule, body, unbuffered=self.unbuffered)
        if compresses(rule, asked, head) and not bodiless:
            self._gzip = Gzip(level=rule.gzip_level, content_length=length)
        sized = head.content_length is not None and not head.chunked and self._gzip is None
        self._framed = not sized and not bodiless and asked.http == "1.1" and rule.chunked
        self.client_stays = asked.keep_alive and (sized or bodiless or self._framed)
        return self._client_head(head, sized=sized)

    def _client_head(self, head: Head, *, sized: bool) -> bytes:
        version = ".".join(map(str, self.rule.version))
        ours = self.rule.hold == "nginx"
        fields = [("Server", f"nginx/{version}"), ("Date", self._date)] if ours else []
        if kind := head.get("content-type"):
            fields.append(("Content-Type", kind))
        if sized:
            fields.append(("Content-Length", head.get("content-length")))
        if self._framed:
            fields.append(("Transfer-Encoding", "chunked"))
        fields.append(("Connection", "keep-alive" if self.client_stays else "close"))
        fields += [(name, value) for name, value in head.fields if self._passes(name.lower())]
        if self._gzip:
            fields.append(("Content-Encoding", "gzip"))
        return heads.write("HTTP/1.1 " + head.line.split(" ", 1)[1], fields)

    def _passes(self, name: str) -> bool:
        if name in HOP_BY_HOP or name in ("content-type", "content-length"):
            return False
        hidden = self.rule.hold == "nginx" and (name in HIDDEN or name.startswith("x-accel-"))
        return not hidden or name in self.rule.pass_headers

    def _send(self, chains: Iterable[Chain]) -> bytes:
        """Take chains through the later stages; an upstream whose chunks are broken cuts the answer."""
        out = b""
        try:
            for chain in chains:
                out += self._filter(chain)
        except BadHead:
            out += self._filter(FLUSH)
            self._end(whole=False)
        if self._source is not None and self._source.body.done:
            self._end(whole=True)
        return out

    def _filter(self, chain: Chain) -> bytes:
        """Compress, frame, write."""
        squeezed = self._gzip.feed(chain) if self._gzip else (chain,)
        return b"".join(self._writer.feed(in_chunk(part) if self._framed else part) for part in squeezed)

    def _end(self, *, whole: bool) -> None:
        self.ended = self.ended or ("whole" if whole else "cut")
        self.client_stays = self.client_stays and self.ended == "whole"

    def _fail(self, status: int) -> bytes:
        """Answer in the proxy's own name, before any head went out."""
        reason = {502: "Bad Gateway", 504: "Gateway Time-out"}[status]
        body = f"<html><head><title>{status} {reason}</title></head><body><h1>{status} {reason}</h1></body></html>\r\n"
        fields = [("Date", self._date), ("Content-Type", "text/html"), ("Content-Length", str(len(body)))]
        self.ended, self.client_stays = "whole", False
        return heads.write(f"HTTP/1.1 {status} {reason}", [*fields, ("Connection", "close")]) + body.encode()


def buffers(rule: Rule, asked: Asked, head: Head) -> bool:
    """Whether this answer is buffered: the upstream's `X-Accel-Buffering` has the last word unless it is ignored."""
    if rule.hold == "nginx":
        word = head.get("x-accel-buffering").lower() if rule.honor_x_accel else ""
        return {"yes": True, "no": False}.get(word, rule.buffering)
    return rule.hold == "everything" and asked.accept != rule.streams_for


def source(rule: Rule, body: Body, *, unbuffered: bool) -> Source:
    """Return the first stage."""
    if unbuffered:
        return Direct(body, size=rule.buffer_size)
    if rule.hold == "everything":
        return Store(body)
    count, size = rule.buffers
    return Pipe(body, head_size=rule.buffer_size, count=count, size=size, busy_size=rule.busy_bytes)


def compresses(rule: Rule, asked: Asked, head: Head) -> bool:
    """Whether the proxy gzips this answer."""
    kind = head.get("content-type").partition(";")[0].strip().lower()
    length = head.content_length
    return (
        rule.gzip
        and "gzip" in asked.accept_encoding
        and asked.http >= rule.gzip_http_version
        and head.status in (200, 403, 404)
        and not head.get("content-encoding")
        and ("*" in rule.gzip_types or kind in rule.gzip_types)
        and (length is None or length >= rule.gzip_min_length)
    )
