"""The real nginx as a hop, when one is installed: its configuration is written from the same `Rule`."""

from __future__ import annotations

import ssl
from pathlib import Path
from types import TracebackType
from typing import Self

from claude_lab.program import Build, NginxError, Program, find, free_port, none_installed
from claude_lab.rule import Rule

__all__ = ["Build", "Nginx", "NginxError", "Program", "certificate", "find", "free_port", "location"]

NEEDS_HTTP2_DIRECTIVE = (1, 25, 1)


def location(rule: Rule, upstream: str, *, path: str = "/") -> str:
    """Return the `location` block that makes nginx follow a rule."""
    count, size = rule.buffers
    lines = [
        f"proxy_pass {upstream};",
        f"proxy_buffering {on(rule.buffering)};",
        f"proxy_http_version {rule.upstream_http};",
        f"proxy_buffer_size {rule.buffer_size};",
        f"proxy_buffers {count} {size};",
        f"proxy_busy_buffers_size {rule.busy_bytes};",
        f"proxy_read_timeout {rule.read_timeout * 1000:.0f}ms;",
        f"postpone_output {rule.postpone_output};",
        f"chunked_transfer_encoding {on(rule.chunked)};",
        f"proxy_ignore_client_abort {on(rule.ignore_client_abort)};",
        f"gzip {on(rule.gzip)};",
    ]
    if rule.gzip:
        kinds = " ".join(sorted(rule.gzip_types - {"text/html"}))
        lines += [f"gzip_types {kinds};"] if kinds else []
        lines += [f"gzip_min_length {rule.gzip_min_length};", f"gzip_http_version {rule.gzip_http_version};"]
        lines += [f"gzip_comp_level {rule.gzip_level};", "gzip_proxied any;"]
    if not rule.honor_x_accel:
        lines.append("proxy_ignore_headers X-Accel-Buffering;")
    lines += [f"proxy_pass_header {name};" for name in sorted(rule.pass_headers)]
    return "\n".join([f"location {path} {{", *(f"    {line}" for line in lines), "}"])


def on(value: bool) -> str:
    """Write a flag as nginx does."""
    return "on" if value else "off"


class Nginx:
    """One real hop: the same call as `claude_lab.proxy.Proxy`, served by the nginx that is installed.

    With `rule.tls` it listens with a certificate made on the spot (needs trustme); `ssl_context` trusts it.
    `rule.version` is what the rule was written for; `build.version` is what runs.
    """

    def __init__(self, upstream: str, rule: Rule | None = None, *, port: int = 0, build: Build | None = None) -> None:
        self.rule = rule or Rule()
        self.upstream = upstream.rstrip("/")
        self.build = build or find() or none_installed()
        self._port = port
        self._program: Program | None = None
        self._authority: bytes | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._program is None:
            raise RuntimeError("The nginx is not started; use it in a `with` block, or call start().")
        return f"{'https' if self.rule.tls else 'http'}://127.0.0.1:{self._program.port}"

    @property
    def conf(self) -> str:
        """The configuration it runs with."""
        return self._program.conf if self._program else ""

    @property
    def prefix(self) -> Path:
        """Its own directory: configuration, pid file, log, temporary files."""
        if self._program is None:
            raise RuntimeError("The nginx is not started; use it in a `with` block, or call start().")
        return self._program.prefix

    @property
    def pid(self) -> int:
        """Its process."""
        return int((self.prefix / "nginx.pid").read_text())

    @property
    def log(self) -> str:
        """Its error log so far."""
        return self._program.log if self._program else ""

    def ssl_context(self) -> ssl.SSLContext:
        """Return a client's context that trusts this nginx's certificate."""
        return ssl.create_default_context(cadata=(self._authority or b"").decode())

    def start(self) -> Self:
        """Start it; a port taken in the meantime is tried again with another."""
        files = {}
        if self.rule.tls:
            self._authority, files["cert.pem"] = certificate()
        for last in (False, False, True):
            port = self._port or free_port()
            try:
                self._program = Program(self._server(port), port=port, build=self.build, files=files).start()
                return self
            except NginxError as error:
                if last or self._port or "in use" not in str(error):
                    raise
        raise AssertionError("unreachable")

    def _server(self, port: int) -> str:
        rule, words = self.rule, ""
        old = self.build.version < NEEDS_HTTP2_DIRECTIVE
        extra = []
        if rule.tls:
            words = " ssl http2" if rule.http2 and old else " ssl"
            keys = ["ssl_certificate cert.pem;", "ssl_certificate_key cert.pem;"]
            extra = [f"ssl_buffer_size {rule.record_size};", *keys]
        if rule.http2 and not old:
            extra.append("http2 on;")
        lines = [f"listen 127.0.0.1:{port}{words};", *extra, location(rule, self.upstream + "/")]
        return "server {\n" + "\n".join(lines) + "\n}"

    def stop(self) -> None:
        """Stop it; twice is fine."""
        program, self._program = self._program, None
        if program is not None:
            program.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def certificate() -> tuple[bytes, bytes]:
    """Return a new authority's certificate, and a key and certificate it issued for 127.0.0.1, as PEM."""
    try:
        import trustme  # a development dependency: only TLS in front of the real nginx needs it
    except ImportError:
        raise NginxError("TLS needs a certificate made on the spot; pip install trustme.") from None
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    return authority.cert_pem.bytes(), issued.private_key_and_cert_chain_pem.bytes()
