"""The worker's settings, from its environment, and the rules for those that the server shares.

An empty variable counts as unset. Knows nothing of what uses them.
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Self
from urllib.parse import urlsplit

from models.errors import Invalid
from worker import logs
from worker.data import DataDirectory

DATA = "data"
"""Where everything is kept, unless ``CHARLOOM_DATA`` says otherwise."""

LEASE_SECONDS = 8.0
"""For which the lease of a job is valid, unless it is renewed (``worker.leases``)."""

CACHE_BYTES = 20 << 30
"""Bytes of large files that a process keeps of a bucket, besides those in use."""

SHORTEST_LEASE, LONGEST_LEASE = 5.0, 600.0
"""A lease outlasts a command to Redis that is answered at the second try, and the start of the
process that renews it."""

VARIABLES = (
    "CHARLOOM_CACHE_BYTES",
    "CHARLOOM_DATA",
    "CHARLOOM_LEASE_SECONDS",
    "CHARLOOM_LOG",
    "CHARLOOM_QUOTA_RUNNING",
    "CHARLOOM_REDIS_URL",
    "CHARLOOM_STORAGE",
    "CHARLOOM_THREADS",
)
"""All that a worker reads: nothing else of ``CHARLOOM_…`` is handed on to it, such as keys."""

NICENESS = 10
"""Sampling stays smooth: training takes the cores that the server leaves."""


_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()-]+)*/?", re.ASCII)


class SettingsError(Invalid):
    """A variable is missing or invalid; the message is one line for people."""


def exit_misconfigured(reason: str) -> NoReturn:
    """Ends the process with one line and a code that says that no retry mends it."""
    sys.stderr.write(f"{reason}\n")
    sys.exit(os.EX_CONFIG)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """``threads`` is the number that torch computes with; None is one for each core.

    ``quota_running`` is how many jobs of one owner may be worked on at once; None is any number.
    ``storage`` is the URL of a bucket that hosts share; empty is none.
    """

    data: DataDirectory
    # Not shown where settings are printed: it may hold a password.
    redis_url: str = field(repr=False)
    threads: int | None = None
    quota_running: int | None = None
    lease_seconds: float = LEASE_SECONDS
    storage: str = ""
    cache_bytes: int = CACHE_BYTES

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Raises SettingsError."""
        url = environment.get("CHARLOOM_REDIS_URL")
        if not url:
            raise SettingsError(
                "CHARLOOM_REDIS_URL is not set: the worker takes its jobs from there, "
                "for instance redis://localhost:6379"
            )
        try:
            checked_redis_url(url)
        except ValueError as error:
            raise SettingsError(misset("CHARLOOM_REDIS_URL", str(error))) from None
        _check_log(environment.get(logs.VARIABLE, ""))
        data = data_directory(environment.get("CHARLOOM_DATA") or DATA)
        threads, running = (_count(environment, name) for name in ("THREADS", "QUOTA_RUNNING"))
        lease = _lease_seconds(environment.get("CHARLOOM_LEASE_SECONDS"))
        storage = environment.get("CHARLOOM_STORAGE", "")
        try:
            checked_storage(storage)
        except ValueError as error:
            raise SettingsError(misset("CHARLOOM_STORAGE", str(error), storage)) from None
        cache = _count(environment, "CACHE_BYTES") or CACHE_BYTES
        return cls(data, url, threads, running, lease, storage, cache)


def misset(name: str, words: str, value: str | None = None) -> str:
    """Explains a variable in one line; without its value where that may hold a secret."""
    return f"{name}: {words}" if value is None else f"{name}={value!r}: {words}"


def checked_log(form: str) -> str:
    """Raises ValueError for a form of logs that there is not; empty is the default."""
    if form and form not in logs.FORMS:
        raise ValueError(f"must be {' or '.join(logs.FORMS)}")
    return form


def data_directory(path: str | Path) -> DataDirectory:
    """The directory that a path names; a relative one starts at the working directory."""
    return DataDirectory(Path(path).resolve())


def checked_redis_url(url: str) -> str:
    """Raises ValueError for a URL that redis-py takes for none, or of which it ignores a part."""
    # Commands of the terminal import this module, and need no Redis.
    import redis

    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must start with redis://, rediss:// or unix://")
    try:
        # It connects to nothing.
        redis.ConnectionPool.from_url(url).make_connection()
        # redis-py takes database 0 for any other word.
        is_sound = url.startswith("unix://") or not urlsplit(url).path.strip("/0123456789")
    except (ValueError, TypeError, redis.RedisError):
        is_sound = False
    if not is_sound:
        # Not redis-py's words, which may quote a password.
        raise ValueError("must be a URL such as redis://localhost:6379/0, with a number at its end")
    return url


def checked_storage(url: str) -> str:
    """Raises ValueError for what is no URL of a bucket; empty is none."""
    if url and not _BUCKET.fullmatch(url):
        raise ValueError("must be a URL such as s3://bucket/prefix")
    return url.rstrip("/")


def _check_log(form: str) -> None:
    try:
        checked_log(form)
    except ValueError as error:
        raise SettingsError(misset(logs.VARIABLE, str(error), form)) from None


def checked_lease(seconds: float) -> float:
    """Raises ValueError for a lease that is too short to be renewed or too long to wait for."""
    if not SHORTEST_LEASE <= seconds <= LONGEST_LEASE:
        raise ValueError(f"must be from {SHORTEST_LEASE:g} to {LONGEST_LEASE:g} seconds")
    return seconds


def _lease_seconds(text: str | None) -> float:
    if not text:
        return LEASE_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    try:
        return checked_lease(seconds)
    except ValueError as error:
        raise SettingsError(misset("CHARLOOM_LEASE_SECONDS", str(error), text)) from None


def _count(environment: Mapping[str, str], name: str) -> int | None:
    variable = f"CHARLOOM_{name}"
    text = environment.get(variable)
    if not text:
        return None
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise SettingsError(misset(variable, "must be a whole number, at least 1", text))
    return count
