"""Jobs are counted by status as they are now, and ended ones are not read again."""

import pytest

from worker.jobs import Job, JobStore
from worker.statuses import Statuses


def made(store: JobStore, model: str) -> Job:
    job, _ = store.create(model, "c" * 64, {}, None)
    return job


def end(job: Job, status: str) -> None:
    with job.lock():
        job.finish(status)  # type: ignore[arg-type]


def test_a_count_follows_every_change(store: JobStore) -> None:
    statuses = Statuses(store)
    assert not statuses.count()
    one, two, three = (made(store, name) for name in ("one", "two", "three"))
    assert statuses.count() == {"queued": 3}
    end(one, "finished")
    end(two, "failed")
    for _ in range(2):
        assert statuses.count() == {"queued": 1, "finished": 1, "failed": 1}
    store.resume(one.id, {})
    assert statuses.count() == {"queued": 2, "failed": 1}
    end(store.get(one.id), "cancelled")
    assert statuses.count() == {"queued": 1, "cancelled": 1, "failed": 1}
    store.delete(two.id)
    assert statuses.count() == {"queued": 1, "cancelled": 1}
    (store.root / one.id / "spec.json").write_bytes(b"")
    assert statuses.count() == {"queued": 1, "failed": 1}
    with three.lock():
        assert statuses.count() == {"running": 1, "failed": 1}


def test_a_job_that_has_ended_is_read_once(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = Statuses(store)
    ended, waiting = made(store, "ended"), made(store, "waiting")
    end(ended, "finished")
    read: list[str] = []
    get = JobStore.get

    def noted(self: JobStore, job_id: str) -> Job:
        read.append(job_id)
        return get(self, job_id)

    monkeypatch.setattr(JobStore, "get", noted)
    for _ in range(3):
        assert statuses.count() == {"finished": 1, "queued": 1}
    assert read.count(ended.id) == 1 and read.count(waiting.id) == 3
