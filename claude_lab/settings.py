"""One typed object of settings: arguments first, then the environment, then `.env`.

Divergence 1 (from the article): `MAX_RETRIES` counts the attempts after the first, as the SDK's does;
`RETRY_UNIT=attempts` makes it count all of them, as the article's does.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, FiniteFloat, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from claude_lab.retry import RetryPolicy
from claude_lab.thrift import Budget, Pacer

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MODEL = "claude-haiku-5-5"
Names = Annotated[tuple[str, ...], NoDecode]
SECRETS = frozenset({"ANTHROPIC_API_KEY", "api_key", "token", "redis_url"})
"""Fields, and variables, whose values are shown nowhere, not even when they are wrong."""
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")


class Settings(BaseSettings):
    """What a server needs to know; seconds are floats. Raises pydantic's ValidationError for a value that cannot be.

    What is set to nothing (`TOKEN=`) is not set.
    """

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", populate_by_name=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    api_key: SecretStr | None = Field(default=None, validation_alias="ANTHROPIC_API_KEY")
    base_url: str | None = Field(default=None, validation_alias="ANTHROPIC_BASE_URL")
    model: str = Field(default=MODEL, min_length=1)
    max_retries: int = Field(default=2, ge=0)
    base_delay: FiniteFloat = Field(default=1.0, ge=0)
    max_delay: FiniteFloat = Field(default=60.0, ge=0)
    jitter: Literal["none", "full", "equal", "decorrelated", "sdk"] = "full"
    retry_unit: Literal["retries", "attempts"] = "retries"
    base_delays: dict[str, float] = Field(default_factory=dict)
    max_retry_after: FiniteFloat = Field(default=300.0, ge=0)
    honor_retry_after: bool = True
    retry_deadline: FiniteFloat | None = Field(default=None, gt=0)
    retry_budget: Budget | None = None
    retry_pacer: Pacer | None = None
    recovery: Literal["fail", "restart", "continue"] = "fail"
    grace: FiniteFloat = Field(default=1.0, ge=0)
    heartbeat: FiniteFloat = Field(default=15.0, gt=0)
    idle_timeout: FiniteFloat = Field(default=120.0, gt=0)
    orphan_grace: FiniteFloat = Field(default=30.0, ge=0)
    max_runs: int = Field(default=1000, ge=1)
    max_run_bytes: int = Field(default=16 * 2**20, ge=1)
    max_bytes: int = Field(default=2**30, ge=1)
    max_readers: int = Field(default=32, ge=1)
    run_age: FiniteFloat = Field(default=600.0, ge=0)
    redis_url: SecretStr | None = None
    lease: FiniteFloat = Field(default=5.0, gt=0)
    allowed_hosts: Names = LOOPBACK
    allowed_origins: Names = ()
    token: SecretStr | None = None
    open_to_all: bool = False

    @field_validator("api_key", "base_url", "redis_url", "token", mode="before")
    @classmethod
    def nothing_is_none(cls, value: Any) -> Any:
        """Take an empty text for none: an empty token would be known to everybody."""
        return None if (value.get_secret_value() if isinstance(value, SecretStr) else value) == "" else value

    @field_validator("api_key", "token")
    @classmethod
    def fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        """Refuse what no header can carry, such as a key with the end of its line, and what is blank."""
        text = "x" if value is None else value.get_secret_value()
        if not (text.isascii() and text.isprintable() and text == text.strip()):
            raise ValueError("it has blanks around it or characters that no header carries; use visible ASCII ones")
        return value

    @field_validator("base_url")
    @classmethod
    def is_a_url(cls, value: str | None) -> str | None:
        """Refuse what the upstream cannot be asked at."""
        if value is not None and not (value.startswith(("http://", "https://")) and urlsplit(value).hostname):
            raise ValueError(f"{value!r} is no URL of a server; write it as https://host or http://127.0.0.1:8001")
        return value

    @field_validator("allowed_origins")
    @classmethod
    def are_origins(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        """Write each as a browser does: no slash at its end, small letters. Refuse what no browser sends."""
        origins = tuple(value.rstrip("/").lower() for value in values)
        if strange := [each for each in origins if not ORIGIN.fullmatch(each)]:
            raise ValueError(f"{strange!r} name no origin; write each as https://host or http://host:port")
        return origins

    @field_validator("allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def split(cls, value: Any) -> Any:
        """Accept a comma-separated list, as environments hold it."""
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("retry_budget", "retry_pacer", mode="before")
    @classmethod
    def know_every_word(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a misspelled field, which pydantic would pass over as it does for variables that are not ours."""
        words = [word.name for word in fields(Budget if info.field_name == "retry_budget" else Pacer)]
        if isinstance(value, dict) and (strange := set(value).difference(words)):
            raise ValueError(f"{sorted(strange)!r} means nothing here; use some of {', '.join(words)}.")
        return value

    @property
    def upstream_is_here(self) -> bool:
        """Whether the upstream is on this machine: a fake, or a gateway that minds its own key."""
        return self.base_url is not None and urlsplit(self.base_url).hostname in ("127.0.0.1", "localhost", "::1")

    @property
    def retries(self) -> int:
        """How many attempts may follow the first, whatever `retry_unit` counts."""
        return max(0, self.max_retries - 1) if self.retry_unit == "attempts" else self.max_retries

    @property
    def policy(self) -> RetryPolicy:
        """The retry policy that these settings describe."""
        return RetryPolicy(
            max_retries=self.retries,
            base_delay=self.base_delay,
            max_delay=self.max_delay,
            jitter=self.jitter,
            base_delays=self.base_delays,
            honor_retry_after=self.honor_retry_after,
            max_retry_after=self.max_retry_after,
            deadline=self.retry_deadline,
            budget=self.retry_budget,
            pacer=self.retry_pacer,
        )

    @model_validator(mode="after")
    def the_policy_can_be_meant(self) -> Self:
        """Refuse here what a policy would refuse at the first request."""
        self.policy  # noqa: B018  # it raises
        return self
