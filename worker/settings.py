"""What the worker reads from its environment, and where things are below the data directory.

Knows nothing of what is kept there.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

NICENESS = 10
"""Of workers, so that sampling stays smooth while training takes the cores that are left."""


class SettingsError(ValueError):
    """The environment lacks something or holds nonsense; the message is one line for people."""


@dataclass(frozen=True, slots=True)
class Settings:
    """``threads`` is how many torch computes with; None is one for each core."""

    data: Path
    # Not shown where settings are printed: it may hold a password.
    redis_url: str = field(repr=False)
    threads: int | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Raises SettingsError."""
        url = environment.get("CHARLOOM_REDIS_URL")
        if not url:
            raise SettingsError(
                "CHARLOOM_REDIS_URL is not set: the worker takes its jobs from there, "
                "for instance redis://localhost:6379"
            )
        if not url.startswith(("redis://", "rediss://", "unix://")):
            raise SettingsError("CHARLOOM_REDIS_URL must start with redis://, rediss:// or unix://")
        data = Path(environment.get("CHARLOOM_DATA") or "data").resolve()
        return cls(data, url, _threads(environment.get("CHARLOOM_THREADS")))

    @property
    def corpora(self) -> Path:
        return self.data / "corpora"

    @property
    def jobs(self) -> Path:
        return self.data / "jobs"

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def devices(self) -> Path:
        return self.data / "devices"


def _threads(text: str | None) -> int | None:
    if not text:
        return None
    try:
        threads = int(text)
    except ValueError:
        threads = 0
    if threads < 1:
        raise SettingsError("CHARLOOM_THREADS must be a whole number from 1 on")
    return threads
