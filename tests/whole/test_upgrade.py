"""A data directory that release 0.1.0 left behind works: its models, its jobs and its queue.

``tests/fixtures/data-0.1.0.tar.gz`` was made with ``./charloom up`` of commit 27fb116: two finished
jobs, one cancelled at step 4050, and one that waits in Redis's append-only file.
"""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rq.job import Job as RQJob

from app.supervisor.valkey import EmbeddedRedis
from tests.serving import eventually, serve
from tests.support import ROOT, StartWorker
from worker.connection import connect
from worker.jobs import JobStore
from worker.settings import WorkerSettings

ARCHIVE = ROOT / "tests" / "fixtures" / "data-0.1.0.tar.gz"
BOTTLES, PEOPLE = "01a2217d4ad78c464bc581", "01a2217d4afdc242f907ac"
LONG, WAITING = "01a2217dbada22c87e427f", "01a2217dfea6eacd3b9642"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(directory, filter="data")
    return directory


@pytest.fixture
def redis_url(data: Path) -> Iterator[str]:
    """Redis as the release left it, not emptied as for other tests."""
    with EmbeddedRedis(data / "redis") as server:
        yield server.url


def test_its_models_are_listed_and_write(data: Path) -> None:
    with serve(data) as client:
        models = client.get("/models").json()["models"]
        assert [(model["model"], model["job_id"]) for model in models] == [
            ("bottles", BOTTLES),
            ("long", LONG),
            ("people", PEOPLE),
        ]
        assert models[0]["digest"].startswith("a54b52f12d11")
        assert models[0]["val_loss"] == pytest.approx(1.3762851148760284)
        for model in models:
            text = client.get("/sample", params={"model": model["model"], "length": 60}).text
            assert len(text) == 60
        history = client.get("/models/bottles/history").json()
        assert [point["step"] for point in history["samples"]] == [10]
        names = client.get("/names?model=people&count=3&seed=1").json()
        assert len(names["names"]) == 3


def test_its_jobs_are_listed_with_their_events(data: Path) -> None:
    with serve(data) as client:
        jobs = client.get("/jobs").json()["jobs"]
        assert [(job["id"], job["status"]) for job in jobs] == [
            (WAITING, "queued"),
            (LONG, "cancelled"),
            (PEOPLE, "finished"),
            (BOTTLES, "finished"),
        ]
        assert jobs[3]["options"]["hidden_size"] == 16
        assert jobs[3]["progress"]["step"] == 60
        events = client.get(f"/jobs/{BOTTLES}/events").text
        assert events.count("event: checkpoint") and events.count("event: end") == 1


def test_a_job_queued_under_the_former_function_is_trained(
    data: Path, settings: WorkerSettings, start_worker: StartWorker
) -> None:
    with connect(settings.redis_url) as connection:
        queued = RQJob.fetch(WAITING, connection, serializer="json")
        assert queued.func_name == "worker.train.run"
    job = JobStore(data / "jobs").get(WAITING)
    start_worker()
    eventually(job.result, 60)
    assert job.status() == "finished"
    (progress,) = [e for e in job.events() if e.event == "evaluation" and e.data["step"] == 30]
    assert progress.data["val_loss"] > 0


def test_its_cancelled_job_resumes_where_it_was(
    data: Path, settings: WorkerSettings, start_worker: StartWorker
) -> None:
    with serve(data, settings.redis_url) as client:
        client.post(f"/jobs/{WAITING}/cancel").raise_for_status()
        client.post(f"/jobs/{LONG}/resume").raise_for_status()
        start_worker()
        job = JobStore(data / "jobs").get(LONG)
        seen = len(job.events())
        eventually(lambda: any(e.event == "progress" for e in job.events()[seen:]), 60)
        first = next(e for e in job.events()[seen:] if e.event == "progress")
        client.post(f"/jobs/{LONG}/cancel").raise_for_status()
        assert first.data["step"] > 4000
        eventually(job.result, 20)
