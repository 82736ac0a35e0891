"""The server's settings: the ``CHARLOOM_…`` variables of the environment, checked.

An empty variable counts as unset. Knows nothing of the application that uses them.
"""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

import limits
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.access.hosts import is_address, name_of
from app.access.keys import KeyRing
from app.access.table import FIRST_SEGMENTS
from app.http.validation import in_our_words
from app.supervisor import loopback
from worker.data import DataDirectory
from worker.devices import machine_memory
from worker.settings import (
    CACHE_BYTES,
    DATA,
    LEASE_SECONDS,
    checked_lease,
    checked_log,
    checked_redis_url,
    checked_storage,
    data_directory,
    misset,
)

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII)
_ROOT = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+", re.ASCII)


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip().lower() for part in value.split(",") if part.strip())
    return value


def _as_browsers_say(origin: str) -> str:
    """An origin without its scheme's own port, which no browser names (RFC 6454, 6.2)."""
    scheme, _, _ = origin.partition("://")
    return origin.removesuffix({"http": ":80", "https": ":443"}.get(scheme, "") or "\0")


def _directory(value: Any) -> Any:
    return data_directory(value) if isinstance(value, str | Path) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Values separated by commas."""


class ServerSettings(BaseSettings):
    """Each field is the variable of its name, in capitals, after ``CHARLOOM_``.

    Attributes:
        api_keys: ``key:scope+scope,…``; without keys, anyone may do everything.
        public: ``sample`` opens sampling to clients without a key.
        public_rate: limit for requests without a key from one IP address, such as ``60/minute``.
        public_streams: limit for simultaneous requests of that kind, and for texts of theirs.
        key_rate: limit for requests with one key; empty is none.
        cors_origins: origins whose pages may sample, such as ``https://example.org``; ``*`` is any.
        root_path: path that a proxy puts before ours, such as ``/loom``, where it passes it on.
        hosts: host names besides ``localhost`` by which clients call this server.
        storage: URL of a bucket that hosts share, such as ``s3://bucket/prefix``; empty is none.
        cache_bytes: of large files that this process keeps of it, besides those in use.
        model_memory_bytes: of loaded models, with the states of their primes.
        prime_memory_bytes: of the states of primes.
        native: whether ``fast`` models may be computed by code that is compiled here.
        quota_…: what one key, or one IP address where there are no keys, may have at most of each:
            texts at once, by default half of what others leave; open requests, by default a quarter
            of the connections; jobs that wait; jobs that run; bytes of corpora; models and tags.
            They do not hold for this machine's own clients without a key.
        trusted_proxies: IP addresses or networks whose ``X-Forwarded-For`` is believed; only ``*``
            is any.
        drain_seconds: for which a server that stops lets answers end.
        log: form of the log, ``json`` or ``text``.
    """

    model_config = SettingsConfigDict(env_prefix="CHARLOOM_", env_ignore_empty=True, frozen=True)

    data: Annotated[DataDirectory, NoDecode, BeforeValidator(_directory)] = Field(
        default=DATA, validate_default=True
    )
    # Not shown where settings are printed: it may hold a password.
    redis_url: Annotated[str, AfterValidator(checked_redis_url)] = Field(
        default="redis://127.0.0.1:6379/0", repr=False
    )
    lease_seconds: Annotated[float, AfterValidator(checked_lease)] = LEASE_SECONDS
    storage: Annotated[str, AfterValidator(checked_storage)] = ""
    cache_bytes: int = Field(default=CACHE_BYTES, ge=1)
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    max_upload_bytes: int = Field(default=1 << 30, ge=1)
    pretrained: Path | None = Path(__file__).resolve().parent.parent / "pretrained"
    max_streams: int = Field(default=1000, ge=1)
    model_memory_bytes: int = Field(default_factory=lambda: machine_memory() // 4, ge=0)
    prime_memory_bytes: int = Field(default=64 << 20, ge=0)
    native: bool = True
    insecure: bool = False
    api_keys: SecretStr = SecretStr("")
    public: Literal["", "sample"] = ""
    public_rate: str = "60/minute"
    public_streams: int = Field(default=8, ge=1)
    key_rate: str = ""
    quota_streams: int | None = Field(default=None, ge=1)
    quota_connections: int | None = Field(default=None, ge=1)
    quota_queued: int = Field(default=100, ge=1)
    quota_running: int | None = Field(default=None, ge=1)
    quota_corpora_bytes: int = Field(default=16 << 30, ge=1)
    quota_models: int = Field(default=1000, ge=1)
    cors_origins: Words = ()
    root_path: str = ""
    hosts: Words = ()
    trusted_proxies: Words = ()
    drain_seconds: float = Field(default=5, ge=0, le=3600)
    log: Annotated[str, AfterValidator(checked_log)] = ""

    @field_validator("api_keys")
    @classmethod
    def _sound_keys(cls, keys: SecretStr) -> SecretStr:
        KeyRing.parse(keys.get_secret_value())
        return keys

    @field_validator("public_rate", "key_rate")
    @classmethod
    def _sound_rate(cls, rate: str) -> str:
        try:
            is_sound = not rate or len(limits.parse_many(rate)) == 1
        except ValueError:
            is_sound = False
        if not is_sound:
            raise ValueError("must be a rate such as 60/minute")
        return rate

    @field_validator("cors_origins")
    @classmethod
    def _sound_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError("must be origins such as https://example.org, without paths")
        return tuple(map(_as_browsers_say, origins))

    @field_validator("root_path")
    @classmethod
    def _sound_root(cls, root: str) -> str:
        root = root.rstrip("/")
        if root and not _ROOT.fullmatch(root):
            raise ValueError("must be a path such as /loom")
        if root and root.split("/")[1] in FIRST_SEGMENTS:
            raise ValueError("must not begin like a path of this server's own")
        return root

    @field_validator("hosts")
    @classmethod
    def _sound_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        if not all(is_address(host) if ":" in host else name_of(host) == host for host in hosts):
            raise ValueError("must be host names, without ports")
        return hosts

    @field_validator("trusted_proxies")
    @classmethod
    def _sound_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        if proxies == ("*",):
            return proxies
        try:
            for proxy in proxies:
                ip_network(proxy)
        except ValueError:
            raise ValueError(
                "must be IP addresses or networks such as 127.0.0.1,10.0.0.0/8, or only *"
            ) from None
        return proxies


def explained(error: ValidationError) -> str:
    """Explains the first error in one line that names the variable and, if no secret, its value."""
    first = error.errors()[0]
    name = str(first["loc"][0])
    fields = ServerSettings.model_fields
    words = in_our_words(first, fields[name], fields)
    is_secret = not fields[name].repr or fields[name].annotation is SecretStr
    return misset(f"CHARLOOM_{name.upper()}", words, None if is_secret else _as_set(first["input"]))


def _as_set(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def refusal(settings: ServerSettings) -> str | None:
    """The reason not to start a server with these settings; None if there is none."""
    keys = bool(settings.api_keys.get_secret_value())
    return loopback.refusal(settings.host, keys=keys, insecure=settings.insecure)
