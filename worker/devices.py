"""Measurements of the workers' devices: how fast they train, and how much memory they have.

One file a device, ``<root>/<id>.json``. The server, which may run on another machine, estimates
with them. Knows no torch and no Redis.
"""

import hashlib
import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from models.files import write_durably
from models.places import make_directory, names_in, tell_once
from models.storage import ONE_DISK, Storage, StorageAway
from worker.records import Count, DamagedRecord, Records


@dataclass(frozen=True, slots=True)
class Device:
    """``work`` is the speed of training, in parameters times characters a second."""

    name: str
    memory_bytes: Count
    work: Annotated[float, Field(gt=0, le=1e30)]
    measured_at: str


_DEVICES = Records(Device)


class DeviceStore:
    """The devices below one directory."""

    def __init__(self, root: Path, storage: Storage = ONE_DISK) -> None:
        self.root = root
        self._storage = storage

    def record(self, device: Device) -> None:
        """Keeps the measurement of this machine's device; replaces an earlier one."""
        own = hashlib.sha256(f"{socket.gethostname()}\n{device.name}".encode()).hexdigest()[:16]

        def record() -> None:
            make_directory(self.root)
            write_durably(self.root / f"{own}.json", json.dumps(asdict(device)).encode())

        # It is measured again with the next job.
        with suppress(StorageAway):
            self._storage.change(self.root, record)

    def devices(self) -> list[Device]:
        """All known devices, the fastest first; a damaged record is left out."""
        found = []
        self._storage.refresh(self.root)
        for name in names_in(self.root):
            path = self.root / name
            if path.suffix != ".json" or name.startswith("."):
                continue
            try:
                device = _DEVICES.read(path)
            except DamagedRecord as error:
                tell_once(f"{path}: {error}; the worker measures its device again")
                continue
            if device:
                found.append(device)
        return sorted(found, key=lambda device: -device.work)

    def work(self) -> float | None:
        """That of the fastest device; None if none was measured yet."""
        devices = self.devices()
        return devices[0].work if devices else None

    def memory_bytes(self) -> int:
        """The largest memory of a device; this machine's while none was measured."""
        return max((device.memory_bytes for device in self.devices()), default=machine_memory())


def machine_memory() -> int:
    """Bytes that this machine has, or that the container may use."""
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            available = min(available, int(Path(limit).read_text("ascii")))
        except (OSError, ValueError):
            # "max", or no such group.
            continue
    return available
