"""The worker's settings, from its environment, and the rules for those that the server shares.

An empty variable counts as unset. Knows nothing of what uses them.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Self

from models.errors import Invalid
from worker.data import DataDirectory

DATA = "data"
"""Where everything is kept, unless ``CHARLOOM_DATA`` says otherwise."""

LEASE_SECONDS = 10.0
"""For which the lease of a job is valid, unless it is renewed (``worker.leases``)."""

VARIABLES = (
    "CHARLOOM_DATA",
    "CHARLOOM_LEASE_SECONDS",
    "CHARLOOM_LOG",
    "CHARLOOM_REDIS_URL",
    "CHARLOOM_THREADS",
)
"""All that a worker reads: nothing else of ``CHARLOOM_…`` is handed on to it, such as keys."""

NICENESS = 10
"""Sampling stays smooth: training takes the cores that the server leaves."""


class SettingsError(Invalid):
    """A variable is missing or invalid; the message is one line for people."""


def exit_misconfigured(reason: str) -> NoReturn:
    """Ends the process with one line and a code that says that no retry mends it."""
    sys.stderr.write(f"{reason}\n")
    sys.exit(os.EX_CONFIG)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """``threads`` is the number that torch computes with; None is one for each core."""

    data: DataDirectory
    # Not shown where settings are printed: it may hold a password.
    redis_url: str = field(repr=False)
    threads: int | None = None
    lease_seconds: float = LEASE_SECONDS

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
            raise SettingsError(f"CHARLOOM_REDIS_URL {error}") from None
        data = data_directory(environment.get("CHARLOOM_DATA") or DATA)
        return cls(
            data,
            url,
            _threads(environment.get("CHARLOOM_THREADS")),
            _lease_seconds(environment.get("CHARLOOM_LEASE_SECONDS")),
        )


def data_directory(path: str | Path) -> DataDirectory:
    """The directory that a path names; a relative one starts at the working directory."""
    return DataDirectory(Path(path).resolve())


def checked_redis_url(url: str) -> str:
    """Raises ValueError for a URL that redis-py takes for none."""
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must start with redis://, rediss:// or unix://")
    return url


def checked_lease(seconds: float) -> float:
    """Raises ValueError for a lease that is too short to be renewed or too long to wait for."""
    if not 0.5 <= seconds <= 600:
        raise ValueError("must be from 0.5 to 600 seconds")
    return seconds


def _lease_seconds(text: str | None) -> float:
    if not text:
        return LEASE_SECONDS
    try:
        return checked_lease(float(text))
    except ValueError:
        raise SettingsError("CHARLOOM_LEASE_SECONDS must be from 0.5 to 600 seconds") from None


def _threads(text: str | None) -> int | None:
    if not text:
        return None
    try:
        threads = int(text)
    except ValueError:
        threads = 0
    if threads < 1:
        raise SettingsError("CHARLOOM_THREADS must be a whole number, at least 1")
    return threads
