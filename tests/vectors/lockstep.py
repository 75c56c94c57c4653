"""Random answers, sent piece by piece through a real nginx; after each piece, how many bytes its client holds.

Nothing here knows the buffering rule: what is recorded is what nginx did. All runs in one thread. After a piece is
written, a request to `/ping` goes through the same nginx; it works through its events in the order they came, so
when that reply is here, everything that the piece sets free is here too. No sleeping, no guessing what "quiet" is.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import random
import re
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from claude_lab.nginx import Build, Program, certificate, free_port

COMMON = "gzip_types text/event-stream; gzip_proxied any; gzip_min_length 0; gzip_http_version 1.0; gzip_vary off;"
BUFFERS = (  # proxy_buffer_size, number, size, busy
    (4096, 8, 4096, 8192),
    (4096, 8, 4096, 8192),
    (8192, 8, 8192, 16384),
    (4096, 8, 16384, 32768),
    (8192, 8, 4096, 16384),
    (16384, 4, 32768, 65536),
    (1024, 4, 2048, 4096),
    (2048, 8, 2048, 4096),
    (4096, 16, 1024, 8192),
    (65536, 8, 65536, 131072),
    (4096, 2, 8192, 8192),
    (3000, 5, 3000, 6000),
)
SIZES = {  # kind of answer -> least and most bytes of an event
    "heartbeats": (3, 20),
    "tokens": (45, 130),
    "sentences": (200, 1500),
    "mixed": (60, 5000),
    "pages": (100, 20000),
}
RECORD_SIZES = (16384, 16384, 4096)
DATE = re.compile(rb"\r\nDate: [^\r]*\r\n")
PING = b"GET /ping HTTP/1.1\r\nHost: lab\r\n\r\n"


@dataclass
class Vector:
    """One scenario, and what the client of a real nginx held after each step (filled in by `Lockstep.run`)."""

    id: int
    directives: str
    tls: bool
    ssl_buffer_size: int | None
    client_http: str
    accept_encoding: str
    upstream_framing: str
    end: str
    pieces: list[bytes] = field(repr=False)
    client_bytes: list[int] = field(default_factory=list)
    client_saw: str | None = None
    sha256: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return plain data, the pieces in base64."""
        return {**asdict(self), "pieces": [base64.b64encode(piece).decode() for piece in self.pieces]}


def scenario(number: int, seed: int) -> Vector:
    """Return a random scenario; the same for the same number and seed."""
    rand = random.Random(f"{seed}/{number}")
    framing = rand.choice(("chunked", "chunked", "close", "close", "length"))
    http = "1.1" if framing == "chunked" else rand.choice(("1.0", "1.1"))
    compressed = rand.random() < 0.3
    tls = rand.random() < 0.4
    body, end = answer(rand, framing), rand.choice(("clean", "clean", "clean", "fin", "rst"))
    if end != "clean":
        body = body[: max(1, len(body) // 2)]
    header = head(rand, framing, http, sum(len(data) for data, _ in body))
    if end != "clean" and framing == "length":
        header = header.replace(b"content-length: ", b"content-length: 1")
    wire = [piece for data, is_data in body for piece in cut(rand, framed(framing, data), is_data)]
    if end == "clean" and framing == "chunked":
        wire.append(b"0\r\n\r\n" if rand.random() < 0.8 else b"0\r\nx-checksum: 1\r\n\r\n")
    pieces = [header + wire[0], *wire[1:]] if rand.random() < 0.4 else [header, *wire]
    return Vector(
        number,
        directives(rand, http, gzip=compressed or rand.random() < 0.1),
        tls,
        rand.choice(RECORD_SIZES) if tls else None,
        rand.choice(("1.1", "1.1", "1.1", "1.0")),
        "gzip" if compressed else "",
        framing,
        end,
        join(rand, pieces),
    )


def directives(rand: random.Random, http: str, *, gzip: bool) -> str:
    """Return the location's directives."""
    head_size, count, size, busy = rand.choice(BUFFERS)
    values = {
        "proxy_buffering": rand.choice(("on", "on", "off")),
        "proxy_http_version": http,
        "proxy_buffer_size": head_size,
        "proxy_buffers": f"{count} {size}",
        "proxy_busy_buffers_size": busy,
        "gzip": "on" if gzip else "off",
        "postpone_output": rand.choice((1460, 1460, 0, 4000)),
        "chunked_transfer_encoding": rand.choice(("on", "on", "on", "off")),
        "proxy_ignore_headers": rand.choice(("Expires", "Expires", "X-Accel-Buffering")),
    }
    return " ".join(f"{name} {value};" for name, value in values.items())


def answer(rand: random.Random, framing: str) -> list[tuple[bytes, bool]]:
    """Return the events of an answer; the flag says that a piece is data and may be cut."""
    kind = rand.choice(list(SIZES))
    least, most = SIZES[kind]
    count = rand.randint(5, 25 if kind == "pages" else 70)
    make = heartbeat if kind == "heartbeats" else token
    return [(make(rand, number, rand.randint(least, most)), True) for number in range(count)]


def heartbeat(rand: random.Random, number: int, size: int) -> bytes:
    """Return a comment of this size."""
    return b":" * (size - 2) + b"\n\n"


def token(rand: random.Random, number: int, size: int) -> bytes:
    """Return a delta of about this size: now and then noise, else repetition."""
    start = b'data: {"type":"delta","i":%06d,"t":"' % number
    room = max(0, size - len(start) - 4)
    noise = rand.randbytes(min(room, 300) // 2).hex().encode() if rand.random() < 0.25 else b""
    return start + (noise + b"x" * room)[:room] + b'"}\n\n'


def head(rand: random.Random, framing: str, http: str, length: int) -> bytes:
    """Return the upstream's response head."""
    lines = [f"HTTP/{http} 200 OK", "content-type: text/event-stream; charset=utf-8", "cache-control: no-cache"]
    lines += rand.choice(([], [], ["x-accel-buffering: no"], ["X-Accel-Buffering: yes"]))
    lines += [f"x-long: {'p' * rand.choice((50, 300, 600))}"] if rand.random() < 0.4 else []
    lines += {"chunked": ["transfer-encoding: chunked"], "length": [f"content-length: {length}"], "close": []}[framing]
    return "\r\n".join([*lines, "connection: close", "", ""]).encode()


def framed(framing: str, data: bytes) -> bytes:
    """Frame one event as the upstream does."""
    return b"%x\r\n%s\r\n" % (len(data), data) if framing == "chunked" else data


def cut(rand: random.Random, data: bytes, may: bool) -> list[bytes]:
    """Cut some events in two or three: after the size line, before the last LF, in the middle, anywhere."""
    if not may or rand.random() < 0.6 or len(data) < 4:
        return [data]
    places = (data.find(b"\n") + 1, len(data) - 1, len(data) // 2, rand.randrange(1, len(data)))
    cuts = sorted({0, len(data), *rand.sample(places, rand.randint(1, 2))})
    return [data[a:b] for a, b in itertools.pairwise(cuts)]


def join(rand: random.Random, pieces: list[bytes]) -> list[bytes]:
    """In one answer of four, let neighbors leave in one write."""
    if rand.random() < 0.75:
        return pieces
    joined = [pieces[0]]
    for piece in pieces[1:]:
        if rand.random() < 0.4:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


class Lockstep:
    """A real nginx with one location for each vector, an upstream and a client, all driven in step."""

    def __init__(self, vectors: list[Vector], build: Build) -> None:
        self.vectors = vectors
        self.upstream = socket.create_server(("127.0.0.1", 0))
        self.upstream.settimeout(5)
        self.ports = [free_port() for _ in range(3)]
        authority, chain = certificate()
        self.context = ssl.create_default_context(cadata=authority.decode())
        self.program = Program(self._http(), port=self.ports[0], build=build, files={"cert.pem": chain})

    def _http(self) -> str:
        to = f"proxy_pass http://127.0.0.1:{self.upstream.getsockname()[1]};"
        places = "\n".join(f"location /r{v.id}/ {{ {to} {v.directives} }}" for v in self.vectors)
        places += "\nlocation = /ping { return 204; }"
        plain, large, small = self.ports
        listens = [f"listen 127.0.0.1:{plain};"]
        tls = ((large, 16384), (small, 4096))
        listens += [f"listen 127.0.0.1:{port} ssl; ssl_buffer_size {size};" for port, size in tls]
        keys = "ssl_certificate cert.pem; ssl_certificate_key cert.pem;"
        return "\n".join([COMMON, keys, *(f"server {{ {listen}\n{places}\n}}" for listen in listens)])

    def __enter__(self) -> Self:
        self.program.start()
        self.ping_socket = socket.create_connection(("127.0.0.1", self.ports[0]), timeout=5)
        return self

    def __exit__(self, *_: object) -> None:
        self.ping_socket.close()
        self.upstream.close()
        self.program.stop()

    def ping(self) -> None:
        """Wait until nginx has worked through all that reached it before."""
        for _ in range(2):
            self.ping_socket.sendall(PING)
            reply = b""
            while b"\r\n\r\n" not in reply:
                reply += self.ping_socket.recv(4096)

    def run(self, vector: Vector, *, pause: float = 0.0) -> bytes:
        """Play one vector, fill in what the client saw, and return all its bytes; `pause` waits longer at each step."""
        client = self._connect(vector)
        origin = self._accept()
        wire = bytearray()
        vector.client_bytes, vector.client_saw = [], None
        for piece in [*vector.pieces, None]:
            if piece is not None:
                origin.sendall(piece)
            else:
                close(origin, reset=vector.end == "rst")
            self.ping()
            if pause:
                time.sleep(pause)
                self.ping()
            data, ended = drain(client)
            wire += data
            vector.client_bytes.append(len(wire))
            vector.client_saw = "eof" if ended else vector.client_saw
        client.close()
        normal = DATE.sub(b"\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n", bytes(wire), count=1)
        vector.sha256 = hashlib.sha256(normal).hexdigest()
        return normal

    def _connect(self, vector: Vector) -> socket.socket:
        port = self.ports[0 if not vector.tls else 1 if vector.ssl_buffer_size == 16384 else 2]
        client = socket.create_connection(("127.0.0.1", port), timeout=5)
        if vector.tls:
            client = self.context.wrap_socket(client, server_hostname="127.0.0.1")
        lines = [f"GET /r{vector.id}/x HTTP/{vector.client_http}", "Host: lab"]
        lines += [f"Accept-Encoding: {vector.accept_encoding}"] if vector.accept_encoding else []
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        return client

    def _accept(self) -> socket.socket:
        origin, _ = self.upstream.accept()
        origin.settimeout(5)
        origin.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b""
        while b"\r\n\r\n" not in request:
            request += origin.recv(65536)
        return origin


def close(sock: socket.socket, *, reset: bool) -> None:
    """Close in order, or with a reset."""
    if reset:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def drain(client: socket.socket) -> tuple[bytes, bool]:
    """Return what has arrived, and whether the connection has ended."""
    chunks = list(arrived(client))
    return b"".join(chunks), bool(chunks) and chunks[-1] == b""


def arrived(client: socket.socket) -> Iterator[bytes]:
    """Yield what can be read without waiting; an empty piece at the end of the connection."""
    client.setblocking(False)
    if hasattr(socket, "TCP_QUICKACK"):  # a delayed acknowledgment would hold nginx's next small write for 40 ms
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    try:
        while True:
            data = client.recv(1 << 18)
            yield data
            if not data:
                return
    except (BlockingIOError, ssl.SSLWantReadError):
        return
    except (ConnectionError, ssl.SSLError):
        yield b""
    finally:
        client.setblocking(True)
