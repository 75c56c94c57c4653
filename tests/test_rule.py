"""Rules from keywords, presets and nginx configurations."""

from __future__ import annotations

import pytest

from claude_lab.directives import ConfError, locations, seconds, size_bytes
from claude_lab.rule import Rule

ARTICLE = """
location /chat/ {
    proxy_pass http://localhost:8000;
    proxy_buffering off;
    proxy_cache off;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    chunked_transfer_encoding on;
    proxy_read_timeout 300s;
}
"""


def test_the_articles_location_is_the_articles_preset() -> None:
    """The article's block, read by crossplane, gives the preset of that name."""
    assert Rule.from_nginx_conf(ARTICLE) == Rule.preset("article")


def test_inner_levels_win() -> None:
    """A directive in a location replaces the server's, the server's replaces the http block's."""
    text = """http { proxy_buffering off; gzip on; gzip_types a/b;
        server { proxy_buffers 4 8k; location /x { proxy_pass http://u; proxy_buffering on; gzip_types c/d e/f; } } }"""
    rule = Rule.from_nginx_conf(text)

    assert (rule.buffering, rule.buffers, rule.gzip) == (True, (4, 8192), True)
    assert rule.gzip_types == {"text/html", "c/d", "e/f"}


def test_a_path_picks_the_location() -> None:
    """Of several proxied locations, the path picks the one nginx would."""
    text = "location / { proxy_pass http://a; } location /chat/ { proxy_pass http://b; proxy_buffering off; }"

    assert Rule.from_nginx_conf(text, path="/chat/stream").buffering is False
    assert Rule.from_nginx_conf(text, path="/other").buffering is True
    with pytest.raises(ConfError, match="pass path="):
        Rule.from_nginx_conf(text)


def test_bare_directives_are_a_location() -> None:
    """A snippet without any block can be read."""
    assert Rule.from_nginx_conf("proxy_buffering off; proxy_buffer_size 16k;").buffer_size == 16384


def test_https_is_seen_in_the_listen_line() -> None:
    """A server that listens with ssl is taken to be asked over HTTPS with HTTP/1.1, unless one says otherwise."""
    text = "server { listen 443 ssl http2; ssl_buffer_size 4k; location / { proxy_pass http://a; } }"

    assert (Rule.from_nginx_conf(text).tls, Rule.from_nginx_conf(text).record_size) == (True, 4096)
    assert Rule.from_nginx_conf(text, tls=False).tls is False


def test_the_default_of_proxy_http_version_depends_on_nginx() -> None:
    """1.0 before nginx 1.29.7, 1.1 from then on."""
    assert Rule().upstream_http == "1.0"
    assert Rule(version=(1, 29, 7)).upstream_http == "1.1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("location / { proxy_pass http://a", "line"),
        ("location / { proxy_pass http://a; proxy_buffer_size big; }", "'big' is no size"),
        ("location / { proxy_pass http://a; proxy_read_timeout soon; }", "'soon' is no time"),
        ("events { }", "no single proxied location"),
    ],
)
def test_a_bad_configuration_is_refused_with_the_reason(text: str, message: str) -> None:
    """One sentence, with the word that is wrong."""
    with pytest.raises(ConfError, match=message):
        Rule.from_nginx_conf(text)


def test_sizes_and_times_read_as_nginx_reads_them() -> None:
    """k and m are powers of 1,024; bare numbers of a time are seconds."""
    assert [size_bytes(text) for text in ("8", "4k", "1M")] == [8, 4096, 1048576]
    assert [seconds(text) for text in ("60", "1h 5m", "300ms")] == [60, 3900, pytest.approx(0.3)]


def test_a_wrong_rule_is_refused_at_the_door() -> None:
    """Unknown presets and holds, and sizes that are no sizes, raise with what to use instead."""
    with pytest.raises(ValueError, match=r"'nginx-1\.22'"):
        Rule.preset("nginx-9")
    with pytest.raises(ValueError, match="'clumps'"):
        Rule(hold="forever")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="buffer_size=0"):
        Rule(buffer_size=0)


def test_nested_locations_inherit() -> None:
    """A location inside a location takes what the outer one says, but not its proxy_pass."""
    outer, inner = locations("location /a { proxy_pass http://a; proxy_buffering off; location /a/b { gzip on; } }")

    assert (inner.get("proxy_buffering"), inner.upstream, outer.upstream) == ("off", "", "http://a")
