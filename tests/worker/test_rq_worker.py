"""RQ is what ``worker.trainer.rq_worker`` takes it for; a queue that lies starts nothing."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Callback, SpawnWorker, Webhook
from rq import Queue as RQQueue
from rq.executions import Execution
from rq.job import Job as RQJob

from tests.support import Horses, StartWorker, all_events
from worker.jobs import Job
from worker.queue import FORMER_FUNCTIONS, FUNCTION, Queue
from worker.settings import WorkerSettings
from worker.trainer import attempt, rq_worker
from worker.trainer.rq_worker import ForeignFunction, TrainingJob, TrainingWorker

OVERRIDDEN: dict[str, tuple[type, type]] = {
    "TrainingJob": (TrainingJob, RQJob),
    "TrainingWorker": (TrainingWorker, SpawnWorker),
}


def table() -> Iterator[tuple[str, str, list[str] | None]]:
    """Class, method and names of its parameters, None of a property, as the docstring has them."""
    ours = ""
    for line in (rq_worker.__doc__ or "").splitlines():
        if heading := re.match(r"(\w+), of rq\.", line):
            ours = heading[1]
        elif row := re.fullmatch(r" {4}(\w+)(?:\((.*)\))?", line):
            yield ours, row[1], None if row[2] is None else re.findall(r"\w+", row[2])


def parameters(method: Any) -> list[str] | None:
    """Names of a method's parameters but for self; None of a property."""
    return None if isinstance(method, property) else [*inspect.signature(method).parameters][1:]


def test_what_is_overridden_still_exists() -> None:
    rows = list(table())
    assert len(rows) == 17
    for name, method, expected in rows:
        ours, theirs = OVERRIDDEN[name]
        assert parameters(getattr(theirs, method)) == expected, method
        assert parameters(getattr(ours, method)) == expected, method


def test_the_table_has_every_override() -> None:
    for name, (ours, theirs) in OVERRIDDEN.items():
        overridden = {
            method
            for method, value in vars(ours).items()
            if hasattr(theirs, method) and (callable(value) or isinstance(value, property))
        }
        assert overridden - {"__init__"} == {m for of, m, _ in table() if of == name}


def test_an_override_changes_defaults_of_no_parameter() -> None:
    for name, method, expected in table():
        if expected is None:
            continue
        ours, theirs = (inspect.signature(getattr(one, method)) for one in OVERRIDDEN[name])
        for parameter in expected:
            assert ours.parameters[parameter].default == theirs.parameters[parameter].default


def test_private_names_still_exist(settings: WorkerSettings) -> None:
    worker = TrainingWorker(settings)
    assert worker._horse_pid == 0
    with redis.Redis.from_url(settings.redis_url) as client:
        assert Execution("e" * 32, "j", client, "w")._job is None
    listed = re.findall(r"^ {4}(?:Worker|Execution)\.(\w+)  ", rq_worker.__doc__ or "", re.M)
    assert listed == ["_horse_pid", "_job"]


def job_of(function: str, redis_url: str, **options: Any) -> RQJob:
    with redis.Redis.from_url(redis_url) as client:
        created = RQJob.create(function, ("1",), connection=client, serializer="json", **options)
        created.save()
        return TrainingJob.fetch(created.id, connection=client, serializer="json")


@pytest.mark.parametrize("function", [FUNCTION, *FORMER_FUNCTIONS])
def test_one_function_is_run_under_all_its_names(function: str, redis_url: str) -> None:
    assert job_of(function, redis_url).func is attempt.run


@pytest.mark.parametrize("function", ["os.system", "worker.trainer.attempt", "worker.train.other"])
def test_no_other_function_is_imported(function: str, redis_url: str) -> None:
    with pytest.raises(ForeignFunction, match=f"{function} is not a function of this worker"):
        _ = job_of(function, redis_url).func


def test_neither_callbacks_nor_urls_are_called(redis_url: str) -> None:
    callbacks = [Callback("os.system") for _ in range(3)]
    job = job_of(
        FUNCTION,
        redis_url,
        on_success=callbacks[0],
        on_failure=callbacks[1],
        on_stopped=callbacks[2],
        webhooks=[Webhook("http://127.0.0.1:1/", "finished")],
    )
    assert isinstance(job, TrainingJob)
    assert job.success_callback is job.failure_callback is job.stopped_callback is None
    assert job.webhooks == []


def test_a_function_of_somebody_elses_is_refused(
    job: Job,
    horses: Horses,
    start_worker: StartWorker,
    queue: Queue,
    redis_url: str,
    tmp_path: Path,
) -> None:
    horses.finish(job)
    with redis.Redis.from_url(redis_url) as client:
        foreign = RQQueue(queue.name, connection=client, serializer="json")
        files = [tmp_path / name for name in ("function", "callback")]
        refused = foreign.enqueue("os.system", f"touch {files[0]}")
        foreign.enqueue_call(
            attempt.__name__ + ".run",
            args=(job.id,),
            job_id=job.id,
            on_success=Callback("os.system"),
            on_failure=Callback("subprocess.getoutput"),
            description=f"touch {files[1]}",
        )
        worker = start_worker()
        assert all_events(queue, job)[-1].data["status"] == "finished"
        assert not client.exists(RQJob.key_for(refused.id))
    assert not [file for file in files if file.exists()]
    assert f"job {refused.id} is not on this disk" in worker.said()


def test_a_pickle_is_not_opened(
    job: Job,
    horses: Horses,
    start_worker: StartWorker,
    queue: Queue,
    redis_url: str,
    tmp_path: Path,
) -> None:
    horses.finish(job)
    with redis.Redis.from_url(redis_url) as client:
        foreign = RQQueue(queue.name, connection=client, serializer="pickle")
        foreign.enqueue("os.system", f"touch {tmp_path / 'pickled'}")
        queue.enqueue(job.id)
        start_worker()
        assert all_events(queue, job)[-1].data["status"] == "finished"
    assert not (tmp_path / "pickled").exists()
