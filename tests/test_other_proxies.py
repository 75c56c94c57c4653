"""The doctor on proxies that are not nginx: Debian's haproxy, caddy, lighttpd, varnish and apache."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import need

from claude_lab import background
from claude_lab.causes import Cause
from claude_lab.chain import LARGE_EVENTS, NO_TRANSFORM
from claude_lab.diagnosis import examine
from claude_lab.probe import Probe
from claude_lab.program import free_port, listens
from claude_lab.report import Report

Command = Callable[[Path, int, int, str], list[str]]


def haproxy(folder: Path, port: int, origin: int, extra: str) -> list[str]:
    """Write a minimal configuration and return the arguments."""
    (folder / "haproxy.cfg").write_text(
        f"defaults\n mode http\n timeout client 60s\n timeout server 60s\n timeout connect 5s\n {extra}\n"
        f"frontend f\n bind 127.0.0.1:{port}\n default_backend b\nbackend b\n server s 127.0.0.1:{origin}\n"
    )
    return ["-f", str(folder / "haproxy.cfg"), "-db"]


def caddy(folder: Path, port: int, origin: int, extra: str) -> list[str]:
    """Write a minimal configuration and return the arguments; what follows a bar in `extra` stands in the route."""
    outside, _, inside = extra.partition("|")
    site = f"http://127.0.0.1:{port} {{\n{outside}\nreverse_proxy 127.0.0.1:{origin} {{\n{inside}\n}}\n}}\n"
    (folder / "Caddyfile").write_text(f"{{\nadmin off\nauto_https off\n}}\n{site}")
    return ["run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def lighttpd(folder: Path, port: int, origin: int, extra: str) -> list[str]:
    """Write a minimal configuration and return the arguments."""
    (folder / "lighttpd.conf").write_text(
        f'server.document-root = "{folder}"\nserver.port = {port}\nserver.bind = "127.0.0.1"\n'
        f'server.modules = ("mod_proxy")\n{extra}\n'
        f'proxy.server = ("" => (("host" => "127.0.0.1", "port" => {origin})))\n'
    )
    return ["-D", "-f", str(folder / "lighttpd.conf")]


def varnishd(folder: Path, port: int, origin: int, extra: str) -> list[str]:
    """Write a minimal configuration and return the arguments; without `vcl_hash` in `extra` it keeps nothing."""
    received = "" if "vcl_hash" in extra else "sub vcl_recv { return(pass); }"
    backend = f'backend default {{ .host = "127.0.0.1"; .port = "{origin}"; }}'
    (folder / "default.vcl").write_text(f"vcl 4.1;\n{backend}\n{received}\n{extra}\n")
    place = ["-n", str(folder / "varnish"), "-s", "malloc,16m"]
    # Its jail is another user, who may not read a test's folder.
    return ["-j", "none", "-F", *place, "-a", f"127.0.0.1:{port}", "-f", str(folder / "default.vcl")]


def apache2(folder: Path, port: int, origin: int, extra: str) -> list[str]:
    """Write a minimal configuration and return the arguments; `extra` may begin with a further module and a colon."""
    module, _, directive = extra.rpartition(": ")
    modules = ["mpm_event", "authz_core", "proxy", "proxy_http", *filter(None, [module])]
    loads = [f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in modules]
    lines = [f"ServerRoot {folder}", f"PidFile {folder}/pid", f"ErrorLog {folder}/log", "ServerName lab"]
    lines += [f"Listen 127.0.0.1:{port}", *loads, f"ProxyPass / http://127.0.0.1:{origin}/", directive]
    lines += ["User nobody", "Group nogroup"] if os.geteuid() == 0 else []
    (folder / "apache.conf").write_text("\n".join([*lines, ""]))
    return ["-f", str(folder / "apache.conf"), "-DFOREGROUND"]


ALWAYS = "always"
PACKING = "option http-no-delay\n compression algo gzip\n"
MATCHING = "encode {\ngzip\nmatch header Content-Type text/html*\n}"
STREAMING = "server.stream-response-body = 2"
FETCHED = "sub vcl_backend_response { %s }"
ZIP, BUT_EVENTS = "set beresp.do_gzip = true;", 'if (beresp.http.Content-Type != "text/event-stream")'
# A cache that looks at the path alone.
KEEPING = """
sub vcl_hash { hash_data(regsub(req.url, "[?].*", "")); return(lookup); }
sub vcl_backend_response { set beresp.%s; return(deliver); }
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A proxy that holds: how it is configured, when and why it does, what the fix must name, and the mended one.

    `cut` is whether its client sees that the upstream broke off.
    """

    command: Command
    holding: str
    when: str
    cause: Cause
    fix: str
    mended: str
    cut: bool = True

    def __str__(self) -> str:
        return f"{self.command.__name__}, {self.cause.name}"


CASES = [
    Case(haproxy, "", ALWAYS, Cause.CLUMPS, "option http-no-delay", "option http-no-delay"),
    Case(
        haproxy, PACKING, NO_TRANSFORM, Cause.COMPRESSION, "compression type", PACKING + " compression type text/html"
    ),
    Case(caddy, "encode gzip", LARGE_EVENTS, Cause.COMPRESSION, "match", MATCHING, cut=False),
    Case(caddy, "|buffer_responses", ALWAYS, Cause.STORE, "buffer_responses", "|flush_interval 300ms", cut=False),
    Case(lighttpd, "", ALWAYS, Cause.STORE, STREAMING, STREAMING),
    Case(varnishd, FETCHED % ZIP, ALWAYS, Cause.COMPRESSION, "beresp.do_gzip", FETCHED % f"{BUT_EVENTS} {{ {ZIP} }}"),
    Case(varnishd, FETCHED % "set beresp.do_stream = false;", ALWAYS, Cause.STORE, "beresp.do_stream", ""),
    Case(varnishd, KEEPING % "ttl = 60s", ALWAYS, Cause.CACHE, "beresp.uncacheable", KEEPING % "uncacheable = true"),
]


@contextmanager
def running(command: Command, folder: Path, origin: int, extra: str) -> Iterator[str]:
    """Run a proxy with a folder of its own until the block ends, and say where it listens."""
    program = need(command.__name__, f"/usr/sbin/{command.__name__}")
    folder.mkdir(mode=0o777)
    port = free_port()
    own = {**os.environ, "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}  # caddy writes there
    with (folder / "said").open("wb") as said:
        arguments = command(folder, port, origin, extra)
        process = subprocess.Popen([program, *arguments], env=own, stdout=said, stderr=said)
        try:
            deadline = time.monotonic() + 20
            while not listens(port):
                assert process.poll() is None, (folder / "said").read_text()[-1000:]
                assert time.monotonic() < deadline, f"{program} does not listen"
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def examined(command: Command, folder: Path, *extras: str) -> list[Report]:
    """Ask the doctor about a proxy with each of several configurations, at once."""

    async def run(urls: list[str]) -> list[Report]:
        return await asyncio.wait_for(asyncio.gather(*map(examine, urls)), 60)

    with ExitStack() as stack:
        origin = stack.enter_context(background.serve(Probe(), protocol=background.TransportProtocol))
        proxies = [running(command, folder / str(number), origin.port, extra) for number, extra in enumerate(extras)]
        return background.portal().run(run([stack.enter_context(proxy) for proxy in proxies]))


@pytest.mark.parametrize("command", [haproxy, caddy, lighttpd, varnishd, apache2])
def test_each_proxy_is_told_where_to_listen_and_whom_to_ask(command: Command, tmp_path: Path) -> None:
    """The configuration written for it names both ports."""
    words = command(tmp_path, 1111, 2222, "")
    written = " ".join([*words, *(path.read_text() for path in tmp_path.iterdir())])

    assert "1111" in written
    assert "2222" in written


@pytest.fixture(scope="module", params=CASES, ids=str)
def looked_at(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Report, Report]:
    """A case with the doctor's reports before and after the fix."""
    case: Case = request.param
    before, after = examined(case.command, tmp_path_factory.mktemp("proxies"), case.holding, case.mended)
    return case, before, after


def test_the_doctor_names_the_cause(looked_at: tuple[Case, Report, Report]) -> None:
    """One finding, with its condition and a fix that names the directive."""
    case, before, _ = looked_at
    (finding,) = before.findings

    assert (finding.when, finding.cause) == (case.when, case.cause)
    assert case.fix in finding.fix
    assert before.verdict == ("held" if case.when == ALWAYS else "streams")


def test_the_fix_helps(looked_at: tuple[Case, Report, Report]) -> None:
    """With the fix in its configuration nothing is found, and the origin learns that a client has left."""
    _, _, after = looked_at

    assert (after.verdict, after.findings) == ("streams", ())
    assert after.leaving is not None


def test_a_cut_shows_where_the_proxy_shows_it(looked_at: tuple[Case, Report, Report]) -> None:
    """caddy makes a clean end of an upstream that broke off; the others hand the cut on."""
    case, _, after = looked_at

    assert ("the cut is visible" if case.cut else "looks like a clean end") in after.death


def test_apache_streams_also_when_it_compresses(tmp_path: Path) -> None:
    """Its compressor is flushed whenever the origin pauses: nothing is found."""
    for report in examined(apache2, tmp_path, "", "deflate: SetOutputFilter DEFLATE"):
        assert (report.verdict, report.findings) == ("streams", ())
