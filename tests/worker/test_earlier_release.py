"""A data directory that an earlier release made, with its jobs still queued, works as it is.

``earlier_release.tar.xz`` was written by the code of November 2026. It holds a finished job, one
cancelled and one put down soon after step 200 of 400, one that has not begun, their corpus and
their models.
"""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Queue as RQQueue
from rq.job import Retry

from models.checkpoints.registry import Registry
from tests.serving import serve
from tests.support import StartWorker, all_events
from worker.jobs import Job, JobStore
from worker.queue import FORMER_FUNCTIONS, NAME, Queue
from worker.settings import Settings

FINISHED = "01a2217d7042336ea5a175"
CANCELLED = "01a2217d780d669cd96bd1"
PUT_DOWN = "01a2217d7a0a5d90987297"
WAITING = "01a2217d7b3ea4edcd7f47"
CORPUS = "000479097dbe122cbf1f6fde3c48bfddb43a1f47a612dffbe511b36947f9e373"


@pytest.fixture(autouse=True)
def earlier(data: Path) -> None:
    with tarfile.open(Path(__file__).parent / "earlier_release.tar.xz") as archive:
        archive.extractall(data, filter="data")


def enqueue_as_earlier(job: Job, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        RQQueue(NAME, connection=client, serializer="json").enqueue_call(
            FORMER_FUNCTIONS[0],
            args=(job.id,),
            job_id=job.id,
            description=f"train {job.id}",
            unique=True,
            timeout=-1,
            result_ttl=0,
            failure_ttl=24 * 3600,
            retry=Retry(max=10**6, enqueue_at_front=True),
        )


def of_step(lines: list[dict[str, Any]], step: int, what: str) -> Any:
    (found,) = (line[what] for line in lines if line["step"] == step and what in line)
    return found


def test_a_server_shows_what_is_there(data: Path) -> None:
    with serve(data) as client:
        jobs = {job["id"]: job for job in client.get("/jobs").json()["jobs"]}
        statuses = {id_: job["status"] for id_, job in jobs.items()}
        assert statuses == {
            FINISHED: "finished",
            CANCELLED: "cancelled",
            PUT_DOWN: "queued",
            WAITING: "queued",
        }
        finished = jobs[FINISHED]
        assert finished["finished_at"] == "2026-11-28T09:30:00.579Z"
        assert finished["options"]["hidden_size"] == 8
        assert finished["progress"]["step"] == finished["progress"]["max_steps"] == 120
        assert finished["baseline"]["ngram_order"] == 4
        assert jobs[WAITING]["progress"] is None
        (corpus,) = client.get("/corpora").json()["corpora"]
        assert (corpus["id"], corpus["characters"]) == (CORPUS, 7282)
        models = {model["name"] for model in client.get("/models").json()["models"]}
        assert models == {"finished", "cancelled", "half"}
        text = client.get("/sample", params={"model": "finished", "length": 40, "seed": 1}).text
        assert len(text) == 40


def test_its_jobs_train_to_their_end(
    data: Path, settings: Settings, queue: Queue, redis_url: str, start_worker: StartWorker
) -> None:
    store, registry = JobStore(data / "jobs"), Registry(settings.data.models)
    put_down, waiting = store.get(PUT_DOWN), store.get(WAITING)
    before = put_down.events()
    half_way = registry.history("half")
    enqueue_as_earlier(put_down, redis_url)
    cancelled = store.resume(CANCELLED, {"max_steps": 300})
    start_worker()

    events = all_events(queue, put_down)
    assert events[: len(before)] == before
    assert events[-1].data == {"status": "finished", "error": None}
    first = events[len(before)]
    assert (first.event, first.data["step"]) == ("progress", 203)
    assert put_down.view()["progress"]["step"] == 400
    history = registry.history("half")
    for step in (100, 200):
        assert of_step(history, step, "val_loss") == of_step(half_way, step, "val_loss")
    assert of_step(history, 100, "text") == of_step(half_way, 100, "text")

    assert all_events(queue, cancelled)[-1].data["status"] == "finished"
    assert cancelled.view()["progress"]["step"] == 300
    assert all_events(queue, waiting)[-1].data["status"] == "finished"
    assert registry.entry("waiting").card["job_id"] == WAITING


def test_what_is_written_anew_is_written_as_before(
    data: Path, settings: Settings, queue: Queue, start_worker: StartWorker
) -> None:
    """A worker of the earlier release may take a job of this one."""
    store = JobStore(data / "jobs")
    start_worker()
    waiting = store.get(WAITING)
    all_events(queue, waiting)
    finished = store.get(FINISHED)
    for name in ("plan.json", "baseline.json", "running.json", "result.json", "spec.json"):
        ours, theirs = (
            shape(json.loads((job.directory / name).read_bytes())) for job in (waiting, finished)
        )
        assert ours == theirs, name
    ours, theirs = ({e.event: shape(e.data) for e in j.events()} for j in (waiting, finished))
    assert ours == {kind: theirs[kind] for kind in ours}
    registry = Registry(settings.data.models)
    assert shape(registry.entry("waiting").card) == shape(registry.entry("finished").card)


def shape(value: Any) -> Any:
    """The fields of an object, in their order, and of those below it."""
    if not isinstance(value, dict):
        return None
    return [(name, shape(part)) for name, part in value.items() if name not in VARYING]


VARYING = ("keep_snapshots",)
"""Asked for by one of the jobs only."""
