"""The command for whoever has a GPU: each path runs, and what fails is told and stops nothing."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import device
from bench.device_decoding import DeviceDecoder
from bench.device_parts import PARTS, Asked
from bench.device_table import in_words
from bench.markdown import table
from bench.naive import network_of
from tests.support import ROOT

DRY = Asked(is_dry=True)


def test_a_dry_run_takes_every_path(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "bench.device", "--dry-run", "--to", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads((tmp_path / "device.json").read_text())
    assert list(found) == list(PARTS)
    assert all(part["rows"] and "error" not in part for part in found.values())
    assert (tmp_path / "device.md").read_text() in run.stdout
    assert "skipped" in str(found["tests"]["rows"]) or torch.cuda.is_available()
    by_way = {(row["network"], row["way"]): row for row in found["speed"]["rows"]}
    assert len(by_way) == 6
    assert not [row for row in by_way.values() if "error" in row]
    assert by_way["2×24", "fp16, padded, graph"]["recorded"]
    assert by_way["2×24", "fp16, padded"]["kernels"]
    assert [row["streams"] for row in found["decode"]["rows"]] == [1, 3]


def test_a_part_that_fails_keeps_what_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_asked: Asked) -> Iterator[dict[str, Any]]:
        yield {"network": "2×512", "characters/s": 4e6}
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setitem(PARTS, "speed", broken)
    found = device.measure(DRY, ["speed", "decode"], tmp_path)
    assert found["speed"]["rows"] == [{"network": "2×512", "characters/s": 4e6}]
    assert "illegal memory access" in found["speed"]["error"]
    assert found["decode"]["rows"]
    words = in_words(found)
    assert "4,000,000" in words
    assert "illegal memory access" in words


def test_a_part_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    found = device.run_part("facts", DRY, tmp_path, 300)
    assert "error" not in found
    assert [row["what"] for row in found["rows"]] == ["processor", "torch"]
    # Without a GPU, this part is one that breaks off after its first rows.
    if not torch.cuda.is_available():
        found = device.run_part("facts", Asked(), tmp_path, 300)
        assert len(found["rows"]) == 2
        assert "it ended with 1" in found["error"]


def test_a_part_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    found = device.run_part("facts", DRY, tmp_path, 0.01)
    assert found["error"] == "it was not over after 0 s"


def test_parts_for_which_no_time_is_left_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "SECONDS", 1.0)
    found = device.measure(DRY, ["facts"], tmp_path)
    assert found["facts"]["error"] == "no time was left for it"


def test_without_a_gpu_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    problem = Asked().problem()
    assert problem and "--dry-run" in problem
    assert DRY.problem() is None
    missing = Asked(is_dry=True, text=Path("nowhere")).problem()
    assert missing and "nowhere" in missing


def test_a_table_has_the_columns_of_all_rows() -> None:
    rows: list[dict[str, Any]] = [{"a": 1, "b": 0.5}, {"a": 12345, "c": ["x|y", "z"]}]
    assert table(rows).splitlines() == [
        "| a | b | c |",
        "| --- | --- | --- |",
        "| 1 | 0.5 |  |",
        "| 12,345 |  | x\\|y; z |",
    ]


def test_streams_on_a_device_follow_their_network() -> None:
    """Of an output that only knows one id, each stream writes that."""
    network = network_of(16, 2, 9)
    with torch.no_grad():
        network.output.weight.zero_()
        network.output.bias.fill_(-100.0)
        network.output.bias[5] = 100.0
    decoder = DeviceDecoder(network, 3, torch.device("cpu"))
    assert decoder.advance(4) == 12
    assert decoder.ids.tolist() == [[5, 5, 5]]
