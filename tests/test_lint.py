"""The linter on configurations written for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from configurations import BAD, GOOD, PASS, TLS, TLS_HTTP2, server

from claude_lab.directives import ConfError
from claude_lab.lint import lint


@pytest.mark.parametrize(("traps", "text"), BAD)
def test_each_trap_is_found_and_nothing_else(traps: set[str], text: str) -> None:
    """Exactly the traps that were set; the exit code is for CI."""
    verdict = lint(text)

    assert {trap.name for trap in verdict.traps} == traps
    assert verdict.exit_code == 1


@pytest.mark.parametrize("text", GOOD)
def test_a_good_configuration_is_silent(text: str) -> None:
    """No trap, exit code 0."""
    verdict = lint(text)

    assert [trap.says for trap in verdict.traps] == []
    assert verdict.exit_code == 0


def test_there_are_thirty_of_each() -> None:
    """As many as the claim says, all different."""
    assert (len({text for _, text in BAD}), len(set(GOOD))) == (30, 30)


def test_the_forecast_tells_the_kinds_of_clients_apart() -> None:
    """The same location: at once over plain HTTP and HTTP/2, by TLS records over HTTPS with HTTP/1.1."""
    (advice,) = lint(server(f"{PASS} proxy_http_version 1.1;", listen=f"listen 80; {TLS_HTTP2}")).locations
    modes = {item.client: (item.mode, item.first_bytes) for item in advice.forecasts}

    assert modes["http"] == modes["https, HTTP/2"] == ("each event at once", 128)
    assert modes["https, HTTP/1.1"][0].startswith("steps of 15,")


def test_the_version_decides_what_an_unset_http_version_means() -> None:
    """The same text is a trap for nginx 1.22 and none for 1.30."""
    text = server(PASS)

    assert [trap.name for trap in lint(text).traps] == ["held-by-buffer"]
    assert lint(text, version=(1, 30, 0)).traps == []


def test_a_longer_heartbeat_needs_a_longer_timeout() -> None:
    """Two heartbeats must fit."""
    text = server(f"{PASS} proxy_buffering off; proxy_read_timeout 60s;")

    assert lint(text, heartbeat=15).traps == []
    assert [trap.name for trap in lint(text, heartbeat=45).traps] == ["short-timeout"]


def test_what_is_counted_is_said() -> None:
    """The events' own bytes and those of the body with its framing are two numbers; the text says which is which."""
    told = str(lint(server(f"{PASS} proxy_http_version 1.1;", listen=TLS)))
    flat = " ".join(told.split())

    assert "the first event after 15,488 bytes of events" in flat
    assert "nothing leaves before 16,384 bytes, head and chunk framing counted" in flat
    assert max(map(len, told.splitlines())) <= 88


def test_a_file_is_read_with_its_includes(tmp_path: Path) -> None:
    """The place of a trap names the file it is in."""
    (tmp_path / "nginx.conf").write_text("events {}\nhttp { include sites/*.conf; }\n")
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "chat.conf").write_text(f"server {{\n  {TLS}\n  location / {{\n    {PASS}\n  }}\n}}\n")
    verdict = lint(tmp_path / "nginx.conf")

    assert [(Path(advice.file).name, advice.line) for advice in verdict.locations] == [("chat.conf", 3)]
    assert "chat.conf:3: location / -> http://127.0.0.1:8000" in str(verdict)


def test_the_result_is_plain_data_too() -> None:
    """For programs."""
    data = json.loads(json.dumps(lint(BAD[0][1]).as_dict()))

    assert data["traps"] == 1
    assert data["locations"][0]["traps"][0]["fix"] == "proxy_http_version 1.1; and proxy_buffering off;"


def test_what_cannot_be_read_is_an_error() -> None:
    """A missing file, and text that is no configuration."""
    with pytest.raises(FileNotFoundError, match="missing"):
        lint("missing.conf")
    with pytest.raises(ConfError, match="line"):
        lint("location / { proxy_pass")


def test_a_cached_location_says_what_its_forecast_is_of() -> None:
    """Hits are not played, and the report says so; without a cache it says nothing of one."""
    conf = "server {{ location / {{ proxy_pass http://127.0.0.1:1; proxy_http_version 1.1; {} }} }}"
    told = [str(lint(conf.format(cache))) for cache in ("proxy_cache zone;", "proxy_cache off;", "")]

    assert ["a cache's hits are not played" in text for text in told] == [True, False, False]
    assert "cached-stream" in told[0]
