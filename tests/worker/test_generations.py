"""A state is on disk whole or not at all, and the one before it too."""

import json
from pathlib import Path

import pytest
import torch

from tests.support import MakeJob
from tests.training import rest_at, state
from worker import fence
from worker.jobs import JobStore
from worker.trainer import attempt, generations


@pytest.mark.usefixtures("settings")
def test_the_newer_state_may_be_damaged(make_job: MakeJob, store: JobStore) -> None:
    job = make_job(max_steps=40, evaluate_every=20)
    attempt.run(job.id)
    older, newer = sorted(job.state_directory.iterdir())
    tensors = newer / "tensors.safetensors"
    damaged = bytearray(tensors.read_bytes())
    damaged[-100] ^= 1
    tensors.write_bytes(damaged)
    assert state(job)[1]["step"] == 20
    (older / "rest.json").write_text("{")
    assert list(generations.load(job.state_directory)) == []
    job = store.resume(job.id, {})
    assert attempt.run(job.id) is None
    assert job.status() == "finished"


def steps(root: Path) -> list[int]:
    return [rest["step"] for _, rest in generations.load(root)]


def test_the_newest_two_are_kept_as_they_were(tmp_path: Path) -> None:
    root = tmp_path / "state"
    assert list(generations.load(root)) == []
    for step in (1, 2, 3):
        generations.save(root, {"weight": torch.full((2,), float(step))}, rest_at(step))
    (newest, rest), (older, _) = generations.load(root)
    assert newest["weight"].tolist() == [3, 3] and older["weight"].tolist() == [2, 2]
    assert rest == rest_at(3)
    assert sorted(path.name for path in root.iterdir()) == ["00000002", "00000003"]
    assert generations.newest_step(root) == 3


def test_one_that_leads_nowhere_can_be_discarded(tmp_path: Path) -> None:
    root = tmp_path / "state"
    generations.discard_newest(root)
    for step in (1, 2):
        generations.save(root, {}, rest_at(step))
    generations.discard_newest(root)
    assert steps(root) == [1]
    generations.save(root, {}, rest_at(5))
    assert steps(root) == [5, 1]


def test_a_save_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "state"
    generations.save(root, {}, rest_at(1))

    def full(*_arguments: object) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(generations, "write_durably", full)
        with pytest.raises(OSError, match="no room"):
            generations.save(root, {}, rest_at(2))
    assert steps(root) == [1]
    assert [path.name for path in root.iterdir()] == ["00000001"]


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    root = tmp_path / "state"
    left = root / ".stage"
    left.mkdir(parents=True)
    (left / "tensors.safetensors").write_bytes(b"half")
    assert steps(root) == []
    assert generations.newest_step(root) == 0
    generations.save(root, {}, rest_at(1))
    assert steps(root) == [1]
    fence.sweep(tmp_path)
    assert steps(root) == [1]
    assert not left.exists()


@pytest.mark.parametrize(
    "rest",
    [
        *(b"", b"[]", b"{}", b'{"sha256": "0", "rest": {}}'),
        *(b'{"rest": {"step": null}}', b'{"rest": {"step": 1e400}}', b"[" * 100_000),
    ],
)
def test_one_that_cannot_be_read_is_passed_over(tmp_path: Path, rest: bytes) -> None:
    root = tmp_path / "state"
    for step in (1, 2):
        generations.save(root, {}, rest_at(step))
    (root / "00000002" / "rest.json").write_bytes(rest)
    assert steps(root) == [1]
    assert generations.newest_step(root) == 1


def test_its_form_on_disk_is_that_of_earlier_releases(tmp_path: Path) -> None:
    root = tmp_path / "state"
    generations.save(root, {"weight": torch.ones(1)}, rest_at(1))
    files = {path.name for path in (root / "00000001").iterdir()}
    assert files == {"rest.json", "tensors.safetensors"}
    described = json.loads((root / "00000001" / "rest.json").read_bytes())
    assert described.keys() == {"sha256", "rest"}
    assert described["rest"] == rest_at(1)
