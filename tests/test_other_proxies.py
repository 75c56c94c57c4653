"""The doctor on proxies that are not nginx: whichever of Debian's are installed.

`CLAUDE_LAB_PROXIES` may name a folder into which packages were unpacked (`apt-get download`, `dpkg -x`).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from claude_lab import background
from claude_lab.causes import Cause
from claude_lab.diagnosis import examine
from claude_lab.probe import Probe
from claude_lab.program import free_port, listens
from claude_lab.report import Report

ROOT = Path(os.environ.get("CLAUDE_LAB_PROXIES", "/"))
PLACES = os.pathsep.join([os.environ.get("PATH", ""), *(str(ROOT / part) for part in ("usr/sbin", "usr/bin"))])
Command = Callable[[str, Path, int, int, str], list[str]]


def haproxy(program: str, folder: Path, port: int, origin: int, extra: str) -> list[str]:
    """Write a minimal configuration and return the command."""
    (folder / "haproxy.cfg").write_text(
        f"defaults\n mode http\n timeout client 60s\n timeout server 60s\n timeout connect 5s\n {extra}\n"
        f"frontend f\n bind 127.0.0.1:{port}\n default_backend b\nbackend b\n server s 127.0.0.1:{origin}\n"
    )
    return [program, "-f", str(folder / "haproxy.cfg"), "-db"]


def caddy(program: str, folder: Path, port: int, origin: int, extra: str) -> list[str]:
    """Write a minimal configuration and return the command."""
    site = f"http://127.0.0.1:{port} {{\n {extra}\n reverse_proxy 127.0.0.1:{origin}\n}}\n"
    (folder / "Caddyfile").write_text(f"{{\n admin off\n auto_https off\n}}\n{site}")
    return [program, "run", "--config", str(folder / "Caddyfile")]


def lighttpd(program: str, folder: Path, port: int, origin: int, extra: str) -> list[str]:
    """Write a minimal configuration and return the command."""
    (folder / "lighttpd.conf").write_text(
        f'server.document-root = "{folder}"\nserver.port = {port}\nserver.bind = "127.0.0.1"\n'
        f'server.modules = ("mod_proxy")\n{extra}\n'
        f'proxy.server = ("" => (("host" => "127.0.0.1", "port" => {origin})))\n'
    )
    return [program, "-D", "-f", str(folder / "lighttpd.conf"), "-m", str(ROOT / "usr/lib/lighttpd")]


def varnishd(program: str, folder: Path, port: int, origin: int, extra: str) -> list[str]:
    """Write a minimal configuration and return the command."""
    backend = f'backend default {{ .host = "127.0.0.1"; .port = "{origin}"; }}'
    fetched = f"sub vcl_backend_response {{ {extra} }}"
    (folder / "default.vcl").write_text(f"vcl 4.1;\n{backend}\nsub vcl_recv {{ return(pass); }}\n{fetched}\n")
    listen = f"127.0.0.1:{port}"
    return [program, "-F", "-n", str(folder / "varnish"), "-a", listen, "-f", str(folder / "default.vcl")]


def apache2(program: str, folder: Path, port: int, origin: int, extra: str) -> list[str]:
    """Write a minimal configuration and return the command."""
    modules = ("mpm_event", "authz_core", "proxy", "proxy_http")
    loads = [f"LoadModule {name}_module {ROOT}/usr/lib/apache2/modules/mod_{name}.so" for name in modules]
    lines = [f"ServerRoot {folder}", f"PidFile {folder}/pid", f"ErrorLog {folder}/log", "ServerName lab"]
    lines += [f"Listen 127.0.0.1:{port}", *loads, f"ProxyPass / http://127.0.0.1:{origin}/"]
    lines += ["User nobody", "Group nogroup"] if os.geteuid() == 0 else []
    (folder / "apache.conf").write_text("\n".join([*lines, ""]))
    return [program, "-f", str(folder / "apache.conf"), "-DFOREGROUND"]


CASES: list[tuple[Command, str, Cause | None]] = [
    (haproxy, "", Cause.CLUMPS),
    (haproxy, "option http-no-delay", None),
    (caddy, "", None),
    (caddy, "encode gzip", None),
    (lighttpd, "", Cause.STORE),
    (lighttpd, "server.stream-response-body = 2", None),
    (varnishd, "", None),
    (varnishd, "set beresp.do_gzip = true;", Cause.COMPRESSION),
    (varnishd, "set beresp.do_stream = false;", Cause.STORE),
    (apache2, "", None),
]


@contextmanager
def running(command: list[str], port: int) -> Iterator[str]:
    """Run a proxy until the block ends."""
    libraries = f"{ROOT}/usr/lib/x86_64-linux-gnu:{ROOT}/usr/lib/varnish" if str(ROOT) != "/" else ""
    environment = {**os.environ, **({"LD_LIBRARY_PATH": libraries} if libraries else {})}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not listens(port):
            assert process.poll() is None, f"{command[0]} ended at once"
            assert time.monotonic() < deadline, f"{command[0]} does not listen"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def examined(url: str) -> Report:
    """Ask the doctor."""

    async def run() -> Report:
        return await asyncio.wait_for(examine(url), 60)

    return background.portal().run(run())


INSTALLED = [case for case in CASES if shutil.which(case[0].__name__, path=PLACES)]


@pytest.mark.parametrize("command", [haproxy, caddy, lighttpd, varnishd, apache2])
def test_each_proxy_is_told_where_to_listen_and_whom_to_ask(command: Command, tmp_path: Path) -> None:
    """The configuration written for it names both ports."""
    words = command("program", tmp_path, 1111, 2222, "")
    written = " ".join([*words, *(path.read_text() for path in tmp_path.iterdir())])

    assert "1111" in written
    assert "2222" in written


if INSTALLED:  # Debian has them all; none is required

    @pytest.mark.parametrize(("command", "extra", "cause"), INSTALLED)
    def test_the_doctor_is_right_about_other_proxies(
        command: Command, extra: str, cause: Cause | None, tmp_path: Path
    ) -> None:
        """The cause where one holds, silence where none does."""
        program = shutil.which(command.__name__, path=PLACES) or ""
        tmp_path.chmod(0o777)
        port = free_port()
        with background.serve(Probe(), protocol=background.TransportProtocol) as origin:
            with running(command(program, tmp_path, port, origin.port, extra), port) as url:
                report = examined(url)

        assert [finding.cause for finding in report.findings] == ([cause] if cause else [])
        assert report.verdict == ("held" if cause else "streams")
