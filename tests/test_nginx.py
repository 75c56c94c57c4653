"""The real nginx: started, asked, compared with the embedded proxy, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import LONG, need, soon
from origin import CHUNKED, HEAD, LAST, Origin, chunk, fetch, origin, reset

from claude_lab.nginx import Nginx, NginxError, Program, find, free_port
from claude_lab.proxy import Proxy
from claude_lab.rule import Rule

EVENT = chunk(b"data: 1\n\n")
Script = Callable[[Origin, asyncio.StreamWriter], Awaitable[None]]
ORPHAN = """
import os, sys
from claude_lab.nginx import Nginx
nginx = Nginx("http://127.0.0.1:9").start()
print(nginx.pid, nginx.prefix, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def installed() -> None:
    """Every test here needs one."""
    need("nginx", "/usr/sbin/nginx")


async def whole(served: Origin, writer: asyncio.StreamWriter) -> None:
    """One event, then the end."""
    writer.write(CHUNKED + EVENT + LAST)


def test_the_installed_build_is_described() -> None:
    """Version, modules, and the text of `nginx -V`."""
    build = find()

    assert build is not None
    assert (build.version > (1, 0), build.tls, "configure arguments" in build.text) == (True, True, True)


def test_it_starts_answers_and_leaves_nothing() -> None:
    """After the block its process and its directory are gone."""
    with origin(whole) as served, Nginx(served.url) as nginx:
        _, body, _ = fetch(nginx.url)
        pid, prefix = nginx.pid, nginx.prefix

    assert body == b"data: 1\n\n"
    assert not prefix.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_it_ends_with_its_parent() -> None:
    """A kernel that is killed leaves no nginx: the shell between them sees the pipe close."""
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdin is not None
    pid, prefix = parent.stdout.readline().split()
    parent.send_signal(signal.SIGKILL)
    parent.wait(LONG)
    parent.stdin.close()
    parent.stdout.close()

    assert soon(lambda: not alive(int(pid)) and not Path(prefix).exists())


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_bad_configuration_is_refused_in_nginx_own_words() -> None:
    """And nothing is left of the attempt."""
    program = Program("server { listen 127.0.0.1:1; nonsense on; }", port=1)
    with pytest.raises(NginxError, match='unknown directive "nonsense"'):
        program.start()

    assert not program.prefix.exists()


def test_a_taken_port_is_said() -> None:
    """With the port in the message."""
    with Nginx("http://127.0.0.1:9") as nginx:
        port = int(nginx.url.rsplit(":", 1)[1])
        with pytest.raises(NginxError, match=str(port)):
            Nginx("http://127.0.0.1:9", port=port).start()


def test_without_nginx_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """NGINX_BIN names another one; one that does not exist is as good as none."""
    monkeypatch.setenv("NGINX_BIN", "no-such-nginx")

    assert find() is None
    with pytest.raises(NginxError, match="apt install nginx"):
        Nginx("http://127.0.0.1:9")


@pytest.mark.parametrize("http2", [False, True])
def test_tls_and_http2_work_with_a_certificate_made_on_the_spot(http2: bool) -> None:
    """The client verifies it."""
    pytest.importorskip("trustme")
    rule = Rule(tls=True, http2=http2, http_version="1.1")
    with origin(whole) as served, Nginx(served.url, rule) as nginx:
        with httpx.Client(verify=nginx.ssl_context(), http2=http2, trust_env=False) as client:
            answer = client.get(nginx.url)

    assert (answer.text, answer.http_version) == ("data: 1\n\n", "HTTP/2" if http2 else "HTTP/1.1")


def test_a_rule_written_for_nginx_reads_back_the_same() -> None:
    """What the location says is the rule it was written from."""
    rule = Rule(
        http_version="1.1",
        buffering=False,
        gzip=True,
        gzip_types=frozenset({"text/html", "text/event-stream"}),
        busy_size=8192,
        read_timeout=5.5,
        honor_x_accel=False,
        pass_headers=frozenset({"x-accel-buffering"}),
        ignore_client_abort=True,
    )
    with Nginx("http://127.0.0.1:9", rule) as nginx:
        text = nginx.conf

    assert Rule.from_nginx_conf(text) == rule


def queued(local: int, remote: int) -> tuple[int, int]:
    """Return the bytes that wait in the connection between two ports: sent and not acknowledged, come and not read."""
    for row in map(str.split, Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]):
        if [int(address.split(":")[1], 16) for address in row[1:3]] == [local, remote]:
            out, into = row[4].split(":")
            return int(out, 16), int(into, 16)
    return 0, 0


async def taken(writer: asyncio.StreamWriter) -> None:
    """Wait until the proxy has read all that was written."""
    ours, theirs = (writer.get_extra_info(name)[1] for name in ("sockname", "peername"))
    assert await asyncio.to_thread(soon, lambda: not queued(ours, theirs)[0] and not queued(theirs, ours)[1])


async def close_half(served: Origin, writer: asyncio.StreamWriter) -> None:
    """5,000 bytes framed by the close, then FIN."""
    writer.write(HEAD + b"x" * 5000)
    await taken(writer)


async def reset_half(served: Origin, writer: asyncio.StreamWriter) -> None:
    """5,000 bytes framed by the close, then RST."""
    await close_half(served, writer)
    reset(writer)


async def chunked_close(served: Origin, writer: asyncio.StreamWriter) -> None:
    """Five chunks of 1,000 bytes, then FIN without the last chunk."""
    writer.write(CHUNKED + chunk(b"x" * 1000) * 5)
    await taken(writer)


async def chunked_reset(served: Origin, writer: asyncio.StreamWriter) -> None:
    """Five chunks of 1,000 bytes, then RST."""
    await chunked_close(served, writer)
    reset(writer)


async def falls_silent(served: Origin, writer: asyncio.StreamWriter) -> None:
    """2,000 bytes, then nothing, for as long as the proxy stays."""
    writer.write(HEAD + b"x" * 2000)
    await asyncio.to_thread(served.left.wait, LONG)


async def no_head(served: Origin, writer: asyncio.StreamWriter) -> None:
    """Nothing but the end."""


async def broken_chunks(served: Origin, writer: asyncio.StreamWriter) -> None:
    """A chunk, then something else."""
    writer.write(CHUNKED + EVENT)
    await taken(writer)
    writer.write(b"nonsense\r\n")
    await asyncio.to_thread(served.left.wait, LONG)


SCRIPTS = [close_half, reset_half, chunked_close, chunked_reset, falls_silent, no_head, broken_chunks]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
@pytest.mark.parametrize("buffering", [True, False], ids=["buffered", "direct"])
def test_the_embedded_proxy_fails_as_nginx_does(script: Script, buffering: bool) -> None:
    """Status, bytes delivered, and whether the client can tell that something is missing."""
    rule = Rule(buffering=buffering, http_version="1.1", read_timeout=3.5 if script is falls_silent else LONG)

    def seen(hop: type[Nginx | Proxy]) -> tuple[int, int, bool | None, str]:
        with origin(script) as served, hop(served.url, rule) as started:
            reader, body, ended = fetch(started.url)
        return reader.head.status if reader.head else 0, len(body), reader.whole, ended

    with ThreadPoolExecutor() as together:
        (status, size, whole, ended), mine = together.map(seen, (Nginx, Proxy))
    size = mine[1] if status >= 500 else size  # error pages differ in their words
    assert mine == (status, size, whole, ended)


def test_free_ports_are_free() -> None:
    """Nothing listens there."""
    with Program(f"server {{ listen 127.0.0.1:{(port := free_port())}; }}", port=port) as program:
        assert program.alive
