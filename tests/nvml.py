"""NVIDIA's driver library for tests, as the real ``pynvml`` calls it: its GPUs are in a JSON file.

``Driver`` gives it to the processes that a test starts, and a torch that has CUDA by its version.
"""

import ctypes
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

NOT_SUPPORTED, NOT_FOUND, DRIVER_NOT_LOADED, IS_LOST = 3, 6, 9, 15
"""Codes of errors, as ``nvml.h`` has them."""

_SHIM = """
import importlib.machinery, pathlib, sys
_here = pathlib.Path(__file__).parent
_others = [path for path in sys.path if pathlib.Path(path) != _here]
_spec = importlib.machinery.PathFinder.find_spec("pynvml", _others)
_spec.loader.exec_module(sys.modules[__name__])
sys.path.append({root!r})
from tests.nvml import Library
nvmlLib = Library(_here / "gpus.json")
"""


def h200(number: int, **changed: Any) -> dict[str, Any]:
    """A GPU as it stands in the file; a figure that is missing is not supported."""
    return {
        "id": f"GPU-{number}a8e8f9c-2f1d-4c9a-9d0e-3b7c1f2a6e44",
        "name": "NVIDIA H200",
        "total": 150_754_820_096,
        "used": 3_221_225_472,
        "busy": 97,
        "celsius": 61,
        "milliwatts": 512_400,
    } | changed


class Library:
    """``libnvidia-ml.so.1``: functions take pointers and return a code."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handles: dict[tuple[int, int | None], Any] = {}

    def _gpus(self) -> list[dict[str, Any]]:
        return list(json.loads(self._path.read_text()))

    def nvmlInitWithFlags(self, _flags: int) -> int:
        return 0 if self._path.exists() else DRIVER_NOT_LOADED

    def nvmlShutdown(self) -> int:
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        return _put(count, len(self._gpus()))

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, device: Any) -> int:
        if self._gpus()[index.value].get("lost"):
            return IS_LOST
        return self._point(device, (index.value, None))

    def nvmlDeviceGetMigMode(self, device: Any, current: Any, pending: Any) -> int:
        parts = self._of(device).get("parts")
        if parts is None:
            return NOT_SUPPORTED
        return _put(current, int(bool(parts))) or _put(pending, 0)

    def nvmlDeviceGetMaxMigDeviceCount(self, device: Any, count: Any) -> int:
        return _put(count, 7) if "parts" in self._of(device) else NOT_SUPPORTED

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Any, index: Any, part: Any) -> int:
        if index.value >= len(self._of(device)["parts"]):
            return NOT_FOUND
        return self._point(part, (self._key(device)[0], index.value))

    def nvmlDeviceGetUUID(self, device: Any, buffer: Any, _size: Any) -> int:
        buffer.value = self._of(device)["id"].encode()
        return 0

    def nvmlDeviceGetName(self, device: Any, buffer: Any, _size: Any) -> int:
        buffer.value = self._of(device)["name"].encode()
        return 0

    def nvmlDeviceGetMemoryInfo(self, device: Any, memory: Any) -> int:
        gpu = self._of(device)
        memory._obj.total, memory._obj.used = gpu["total"], gpu["used"]
        memory._obj.free = gpu["total"] - gpu["used"]
        return 0

    def nvmlDeviceGetUtilizationRates(self, device: Any, rates: Any) -> int:
        gpu = self._of(device)
        if "busy" not in gpu:
            return NOT_SUPPORTED
        rates._obj.gpu = gpu["busy"]
        return 0

    def nvmlDeviceGetTemperature(self, device: Any, _sensor: Any, celsius: Any) -> int:
        return self._figure(device, "celsius", celsius)

    def nvmlDeviceGetPowerUsage(self, device: Any, milliwatts: Any) -> int:
        return self._figure(device, "milliwatts", milliwatts)

    def _figure(self, device: Any, name: str, place: Any) -> int:
        gpu = self._of(device)
        return _put(place, gpu[name]) if name in gpu else NOT_SUPPORTED

    def _point(self, device: Any, key: tuple[int, int | None]) -> int:
        kind = type(device._obj)._type_
        device._obj.contents = self._handles.setdefault(key, kind())
        return 0

    def _key(self, device: Any) -> tuple[int, int | None]:
        address = ctypes.addressof(device.contents)
        return next(k for k, one in self._handles.items() if ctypes.addressof(one) == address)

    def _of(self, device: Any) -> dict[str, Any]:
        number, part = self._key(device)
        gpu = self._gpus()[number]
        return gpu if part is None else dict(gpu["parts"][part])


def _put(place: Any, value: int) -> int:
    place._obj.value = value
    return 0


@dataclass
class Driver:
    """A driver for the processes that are started with ``environment``."""

    directory: Path

    def __post_init__(self) -> None:
        self.directory.mkdir()
        (self.directory / "pynvml.py").write_text(_SHIM.format(root=str(ROOT)))
        metadata = self.directory / "torch-2.13.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n")

    @property
    def gpus(self) -> Path:
        """The file with the GPUs."""
        return self.directory / "gpus.json"

    @property
    def environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": os.pathsep.join([str(self.directory), str(ROOT)])}

    def has(self, *gpus: dict[str, Any]) -> None:
        staged = self.gpus.with_suffix(".part")
        staged.write_text(json.dumps(gpus))
        staged.rename(self.gpus)

    def pretend_cuda(self) -> None:
        """Lets probes and horses take the processor for a GPU (``tests.pretended_cuda``)."""
        (self.directory / "sitecustomize.py").write_text(
            "import sys\n"
            "if {'worker.trainer.probe', 'worker.trainer.horse'} & {*sys.orig_argv}:\n"
            "    import tests.pretended_cuda\n"
        )
