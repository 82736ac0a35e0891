"""The device that this process trains on. Knows no job."""

from collections.abc import Mapping
from typing import Any

import torch

from models.options import TrainingOptions
from models.training.ranks import ALONE, Group
from worker.devices import machine_memory
from worker.trainer.failures import Failure


def devices_for(options: Mapping[str, Any], threads: int | None) -> int:
    """How many devices train a job with such options; without GPUs, a device is a thread.

    ``all`` is one without GPUs: several processes were not measured to be faster (docs/log.md).

    Raises:
        Failure: there are fewer than it asks for.
    """
    try:
        asked = TrainingOptions.from_json(options).devices
    except ValueError:
        # Of damaged options the plan tells.
        return 1
    if asked == 1:
        return 1
    gpus = torch.cuda.device_count()
    if asked == "all":
        return max(1, gpus)
    present = gpus or threads or torch.get_num_threads()
    if asked > present:
        kind = "GPU" if gpus else "processor thread"
        raise Failure(
            "Not enough devices",
            f"The job asks for {asked}, and the worker that took it has {present} "
            f"{kind}{'' if present == 1 else 's'}. Resume it with devices={present}, or with "
            "devices=all for what each worker has.",
        )
    return asked


def choose_device(threads: int | None, group: Group = ALONE) -> torch.device:
    """The GPU of this rank if there is one, else the CPU with its share of a number of threads.

    Args:
        threads: of all ranks together; None is one for each core.
        group: of this rank.
    """
    if torch.cuda.is_available():
        device = torch.device("cuda", group.rank)
        torch.cuda.set_device(device)
        return device
    if threads or group.size > 1:
        torch.set_num_threads(max(1, (threads or torch.get_num_threads()) // group.size))
    return torch.device("cpu")


def device_name(device: torch.device, ranks: int = 1) -> str:
    """The name of a device, or of several alike, as jobs and model cards show it."""
    if ranks > 1:
        return f"{ranks} × {device_name(device)}"
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} {'thread' if threads == 1 else 'threads'}"


def device_memory(device: torch.device, ranks: int = 1) -> int:
    """Bytes that a process may take to train on a device, of which so many train together."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return machine_memory() // ranks
