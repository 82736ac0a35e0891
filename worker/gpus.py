"""The GPUs that a process may train on, and what their driver says of them, as ``nvidia-smi`` does.

NVIDIA's library for it makes no CUDA context, each of which takes hundreds of megabytes of a GPU:
so the launcher and the worker may ask, which train nothing themselves. Without such a driver there
is no GPU. Knows no torch and no job.
"""

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any

from pydantic import Field

from worker.records import Count, Number

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable that says which GPUs a process sees: numbers, UUIDs or beginnings of these."""

ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""Makes CUDA number GPUs as the driver does; by default the fastest is its first."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, or a part of one that MIG has made. What the driver does not tell is None.

    ``id`` is its UUID, ``number`` that of ``nvidia-smi``, with a part's own after a colon.
    ``utilisation`` is the share of the last moment in which it computed.
    """

    id: str
    number: str
    name: str
    memory_bytes: Count
    memory_used_bytes: Count
    utilisation: Annotated[float, Field(ge=0, le=1)] | None = None
    temperature_celsius: Number | None = None
    power_watts: Number | None = None


class _Driver:
    """NVIDIA's library, opened at first use, and anew after an error: a GPU may be back then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_open = False
        self._is_absent = False

    def gpus(self) -> list[Gpu]:
        """All GPUs of this machine that answer."""
        # Takes some milliseconds, and most processes never ask.
        import pynvml

        with self._lock:
            if self._is_absent:
                return []
            try:
                if not self._is_open:
                    pynvml.nvmlInit()
                    self._is_open = True
                return list(_found(pynvml))
            except pynvml.NVMLError as error:
                self._is_absent = isinstance(error, pynvml.NVMLError_LibraryNotFound)
                self._close(pynvml)
                return []

    def _close(self, nvml: Any) -> None:
        if self._is_open:
            self._is_open = False
            with suppress(nvml.NVMLError):
                nvml.nvmlShutdown()


_DRIVER = _Driver()


def present() -> list[Gpu]:
    """All GPUs of this machine that answer; a container's are those that it was given."""
    return _DRIVER.gpus()


def _found(nvml: Any) -> Iterator[Gpu]:
    for number in range(nvml.nvmlDeviceGetCount()):
        # One that has fallen off the bus is still counted.
        with suppress(nvml.NVMLError):
            handle = nvml.nvmlDeviceGetHandleByIndex(number)
            parts = list(_parts(nvml, handle))
            if not parts:
                yield _read(nvml, handle, handle, str(number))
            for place, part in parts:
                yield _read(nvml, part, handle, f"{number}:{place}")


def _parts(nvml: Any, handle: Any) -> Iterator[tuple[int, Any]]:
    """The parts that MIG has made of a GPU, which itself cannot be computed on then."""
    if _told(nvml, lambda: nvml.nvmlDeviceGetMigMode(handle)[0]) != nvml.NVML_DEVICE_MIG_ENABLE:
        return
    for place in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with suppress(nvml.NVMLError_NotFound):
            yield place, nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)


def _read(nvml: Any, handle: Any, whole: Any, number: str) -> Gpu:
    """Reads a GPU, or a part of a whole one, whose heat and power are told of the whole only."""
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    busy = _told(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    milliwatts = _told(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(whole))
    sensor = nvml.NVML_TEMPERATURE_GPU
    return Gpu(
        id=nvml.nvmlDeviceGetUUID(handle),
        number=number,
        name=nvml.nvmlDeviceGetName(handle),
        memory_bytes=memory.total,
        memory_used_bytes=memory.used,
        utilisation=None if busy is None else busy / 100,
        temperature_celsius=_told(nvml, lambda: nvml.nvmlDeviceGetTemperature(whole, sensor)),
        power_watts=None if milliwatts is None else milliwatts / 1000,
    )


def _told(nvml: Any, ask: Any) -> Any:
    """What the driver tells; None for what this GPU does not know."""
    try:
        return ask()
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
        return None


def named(environment: Mapping[str, str] = os.environ) -> list[str] | None:
    """The GPUs that the environment names, each once; None where it leaves the choice open.

    CUDA reads them up to the first that is none, such as -1.
    """
    value = environment.get(VISIBLE)
    if value is None:
        return None
    found: list[str] = []
    for word in (word.strip() for word in value.split(",")):
        if not (word.isdecimal() or word.startswith(("GPU-", "MIG-"))):
            break
        if word not in found:
            found.append(word)
    return found


def visible(environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """The GPUs that a process with an environment sees, as CUDA numbers them, which answer."""
    gpus, names = present(), named(environment)
    if names is None:
        return gpus
    matching = (next((gpu for gpu in gpus if _is_named(gpu, name)), None) for name in names)
    return [gpu for gpu in matching if gpu]


def _is_named(gpu: Gpu, name: str) -> bool:
    if name.isdecimal():
        return gpu.number.partition(":")[0] == str(int(name))
    return gpu.id.startswith(name)


def can_compute() -> bool:
    """Whether the torch that is installed computes on NVIDIA's GPUs, as far as its version says."""
    return sys.platform != "darwin" and not version("torch").endswith("+cpu")


def expected(environment: Mapping[str, str] = os.environ) -> int:
    """On how many GPUs a worker with an environment trains: those named there, else all.

    Of the parts that MIG makes, CUDA shows a process one.
    """
    if not can_compute():
        return 0
    names = named(environment)
    if names is not None:
        return len(names)
    gpus = present()
    return 1 if any(":" in gpu.number for gpu in gpus) else len(gpus)


def for_workers(environment: Mapping[str, str] = os.environ) -> list[str]:
    """For one worker on each GPU, what ``VISIBLE`` should be; empty where there is none.

    UUIDs, unless the environment names them otherwise: they stay what they are when one is gone.
    """
    if not can_compute():
        return []
    names = named(environment)
    return [gpu.id for gpu in present()] if names is None else names
