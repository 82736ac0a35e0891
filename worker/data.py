"""Where things lie below the data directory. Creates nothing, and knows no file's content."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """One directory for server, workers, Redis and experiments."""

    root: Path

    @property
    def jobs(self) -> Path:
        """``worker.jobs.JobStore``."""
        return self.root / "jobs"

    @property
    def corpora(self) -> Path:
        """``worker.corpora.CorpusStore``."""
        return self.root / "corpora"

    @property
    def models(self) -> Path:
        """``models.checkpoints.registry.Registry``."""
        return self.root / "models"

    @property
    def devices(self) -> Path:
        """``worker.devices.DeviceStore``."""
        return self.root / "devices"

    @property
    def redis(self) -> Path:
        """The embedded Valkey's data."""
        return self.root / "redis"

    @property
    def secret(self) -> Path:
        """The file of the key that the server signs states with."""
        return self.root / "secret"

    @property
    def lock(self) -> Path:
        """The file that a running service holds."""
        return self.root / "charloom.lock"

    def text(self, name: str) -> Path:
        """The file of a fetched text."""
        return self.root / "texts" / f"{name}.txt"

    def experiment(self, name: str) -> Path:
        """The directory of an experiment's report."""
        return self.root / "experiments" / name
