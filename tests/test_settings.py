"""Settings: what wins, what is refused, and what the article's counting means."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from claude_lab.retry import RetryPolicy
from claude_lab.settings import LOOPBACK, Settings
from claude_lab.thrift import Budget, Pacer

NAMES = (
    "MAX_RETRIES",
    "RETRY_UNIT",
    "BASE_DELAY",
    "JITTER",
    "ALLOWED_HOSTS",
    "ANTHROPIC_API_KEY",
    "TOKEN",
    "BASE_DELAYS",
)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting comes from the machine that tests."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_an_argument_wins_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments first, then the environment, then `.env`."""
    Path(".env").write_text("MAX_RETRIES=7\nBASE_DELAY=7\nJITTER=none\n", "utf-8")
    monkeypatch.setenv("MAX_RETRIES", "5")
    monkeypatch.setenv("BASE_DELAY", "5")

    settings = Settings(max_retries=3)

    assert (settings.max_retries, settings.base_delay, settings.jitter) == (3, 5.0, "none")


@pytest.mark.parametrize(
    ("unit", "count", "retries"), [("retries", 3, 3), ("attempts", 3, 2), ("attempts", 1, 0), ("attempts", 0, 0)]
)
def test_the_articles_unit_counts_the_first_attempt_too(
    monkeypatch: pytest.MonkeyPatch, unit: str, count: int, retries: int
) -> None:
    """`RETRY_UNIT=attempts` makes MAX_RETRIES count all attempts, as the article's does; never below none."""
    monkeypatch.setenv("RETRY_UNIT", unit)
    monkeypatch.setenv("MAX_RETRIES", str(count))

    settings = Settings()

    assert settings.retries == retries
    assert settings.policy.max_retries == retries


def test_the_environment_can_say_the_rest_of_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base delay for a kind of failure, what is done with `retry-after`, a deadline, a budget and a pacer."""
    assert Settings().policy == RetryPolicy()
    monkeypatch.setenv("BASE_DELAYS", '{"rate_limit": 5}')
    monkeypatch.setenv("MAX_RETRY_AFTER", "60")
    monkeypatch.setenv("RETRY_DEADLINE", "90")
    monkeypatch.setenv("HONOR_RETRY_AFTER", "no")
    monkeypatch.setenv("RETRY_BUDGET", '{"ratio": 0.2, "kinds": ["timeout"]}')
    monkeypatch.setenv("RETRY_PACER", '{"rate": 5}')

    policy = Settings().policy

    assert (policy.base_of("rate_limit"), policy.base_of("timeout")) == (5.0, 1.0)
    assert (policy.max_retry_after, policy.deadline, policy.honor_retry_after) == (60.0, 90.0, False)
    assert policy.budget == Budget(ratio=0.2, kinds=frozenset({"timeout"}))
    assert policy.pacer == Pacer(rate=5)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BASE_DELAYS", '{"rate_limit": -5}', "is not a delay"),
        ("BASE_DELAYS", '{"rain": 5}', "rain"),
        ("RETRY_BUDGET", '{"ratoi": 5}', "ratoi"),
        ("RETRY_BUDGET", '{"ratio": -1}', "give numbers >= 0"),
        ("RETRY_PACER", '{"rate": 0}', "use rate > 0"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_the_settings(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """The sentence comes when the settings are read, not at the first request."""
    monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError, match=said):
        Settings()


def test_lists_come_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment holds names with commas between; without any the loopback's are meant."""
    assert Settings().allowed_hosts == LOOPBACK
    monkeypatch.setenv("ALLOWED_HOSTS", "chat.example, api.example,")

    assert Settings().allowed_hosts == ("chat.example", "api.example")


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_retries": -1},
        {"base_delay": -0.1},
        {"heartbeat": 0},
        {"jitter": "some"},
        {"retry_unit": "tries"},
        {"recovery": "x"},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    """A count below 0, a heartbeat of 0 and unknown words raise, naming the field."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Settings(**wrong)


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither repr, str nor JSON holds the key or the token."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-canary")
    monkeypatch.setenv("TOKEN", "token-canary")

    settings = Settings()

    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "sk-canary"
    assert "canary" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("url", "here"),
    [
        (None, False),
        ("https://api.anthropic.com", False),
        ("http://127.0.0.1:8001/x", True),
        ("http://[::1]:8001", True),
        ("http://localhost@gateway.example", False),
        ("http://127.0.0.1.example", False),
    ],
)
def test_an_upstream_on_this_machine_is_known(url: str | None, here: bool) -> None:
    """It is the URL's host that counts; without a URL the SDK asks the API itself."""
    assert Settings(base_url=url).upstream_is_here is here


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "TOKEN", "REDIS_URL", "MAX_RETRIES"])
def test_what_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """`TOKEN=` is no token that everybody knows, and an empty URL is not asked."""
    monkeypatch.setenv(name, "")

    assert Settings() == Settings.model_construct()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TOKEN", " ", "visible ASCII"),
        ("TOKEN", "ünsicher", "visible ASCII"),
        ("ANTHROPIC_API_KEY", "sk-canary\n", "visible ASCII"),
        ("ANTHROPIC_BASE_URL", "gateway.example", "no URL of a server"),
        ("ANTHROPIC_BASE_URL", "ftp://gateway.example", "no URL of a server"),
        ("IDLE_TIMEOUT", "inf", "finite"),
        ("ORPHAN_GRACE", "nan", "finite"),
        ("GRACE", "inf", "finite"),
        ("ALLOWED_ORIGINS", "*", "name no origin"),
        ("ALLOWED_ORIGINS", "https://a.example/page", "name no origin"),
        ("MODEL", "", None),
    ],
)
def test_what_no_server_can_work_with_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str | None
) -> None:
    """A sentence when the settings are read, without the value of a secret; not an error at the first request."""
    monkeypatch.setenv(name, value)

    if said is None:
        assert Settings().model
    else:
        with pytest.raises(ValidationError, match=said) as caught:
            Settings()
        assert "canary" not in str(caught.value)


def test_an_origin_is_written_as_a_browser_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slash at the end, or a capital letter, would match no page's origin."""
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://A.example/, vscode-webview://abc")

    assert Settings().allowed_origins == ("https://a.example", "vscode-webview://abc")
