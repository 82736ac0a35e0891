"""What workers measured of their devices, as the server reads it."""

import socket
from pathlib import Path

import pytest

from worker.devices import Device, DeviceStore, machine_memory

SLOW = Device("CPU, 2 threads", 8 << 30, 1e9, "2026-01-01T00:00:00.000Z")
FAST = Device("a GPU", 4 << 30, 5e9, "2026-01-02T00:00:00.000Z")


def test_before_anything_is_measured_this_machine_has_to_do(tmp_path: Path) -> None:
    store = DeviceStore(tmp_path / "devices")
    assert store.devices() == []
    assert store.work() is None
    assert store.memory_bytes() == machine_memory() > 1 << 20
    assert not (tmp_path / "devices").exists()


def test_the_fastest_is_first_and_the_largest_memory_counts(tmp_path: Path) -> None:
    store = DeviceStore(tmp_path)
    for device in (SLOW, FAST):
        store.record(device)
    assert store.devices() == [FAST, SLOW]
    assert store.work() == FAST.work
    assert store.memory_bytes() == SLOW.memory_bytes


def test_a_device_has_one_record_on_each_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DeviceStore(tmp_path)
    store.record(SLOW)
    again = Device(SLOW.name, SLOW.memory_bytes, 2e9, SLOW.measured_at)
    store.record(again)
    assert store.devices() == [again]
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    store.record(SLOW)
    assert store.devices() == [again, SLOW]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"name": "x", "speed": 1}', b"\xff"])
def test_a_record_that_cannot_be_read_is_left_out(tmp_path: Path, content: bytes) -> None:
    store = DeviceStore(tmp_path)
    store.record(SLOW)
    (tmp_path / "0000000000000000.json").write_bytes(content)
    assert store.devices() == [SLOW]
