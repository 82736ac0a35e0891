"""The devices that train are as many as a job asks for, and have names that people understand."""

from typing import Any

import pytest
import torch

from models.training.ranks import Group
from worker import gpus as worker_gpus
from worker.devices import machine_memory
from worker.gpus import Gpu
from worker.trainer.device import (
    choose_device,
    compute_on_all,
    device_memory,
    device_name,
    devices_for,
    gpu,
)
from worker.trainer.failures import Failure, GpuGone

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


def test_processes_share_the_threads() -> None:
    class Three(Group):
        size = 3

    before = torch.get_num_threads()
    try:
        for threads, own in ((1, 1), (3, 1), (7, 2)):
            choose_device(threads, Three())
            assert torch.get_num_threads() == own
        assert device_name(CPU, 3) == "3 × CPU, 2 threads"
    finally:
        torch.set_num_threads(before)


def test_a_cpus_memory_is_the_machines() -> None:
    assert device_memory(CPU) == machine_memory()
    assert device_memory(CPU, 4) == machine_memory() // 4


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the machine have so many GPUs."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return pretend


@pytest.mark.parametrize(
    ("asked", "present", "found"),
    [
        ({}, 4, 1),
        ({"devices": 1}, 4, 1),
        ({"devices": 3}, 4, 3),
        ({"devices": "all"}, 4, 4),
        ({"devices": 2}, 0, 2),
        ({"devices": "all"}, 0, 1),
        ({"devices": "some"}, 4, 1),
    ],
)
def test_a_job_gets_the_devices_that_it_asks_for(
    gpus: Any, asked: dict[str, Any], present: int, found: int
) -> None:
    gpus(present)
    assert devices_for(asked, threads=2) == found


def test_gpus_that_were_there_are_waited_for(gpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(1)
    monkeypatch.setenv("CHARLOOM_GPUS", "4")
    with pytest.raises(GpuGone, match="of 4 GPUs 1 are left"):
        devices_for({"devices": 2}, threads=8)
    with pytest.raises(Failure):
        gpus(4)
        devices_for({"devices": 5}, threads=8)


def test_the_processor_does_not_stand_in_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device(None) == CPU
    monkeypatch.setenv("CHARLOOM_GPUS", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for asks in (lambda: choose_device(None), compute_on_all):
        with pytest.raises(GpuGone, match="CUDA"):
            asks()


def test_a_gpu_is_named_with_its_number_where_there_are_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    all_gpus = [Gpu(f"GPU-{n}", str(n), "NVIDIA H200", 1 << 37, 0) for n in range(2)]
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
    monkeypatch.setattr(worker_gpus, "present", lambda: all_gpus[:1])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert device_name(gpu(0)) == "NVIDIA H200"
    monkeypatch.setattr(worker_gpus, "present", lambda: all_gpus)
    assert device_name(gpu(1)) == "NVIDIA H200 (GPU 1)"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1")
    assert device_name(gpu(0)) == "NVIDIA H200 (GPU 1)"
    assert device_name(gpu(0), 2) == "2 × NVIDIA H200"


@pytest.mark.parametrize(("present", "words"), [(0, "1 processor thread."), (2, "2 GPUs.")])
def test_a_job_that_asks_for_more_is_told_what_there_is(
    gpus: Any, present: int, words: str
) -> None:
    gpus(present)
    with pytest.raises(Failure) as raised:
        devices_for({"devices": 3}, threads=1)
    assert words in raised.value.error["detail"]
    assert "devices=all" in raised.value.error["detail"]
