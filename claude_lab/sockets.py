"""Sockets: one that listens, or says why it can't, and a connection closed by RST."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
import sys
from array import array

NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""`SO_LINGER` with no time to linger: the kernel throws away what was not sent, and answers with RST."""

OTHER_PORT = "stop what holds it, or pass port=0 for a free port"
OTHER_HOST = "give an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them"


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """Return a bound listening socket; `port=0` takes a free one.

    Raises OSError, in the thread that asks, with a sentence that names the port when it is taken, or the host when it
    is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only where it sees the protocol by name; with it a second write waits 40 ms.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if sys.platform != "win32":  # there the option would let two servers share one port
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(2048)
    except OSError as error:
        sock.close()
        is_elsewhere = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        advice = OTHER_HOST if is_elsewhere else OTHER_PORT
        raise OSError(error.errno, f"Cannot listen on {host}:{port} ({error.strerror}); {advice}") from None
    sock.setblocking(False)
    return sock


def reset(transport: asyncio.WriteTransport) -> None:
    """Close a connection with RST, so that its reader gets an error, not an end."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):  # the other side was faster
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    transport.abort()


def unread(transport: asyncio.WriteTransport) -> int:
    """Return how many bytes of a connection the other side has not taken: the transport's and, on Linux, the kernel's.

    The kernel takes more from the transport only when a third of its buffer is free, which with a slow reader is late.
    """
    queued = array("i", [0])
    sock = transport.get_extra_info("socket")
    if sys.platform == "linux" and sock is not None and sock.fileno() >= 0:
        from fcntl import ioctl  # where there is one
        from termios import TIOCOUTQ

        with contextlib.suppress(OSError):  # no socket of a kind that tells
            ioctl(sock.fileno(), TIOCOUTQ, queued)
    return transport.get_write_buffer_size() + queued[0]
