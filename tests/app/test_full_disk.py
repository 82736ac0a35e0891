"""On a disk that is full to the last byte jobs are cancelled and deleted, and answers are true."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.serving import TEXT, Query, eventually, problem, serve
from tests.support import SmallDisk, StartWorker, WorkerProcess
from worker.jobs import Job, JobStore
from worker.queue import Queue
from worker.reconciler import Reconciler


@pytest.fixture
def data(small_disk: SmallDisk) -> Path:
    """On the small disk."""
    return small_disk.root / "data"


@pytest.fixture
def client(data: Path, redis_url: str) -> Iterator[httpx2.Client]:
    with serve(data, redis_url) as client:
        yield client


def start(client: httpx2.Client, data: Path, **options: int) -> Job:
    params: Query = {"model": "squeezed", "hidden_size": 8, "num_layers": 1, **options}
    answer = client.post("/train", params=params, content=TEXT)
    return JobStore(data / "jobs").get(answer.json()["id"])


def test_a_waiting_job_is_cancelled_and_deleted(
    client: httpx2.Client, data: Path, small_disk: SmallDisk
) -> None:
    job = start(client, data)
    small_disk.fill()
    problem(client.post("/corpora", content=TEXT * 2), 507, "disk_full")
    answer = client.post(f"/jobs/{job.id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    assert [event.event for event in job.events()] == ["end"]
    assert client.delete(f"/jobs/{job.id}").status_code == 204
    assert not job.directory.exists()


def test_a_cancel_that_finds_no_room_is_kept_and_promised(
    client: httpx2.Client, data: Path, small_disk: SmallDisk
) -> None:
    """Without a reserve, as jobs of earlier releases are."""
    job = start(client, data)
    (job.directory / "reserve").unlink()
    small_disk.fill()
    answer = client.post(f"/jobs/{job.id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
    small_disk.free()
    # The server's own reconciler ends it.
    eventually(lambda: client.get(f"/jobs/{job.id}").json()["status"] == "cancelled", 30)


def test_a_cancel_that_a_dead_worker_left_is_heeded(
    client: httpx2.Client, data: Path, small_disk: SmallDisk, queue: Queue
) -> None:
    job = start(client, data)
    with job.lock():
        small_disk.fill()
        answer = client.post(f"/jobs/{job.id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
    Reconciler(queue, JobStore(data / "jobs")).reconcile(0)
    assert job.status() == "cancelled"


@pytest.fixture
def worker(
    data: Path, monkeypatch: pytest.MonkeyPatch, start_worker: StartWorker
) -> Iterator[WorkerProcess]:
    monkeypatch.setenv("CHARLOOM_DATA", str(data))
    worker = start_worker()
    yield worker
    # Before its disk is taken away.
    worker.kill()


@pytest.mark.usefixtures("settings", "worker")
@pytest.mark.parametrize("at", ["running", "paused"])
def test_a_running_and_a_paused_job_are_cancelled(
    at: str, client: httpx2.Client, data: Path, small_disk: SmallDisk
) -> None:
    job = start(client, data, max_steps=1_000_000, evaluate_every=100)

    def shown() -> dict[str, Any]:
        view: dict[str, Any] = client.get(f"/jobs/{job_id}").json()
        return view

    job_id = job.id
    eventually(lambda: shown()["progress"], 60)
    small_disk.fill()
    if at == "paused":
        eventually(lambda: shown()["status"] == "paused", 60)
        assert shown()["error"]["title"] == "The disk is full"
    answer = client.post(f"/jobs/{job_id}/cancel")
    assert answer.status_code == 202
    eventually(lambda: shown()["status"] == "cancelled", 30)
    assert client.delete(f"/jobs/{job_id}").status_code == 204


@pytest.mark.usefixtures("settings", "worker")
def test_a_paused_job_resumes_by_itself(
    client: httpx2.Client, data: Path, small_disk: SmallDisk
) -> None:
    job = start(client, data, max_steps=400, evaluate_every=50)
    eventually(lambda: client.get(f"/jobs/{job.id}").json()["progress"], 60)
    small_disk.fill()
    eventually(lambda: job.status() in ("paused", "finished"), 60)
    small_disk.free()
    eventually(lambda: job.status() == "finished", 60)
