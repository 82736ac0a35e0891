"""A job's records: what is lost is taken from what is left, or the job says that it is damaged."""

import json

import pytest

from worker.events import EventLog
from worker.job_errors import JobDamaged
from worker.job_files import DAMAGED
from worker.jobs import Job, JobStore

UNREADABLE = [b"", b"{", b"[]", b"null", b'{"status": "odd"}', b'{"status": 1}', b"\xff"]


@pytest.fixture
def ended(job: Job) -> Job:
    """A job that has ended."""
    job.request_cancel()
    return job


@pytest.mark.parametrize("left", [None, *UNREADABLE])
def test_a_lost_result_is_that_of_the_last_event(left: bytes | None, ended: Job) -> None:
    result = ended.result()
    path = ended.directory / "result.json"
    path.unlink()
    if left is not None:
        path.write_bytes(left)
    view = ended.view()
    assert result
    assert (view["status"], view["error"]) == ("cancelled", None)
    assert view["finished_at"] == ended.events()[-1].at
    (damage,) = view["damaged"]
    assert damage.startswith("result.json ")


def test_a_resumed_job_does_not_end_by_its_former_event(ended: Job, store: JobStore) -> None:
    store.resume(ended.id, {})
    assert ended.result() is None
    assert [job.id for job in store.unended()] == [ended.id]
    ended.request_cancel()
    (ended.directory / "result.json").unlink()
    assert ended.status() == "cancelled"
    assert list(store.unended()) == []


def test_an_end_of_a_former_release_may_have_been_resumed(ended: Job) -> None:
    """It kept no record of that; where there is a result, however damaged, it was not."""
    log = EventLog(ended.directory)
    line = {"id": 1, "event": "end", "data": {"status": "cancelled", "error": None}}
    log.path.write_text(json.dumps(line) + "\n")
    path = ended.directory / "result.json"
    path.unlink()
    assert ended.result() is None
    path.write_bytes(b"")
    assert ended.status() == "cancelled"


def test_without_result_and_event_the_job_is_damaged(ended: Job, store: JobStore) -> None:
    for name in ("result.json", "events.jsonl"):
        (ended.directory / name).write_bytes(b"")
    view = ended.view()
    assert view["status"] == "failed"
    assert view["error"]
    assert view["error"]["title"] == DAMAGED
    assert "result.json is empty" in view["error"]["detail"]
    # Who follows it waits for an end.
    assert [(event.event, event.data["status"]) for event in ended.events()] == [("end", "failed")]
    store.resume(ended.id, {})
    assert ended.status() == "queued"


@pytest.mark.parametrize("left", [None, *UNREADABLE])
def test_without_a_spec_the_job_can_only_be_deleted(
    left: bytes | None, job: Job, store: JobStore
) -> None:
    other, _ = store.create("other", "d" * 64, {}, None)
    path = job.directory / "spec.json"
    path.unlink()
    if left is not None:
        path.write_bytes(left)
    view = store.get(job.id).view()
    assert (view["status"], view["model"], view["corpus_id"]) == ("failed", "", "")
    assert view["created_at"][:16] == job.spec["created_at"][:16]
    assert view["damaged"][0].startswith("spec.json ")
    assert [one.id for one in store.unended()] == [other.id]
    # Nobody knows which corpus it needs.
    assert store.needing("c" * 64) == store.needing("e" * 64) == job.id
    with pytest.raises(JobDamaged):
        store.resume(job.id, {})
    store.delete(job.id)
    assert store.ids() == [other.id]
    assert store.needing("e" * 64) is None


@pytest.mark.parametrize(
    "left",
    [
        b"",
        b"[]",
        b'{"progress": []}',
        b'{"progress": {"step": "1"}}',
        b'{"paused": {"title": 1, "detail": ""}}',
        b'{"options": "x"}',
        b'{"baseline": {"ngram_order": 1e300, "val_loss": 1, "bpc": 1}}',
    ],
)
def test_progress_of_other_types_is_none(left: bytes, job: Job) -> None:
    (job.directory / "running.json").write_bytes(left)
    view = job.view()
    assert (view["status"], view["progress"], view["error"]) == ("queued", None, None)
    assert view["damaged"][0].startswith("running.json ")
