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

VARIABLES = (
    "CHARLOOM_DATA",
    "CHARLOOM_LOG",
    "CHARLOOM_QUOTA_RUNNING",
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
    """``threads`` is the number that torch computes with; None is one for each core.

    ``quota_running`` is how many jobs of one owner may be worked on at once; None is any number.
    """

    data: DataDirectory
    # Not shown where settings are printed: it may hold a password.
    redis_url: str = field(repr=False)
    threads: int | None = None
    quota_running: int | None = None

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
        threads, running = (_count(environment, name) for name in ("THREADS", "QUOTA_RUNNING"))
        return cls(data, url, threads, running)


def data_directory(path: str | Path) -> DataDirectory:
    """The directory that a path names; a relative one starts at the working directory."""
    return DataDirectory(Path(path).resolve())


def checked_redis_url(url: str) -> str:
    """Raises ValueError for a URL that redis-py takes for none."""
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must start with redis://, rediss:// or unix://")
    return url


def _count(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(f"CHARLOOM_{name}")
    if not text:
        return None
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise SettingsError(f"CHARLOOM_{name} must be a whole number, at least 1")
    return count
