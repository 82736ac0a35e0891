"""The device that trains has a name that people understand."""

import pytest
import torch

from worker.devices import machine_memory
from worker.trainer.device import choose_device, device_memory, device_name

CPU = torch.device("cpu")


@pytest.mark.parametrize(("threads", "name"), [(1, "CPU, 1 thread"), (2, "CPU, 2 threads")])
def test_a_cpu_is_named_with_its_threads(threads: int, name: str) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert device_name(CPU) == name
    finally:
        torch.set_num_threads(before)


def test_the_threads_asked_for_are_those_that_compute() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        choose_device(None)
        assert torch.get_num_threads() == 2
        choose_device(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_cpus_memory_is_the_machines() -> None:
    assert device_memory(CPU) == machine_memory()
