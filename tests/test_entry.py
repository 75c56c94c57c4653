"""Before the start: no key is served to everybody by an oversight, however the server is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from claude_lab import background, entry
from claude_lab.background import serve
from claude_lab.retry import RetryPolicy
from claude_lab.server import create_app
from claude_lab.settings import Settings

KEY = "sk-ant-canary-4711"
HERE = "http://127.0.0.1:9"
FACTORY = "import asyncio; from claude_lab.server import create_app as c; a = c().app.router.lifespan_context(None)"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting comes from the machine that tests."""
    monkeypatch.chdir(tmp_path)
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "TOKEN", "OPEN_TO_ALL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "There is no key"),
        ({"api_key": ""}, "There is no key"),
        ({"api_key": KEY}, "set TOKEN"),
        ({"api_key": KEY, "token": ""}, "set TOKEN"),
        ({"api_key": KEY, "base_url": "https://gateway.example"}, "set TOKEN"),
        ({"api_key": KEY, "base_url": ""}, "set TOKEN"),
        ({"api_key": KEY, "token": "mine"}, None),
        ({"api_key": KEY, "open_to_all": True}, None),
        ({"api_key": KEY, "base_url": HERE}, None),
    ],
)
def test_no_app_is_made_for_a_key_that_anybody_could_spend(fields: dict[str, Any], said: str | None) -> None:
    """Whoever makes the app: without a key, or with a key of the API and nobody named who may spend it, it is none."""
    settings = Settings(**fields)

    if said is None:
        assert create_app(settings).relay.settings is settings
    else:
        with pytest.raises(ValueError, match=said):
            create_app(settings)


def test_a_prefix_that_nobody_guesses_stands_for_a_token() -> None:
    """A lab asks for no token: its URL is one."""
    assert create_app(Settings(api_key=KEY), prefix="/unguessable").prefix == "/unguessable"


@pytest.mark.parametrize(("token", "code"), [("", 1), ("mine", 0)])
def test_the_factory_asks_for_a_token_and_says_how_often_it_asks(tmp_path: Path, token: str, code: int) -> None:
    """`uvicorn --factory` gets a sentence or a server that says its attempts; the key stands in neither."""
    start = f"{FACTORY}; asyncio.run(a.__aenter__())"
    environment = {**os.environ, "ANTHROPIC_API_KEY": KEY, "TOKEN": token, "MAX_RETRIES": "4"}

    done = subprocess.run([sys.executable, "-c", start], env=environment, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == code, done.stderr
    assert ("5 attempts a call" in done.stderr) == (code == 0)
    assert ("ValueError: A key for the API stands behind this server" in done.stderr) == (code == 1)
    assert "canary" not in done.stderr


def test_a_token_is_made_where_one_is_needed_only() -> None:
    """It is said once, and it is what the settings then ask for."""
    said: list[str] = []

    with_one = entry.with_token(Settings(api_key=KEY), said.append)
    others = [Settings(), Settings(api_key=KEY, token="mine"), Settings(api_key=KEY, base_url=HERE)]

    assert [entry.with_token(each, said.append) for each in others] == others
    assert with_one.token is not None
    assert len(said) == 1
    assert with_one.token.get_secret_value() in said[0]


def test_the_lines_of_a_start_are_said_when_it_starts() -> None:
    """An app that is only made says nothing; one that is served says the policy in force."""
    said: list[str] = []
    settings = Settings(api_key="lab", base_url=HERE)
    app = create_app(settings, policy=RetryPolicy(max_retries=6), say=said.append)

    assert said == []
    with serve(app):
        assert said == [entry.retries(settings, RetryPolicy(max_retries=6))]
    assert "7 attempts" in said[0]


@pytest.mark.parametrize(("host", "name"), [("127.0.0.2", "127.0.0.2"), ("::1", "[::1]"), ("10.0.3.7", "10.0.3.7")])
def test_the_address_that_is_listened_on_is_served(host: str, name: str) -> None:
    """Whoever starts a server at an address means it to answer there."""
    settings = entry.reached_at(Settings(token=SecretStr("x")), host)

    assert name in settings.allowed_hosts


def test_a_server_on_every_address_names_one_that_can_be_asked() -> None:
    """0.0.0.0 and :: are places to listen, not to ask."""
    with serve(create_app(Settings(api_key="lab", base_url=HERE)), host="0.0.0.0") as served:
        assert served.url == f"http://127.0.0.1:{served.port}"
    assert background.LOOPBACK_OF["::"] == "::1"
