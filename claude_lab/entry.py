"""What a server needs before it starts, a key to ask with and a token to ask for, and what it says then.

A key for the API is money, so whoever starts a server with one says who may spend it: by a TOKEN, by OPEN_TO_ALL, or by
an unguessable prefix. An upstream on this machine is a fake, or a gateway that minds its own key, and asks for neither.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from pydantic import SecretStr

from claude_lab.retry import RetryPolicy
from claude_lab.settings import Settings

Say = Callable[[str], None]
NO_KEY = "There is no key; set ANTHROPIC_API_KEY, or use `claude-lab serve --fake`, which needs none."
NO_TOKEN = "A key for the API stands behind this server and no token before it; set TOKEN, or OPEN_TO_ALL=yes."


def needs_token(settings: Settings) -> bool:
    """Whether nobody has said who may spend the key."""
    return settings.token is None and not settings.open_to_all and not settings.upstream_is_here


def check(settings: Settings, *, prefix: str = "") -> None:
    """Raise ValueError for settings that no server may start with; a prefix stands for a token."""
    if settings.api_key is None:
        raise ValueError(NO_KEY)
    if not prefix and needs_token(settings):
        raise ValueError(NO_TOKEN)


def with_token(settings: Settings, say: Say) -> Settings:
    """Return settings with a token of their own where one is needed, and say it; for a server of one process.

    Several workers need one that all of them know, so theirs comes from the environment.
    """
    if settings.api_key is None or not needs_token(settings):
        return settings
    token = secrets.token_urlsafe(24)
    say(f"token: {token} (send `Authorization: Bearer {token}`; TOKEN sets your own)")
    return settings.model_copy(update={"token": SecretStr(token)})


def reached_at(settings: Settings, host: str) -> Settings:
    """Return settings that serve the address a server listens on, besides ALLOWED_HOSTS."""
    name = f"[{host}]" if ":" in host else host
    return settings.model_copy(update={"allowed_hosts": (*settings.allowed_hosts, name)})


def retries(settings: Settings, policy: RetryPolicy) -> str:
    """Return the line on how often the upstream is asked."""
    read = f"RETRY_UNIT={settings.retry_unit}"
    if settings.retry_unit == "attempts":
        read += f": MAX_RETRIES={settings.max_retries} was read as so many attempts, the first included"
    return f"retries: {policy.summary}; {read}"
