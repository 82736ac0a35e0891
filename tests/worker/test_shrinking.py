"""Where a device's memory runs out, the batch is made smaller, or words say what should fit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from rq.job import Retry
from torch import Tensor

from models.training.network import CharNetwork
from tests.support import MakeJob
from tests.training import error_of, notices, progress_of
from worker.jobs import Job, JobStore
from worker.trainer import attempt

pytestmark = pytest.mark.usefixtures("settings")

SMALL = {"num_layers": 1, "hidden_size": 8, "max_steps": 20, "evaluate_every": 10}

Room = Callable[[int], None]


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    """Gives the device room for so many rows: more of them raise what torch raises."""
    read = CharNetwork.read
    rows = 1 << 20

    def crowded(network: CharNetwork, ids: Tensor, *arguments: Any, **named: Any) -> Any:
        if network.training and ids.shape[1] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 …")
        return read(network, ids, *arguments, **named)

    def has(count: int) -> None:
        nonlocal rows
        rows = count

    monkeypatch.setattr(CharNetwork, "read", crowded)
    return has


def test_a_batch_that_is_ours_to_choose_is_halved_until_it_fits(
    room: Room, store: JobStore, toy_corpus: str
) -> None:
    room(8)
    job, _ = store.create("toy", toy_corpus, SMALL, None)
    assert attempt.run(job.id) is None
    assert job.status() == "finished"
    assert job.view()["options"]["batch_size"] == 8
    assert progress_of(job)["step"] == 20
    said = [notice["text"] for notice in notices(job.events(), "smaller_batch")]
    assert len(said) == 2
    assert said[0].startswith("memory ran out on CPU, ")
    assert said[1].endswith(": batches of 16×32 became 8×32")


@pytest.mark.parametrize("asked", [{"batch_size": 16}, {"preset": "char-rnn"}])
def test_one_that_was_asked_for_fails_at_once_and_says_what_should_fit(
    room: Room, store: JobStore, toy_corpus: str, asked: dict[str, Any]
) -> None:
    room(1)
    job, _ = store.create("toy", toy_corpus, SMALL | asked, None)
    assert attempt.run(job.id) is None
    assert job.status() == "failed"
    error = error_of(job)
    assert error["title"] == "Not enough memory"
    assert error["detail"].startswith("Memory ran out on CPU, ")
    half = 8 if "batch_size" in asked else 25
    assert f"Start it again with batch_size={half}, which should fit." in error["detail"]


def test_training_that_fitted_before_is_tried_again(
    room: Room, make_job: MakeJob, store: JobStore
) -> None:
    job: Job = make_job(max_steps=20)
    assert attempt.run(job.id) is None
    store.resume(job.id, {"max_steps": 40})
    room(1)
    # At once, since the state is newer than any that is counted.
    assert isinstance(attempt.run(job.id), Retry)
    assert attempt.run(job.id) is None
    assert job.status() == "paused"
    assert "Training resumes by itself after 4 s" in error_of(job)["detail"]
    assert attempt.run(job.id) is None
    assert job.status() == "failed"
    assert "Or start a new job with batch_size=4" in error_of(job)["detail"]
