"""What an operator sets: the ``CHARLOOM_…`` variables of the environment, checked.

Knows nothing of the application that is made from them.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import limits
from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.access.keys import KeyRing
from app.supervisor import loopback

_ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:_-]+", re.ASCII)
_HOST = re.compile(r"[a-z0-9.:_-]+", re.ASCII)


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip().lower() for part in value.split(",") if part.strip())
    return value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Several with commas between them."""


class Settings(BaseSettings):
    """Each field is the variable of its name, in capitals, after ``CHARLOOM_``.

    Attributes:
        api_keys: ``key:scope+scope,…``; with none everybody may do everything.
        public: ``sample`` opens sampling to those without a key.
        public_rate: requests without a key from one address, such as ``60/minute``.
        public_streams: of these, how many at once.
        key_rate: requests with one key; nothing is no limit.
        cors_origins: where pages may be that sample, such as ``https://example.org``; ``*`` is
            everywhere.
        hosts: names beside loopback's by which clients call this server.
        trusted_proxies: addresses or networks whose ``X-Forwarded-For`` is believed.
    """

    model_config = SettingsConfigDict(env_prefix="CHARLOOM_", frozen=True)

    data: Path = Path("data")
    # Not shown where settings are printed: it may hold a password.
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", repr=False)
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    max_upload_bytes: int = Field(default=1 << 30, ge=1)
    pretrained: Path | None = Path(__file__).resolve().parent.parent / "pretrained"
    max_streams: int = Field(default=1000, ge=1)
    model_memory_bytes: int = Field(default=4 << 30, ge=0)
    insecure: bool = False
    api_keys: SecretStr = SecretStr("")
    public: Literal["", "sample"] = ""
    public_rate: str = "60/minute"
    public_streams: int = Field(default=8, ge=1)
    key_rate: str = ""
    cors_origins: Words = ()
    hosts: Words = ()
    trusted_proxies: Words = ()

    @field_validator("api_keys")
    @classmethod
    def _sound_keys(cls, keys: SecretStr) -> SecretStr:
        KeyRing.parse(keys.get_secret_value())
        return keys

    @field_validator("public_rate", "key_rate")
    @classmethod
    def _sound_rate(cls, rate: str) -> str:
        try:
            if rate:
                limits.parse(rate)
        except ValueError:
            raise ValueError("must be a rate such as 60/minute, or nothing") from None
        return rate

    @field_validator("cors_origins")
    @classmethod
    def _sound_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError("must be origins such as https://example.org, without a path")
        return origins

    @field_validator("hosts")
    @classmethod
    def _sound_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_HOST.fullmatch(host) for host in hosts):
            raise ValueError("must be names of hosts, without a port")
        return hosts


def refusal(settings: Settings) -> str | None:
    """Why a server must not start with these settings; None if it may."""
    keys = bool(settings.api_keys.get_secret_value())
    return loopback.refusal(settings.host, keys=keys, insecure=settings.insecure)
