"""The device that this process trains on. Knows no job."""

import torch

from worker.devices import machine_memory


def choose_device(threads: int | None) -> torch.device:
    """The GPU if there is one, else the CPU with a number of threads; None is one for each core."""
    if threads:
        torch.set_num_threads(threads)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """A device's name as jobs and model cards show it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} {'thread' if threads == 1 else 'threads'}"


def device_memory(device: torch.device) -> int:
    """Bytes that training may take on a device."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return machine_memory()
