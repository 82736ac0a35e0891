"""Looks on while a service is disturbed: who trains a job, and whether a model is ever torn."""

import contextlib
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import httpx2

from models.checkpoints.reference import UnknownModel
from models.checkpoints.registry import Registry
from models.files import CheckpointError
from tests.service import Up


def holders(data: Path) -> dict[str, list[int]]:
    """Processes that hold the lock of a job, as the kernel tells of each open file."""
    inodes = {}
    for lock in data.glob("jobs/*/lock"):
        with contextlib.suppress(OSError):
            inodes[str(lock.stat().st_ino)] = lock.parent.name
    found: dict[str, list[int]] = defaultdict(list)
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"worker.trainer.horse" not in (directory / "cmdline").read_bytes():
                continue
            for info in (directory / "fdinfo").iterdir():
                for line in info.read_text().splitlines():
                    # "lock:\t1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF"
                    if line.startswith("lock:") and " WRITE " in line:
                        inode = line.split()[6].rpartition(":")[2]
                        if inode in inodes:
                            found[inodes[inode]].append(int(directory.name))
    return found


class Watcher:
    """Looks on all the while: how many train a job, and whether a model is ever torn."""

    def __init__(self, up: Up) -> None:
        self.up = up
        self.looks: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(look,))
            for look in (self._trainers, self._models_on_disk, self._models_over_http)
        ]

    def __enter__(self) -> "Watcher":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, look: Callable[[], None]) -> None:
        while not self._done.wait(0.05):
            look()

    def _trainers(self) -> None:
        for job_id, pids in holders(self.up.data).items():
            self.looks["at who trains"] += 1
            if len(pids) > 1:
                self.wrong.append(f"{pids} train {job_id} at once")

    def _models_on_disk(self) -> None:
        registry = Registry(self.up.data / "models")
        for reference in list(registry.references()):
            try:
                digest = registry.resolve(reference)
                registry.load(reference.name, digest)
            except UnknownModel:
                continue
            except CheckpointError as error:
                # One that a better one has replaced may be gone, but never be damaged.
                if registry.resolve(reference) == digest:
                    self.wrong.append(f"{reference} is torn: {error}")
            self.looks["at a model on disk"] += 1

    def _models_over_http(self) -> None:
        try:
            with httpx2.Client(base_url=self.up.client.base_url, timeout=60) as client:
                for model in client.get("/models").json()["models"]:
                    answer = client.get("/sample", params={"model": model["model"], "length": 20})
                    self.looks["at a model over HTTP"] += 1
                    if answer.status_code not in (200, 503) or not answer.text:
                        self.wrong.append(f"{model['model']}: {answer.status_code} {answer.text}")
        except (httpx2.HTTPError, ValueError, KeyError):
            # The server was just killed.
            return
