"""GPUs are found and read as the driver tells of them, and those that a process sees are chosen."""

from pathlib import Path

import pynvml
import pytest

from tests.nvml import Driver, Library, h200
from worker import gpus

MIG = {"id": "MIG-11111111-aaaa", "name": "NVIDIA H200 MIG 3g.71gb", "total": 70 << 30, "used": 1}


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Of this process, with a torch that has CUDA."""
    driver = Driver(tmp_path / "driver")
    monkeypatch.setattr(pynvml, "nvmlLib", Library(driver.gpus))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(gpus, "_DRIVER", gpus._Driver())
    monkeypatch.syspath_prepend(str(driver.directory))
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    return driver


def test_a_gpu_is_read_as_nvidia_smi_shows_it(driver: Driver) -> None:
    driver.has(h200(5))
    (gpu,) = gpus.present()
    assert (gpu.number, gpu.id, gpu.name) == ("0", h200(5)["id"], "NVIDIA H200")
    assert (gpu.memory_bytes, gpu.memory_used_bytes) == (150_754_820_096, 3_221_225_472)
    assert (gpu.utilisation, gpu.temperature_celsius, gpu.power_watts) == (0.97, 61, 512.4)


def test_what_a_gpu_does_not_tell_is_unknown(driver: Driver) -> None:
    quiet = h200(5)
    for name in ("busy", "celsius", "milliwatts"):
        del quiet[name]
    driver.has(quiet)
    (gpu,) = gpus.present()
    assert (gpu.utilisation, gpu.temperature_celsius, gpu.power_watts) == (None, None, None)


def test_one_that_fell_off_the_bus_is_left_out_and_the_others_keep_their_numbers(
    driver: Driver,
) -> None:
    driver.has(h200(1), h200(2, lost=True), h200(3))
    assert [gpu.number for gpu in gpus.present()] == ["0", "2"]
    assert gpus.visible({gpus.VISIBLE: "1,2"}) == [gpus.present()[1]]


def test_parts_take_the_place_of_their_gpu(driver: Driver) -> None:
    driver.has(h200(1, parts=[MIG, MIG | {"id": "MIG-2"}]), h200(2, parts=[]))
    first, second, whole = gpus.present()
    assert (first.number, second.number, whole.number) == ("0:0", "0:1", "1")
    assert (first.memory_bytes, first.temperature_celsius, first.utilisation) == (
        70 << 30,
        61,
        None,
    )
    assert gpus.for_workers({}) == [MIG["id"], "MIG-2", h200(2)["id"]]
    # To one process CUDA shows one of them.
    assert gpus.expected({}) == 1


def test_without_a_driver_there_is_no_gpu_and_one_that_comes_later_is_found(driver: Driver) -> None:
    assert gpus.present() == gpus.visible({gpus.VISIBLE: "0"}) == []
    assert gpus.for_workers({}) == [] and gpus.expected({}) == 0
    driver.has(h200(1))
    assert len(gpus.present()) == 1


@pytest.mark.parametrize(
    ("value", "names", "numbers"),
    [
        ("1", ["1"], ["1"]),
        ("1, 0", ["1", "0"], ["1", "0"]),
        ("0,-1,1", ["0"], ["0"]),
        ("", [], []),
        ("NoDevFiles", [], []),
        ("1,1", ["1"], ["1"]),
        ("GPU-2a8e", ["GPU-2a8e"], ["1"]),
        ("MIG-77,0", ["MIG-77", "0"], ["0"]),
        ("7", ["7"], []),
    ],
)
def test_the_environment_names_gpus_as_for_cuda(
    driver: Driver, value: str, names: list[str], numbers: list[str]
) -> None:
    driver.has(h200(1), h200(2))
    environment = {gpus.VISIBLE: value}
    assert gpus.named(environment) == gpus.for_workers(environment) == names
    assert gpus.expected(environment) == len(names)
    assert [gpu.number for gpu in gpus.visible(environment)] == numbers


def test_without_names_each_worker_gets_a_gpu_by_its_uuid(driver: Driver) -> None:
    driver.has(h200(1), h200(2))
    assert gpus.for_workers({}) == [h200(1)["id"], h200(2)["id"]]
    assert gpus.expected({}) == 2


def test_a_torch_without_cuda_computes_on_no_gpu(driver: Driver) -> None:
    driver.has(h200(1))
    (driver.directory / "torch-2.13.0.dist-info").rename(driver.directory / "x")
    metadata = driver.directory / "torch-2.13.0+cpu.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0+cpu\n")
    assert not gpus.can_compute()
    assert gpus.for_workers({}) == [] and gpus.expected({gpus.VISIBLE: "0"}) == 0
