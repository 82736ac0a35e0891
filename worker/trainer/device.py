"""The device that this process trains on. Knows no job.

Where the worker saw GPUs at its start, its jobs are trained on these or not at all: what takes
hours there takes weeks on a processor.
"""

import os
from collections.abc import Mapping
from typing import Any

import torch

from models.options import TrainingOptions
from models.training.ranks import ALONE, Group
from worker import gpus
from worker.devices import machine_memory
from worker.trainer import handover
from worker.trainer.failures import Failure, GpuGone


def devices_for(options: Mapping[str, Any], threads: int | None) -> int:
    """How many devices train a job with such options; without GPUs, a device is a thread.

    ``all`` is one without GPUs: several processes were not measured to be faster (docs/log.md).

    Raises:
        Failure: there are fewer than it asks for.
        GpuGone: there were enough when the worker started.
    """
    try:
        asked = TrainingOptions.from_json(options).devices
    except ValueError:
        # Of damaged options the plan tells.
        return 1
    if asked == 1:
        return 1
    count = torch.cuda.device_count()
    if asked == "all":
        return max(1, count)
    if asked > count and count < (seen := _seen()):
        raise GpuGone(f"of {seen} GPUs {count} are left")
    present = count or threads or torch.get_num_threads()
    if asked > present:
        one, many = ("GPU", "GPUs") if count else ("processor thread", "processor threads")
        raise Failure(
            "Not enough devices",
            f"The job asks for {asked}, and the worker that took it has {present} "
            f"{one if present == 1 else many}. Resume it with devices={present}, or with "
            "devices=all for what each worker has.",
        )
    return asked


def choose_device(threads: int | None, group: Group = ALONE) -> torch.device:
    """The GPU of this rank if there is one, else the CPU with its share of a number of threads.

    Args:
        threads: of all ranks together; None is one for each core.
        group: of this rank.

    Raises:
        GpuGone: the worker saw GPUs at its start.
    """
    if torch.cuda.is_available():
        device = gpu(group.rank)
        torch.cuda.set_device(device)
        return device
    if _seen():
        raise GpuGone(_why_none())
    if threads or group.size > 1:
        torch.set_num_threads(max(1, (threads or torch.get_num_threads()) // group.size))
    return torch.device("cpu")


def gpu(number: int) -> torch.device:
    """A GPU by its number among those that this process sees."""
    return torch.device("cuda", number)


def compute_on_all() -> None:
    """Computes a little on each GPU that this process sees.

    Raises:
        GpuGone: there is none.
        RuntimeError: one does not compute.
    """
    if not torch.cuda.is_available():
        raise GpuGone(_why_none())
    for number in range(torch.cuda.device_count()):
        square = torch.ones(64, 64, device=gpu(number))
        # What went wrong shows when the result comes.
        (square @ square).sum().item()


def _seen() -> int:
    return int(os.environ.get(handover.GPUS) or 0)


def _why_none() -> str:
    """Why CUDA offers no GPU, in its own words."""
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except Exception as error:
        return str(error).partition("\n")[0]
    return "No CUDA GPUs are available"


def device_name(device: torch.device, ranks: int = 1) -> str:
    """The name of a device, or of several alike, as jobs and model cards show it."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return f"{name}{_which(device.index)}" if ranks == 1 else f"{ranks} × {name}"
    if ranks > 1:
        return f"{ranks} × {device_name(device)}"
    threads = torch.get_num_threads()
    return f"CPU, {threads} {'thread' if threads == 1 else 'threads'}"


def _which(number: int) -> str:
    """Which GPU of the machine one of this process is, where there are several."""
    seen = gpus.visible()
    if len(gpus.present()) < 2 or number >= len(seen):
        return ""
    return f" (GPU {seen[number].number})"


def device_memory(device: torch.device, ranks: int = 1) -> int:
    """Bytes that a process may take to train on a device, of which so many train together."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return machine_memory() // ranks


def free_memory(device: torch.device) -> int:
    """Bytes of a device that training may take now; others may have the rest of a GPU's."""
    if device.type != "cuda":
        return machine_memory()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) + torch.cuda.memory_allocated(device)
