"""Of two saved states the newer may be damaged."""

import pytest

from tests.support import MakeJob
from tests.training import state
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
