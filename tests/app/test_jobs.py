"""Jobs as clients list, follow, cancel, resume and delete them."""

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from app.routes.jobs import _until
from tests.serving import TEXT, eventually, problem, serve, wrong_fields
from tests.support import queue_at
from tests.uploads import names
from worker.corpora import CorpusStore
from worker.events import EventLog, JobEvent
from worker.jobs import Job, JobStore


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    """Of a server whose Redis is away: what is on disk is told all the same."""
    with serve(data) as client:
        yield client


@pytest.fixture
def job(client: httpx2.Client, data: Path) -> Job:
    """A job that waits for a worker."""
    return start(client, data)


def start(client: httpx2.Client, data: Path, model: str | None = None) -> Job:
    params = {"model": model or next(names)}
    response = client.post("/train", params=params, content=TEXT)
    return JobStore(data / "jobs").get(response.json()["id"])


def end(job: Job) -> None:
    with job.lock() as held:
        assert held
        job.finish("finished")


# Jobs


def test_a_job_is_what_its_worker_wrote(client: httpx2.Client, job: Job) -> None:
    with job.lock():
        running = {
            "started_at": "2026-01-01T00:00:00.000Z",
            "options": {"num_layers": 2},
            "device": "cpu",
            "progress": {"step": 3, "max_steps": 9, "train_loss": 2.5},
        }
        (job.directory / "running.json").write_text(json.dumps(running))
        seen = client.get(f"/jobs/{job.id}").json()
    assert seen["status"] == "running"
    assert seen["options"] == {"num_layers": 2}
    assert seen["progress"]["train_loss"] == 2.5
    assert seen["progress"]["val_loss"] is None
    assert seen["finished_at"] is None
    end(job)
    seen = client.get(f"/jobs/{job.id}").json()
    assert seen["status"] == "finished"
    assert seen["finished_at"] > seen["started_at"]


@pytest.mark.parametrize("job_id", ["0" * 22, "x", "..%2F..%2Fetc", "%00", "a" * 5000])
def test_no_such_job(client: httpx2.Client, job_id: str) -> None:
    url = f"/jobs/{job_id}"
    for response in (
        client.get(url),
        client.get(f"{url}/events"),
        client.post(f"{url}/cancel"),
        client.post(f"{url}/resume"),
        client.delete(url),
    ):
        # A slash in an id makes another path of it.
        code = "unknown_endpoint" if "%2F" in job_id else "unknown_job"
        problem(response, 404, code)


def test_jobs_page_by_page_the_newest_first(client: httpx2.Client, data: Path) -> None:
    model = next(names)
    jobs = []
    for _ in range(5):
        jobs.append(start(client, data, model))
        end(jobs[-1])
    listed: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"model": model, "limit": "2", "cursor": cursor}
        page = client.get("/jobs", params=query).json()
        listed += [job["id"] for job in page["jobs"]]
        cursor = page["next"]
    assert listed == [job.id for job in reversed(jobs)]


def test_jobs_of_a_status(client: httpx2.Client, job: Job) -> None:
    def listed(status: str) -> set[str]:
        page = client.get("/jobs", params={"status": status, "limit": 100}).json()
        assert all(job["status"] == status for job in page["jobs"])
        return {job["id"] for job in page["jobs"]}

    assert job.id in listed("queued")
    end(job)
    assert job.id in listed("finished")
    assert job.id not in listed("queued")


@pytest.mark.parametrize(
    ("field", "value"),
    [("limit", "0"), ("limit", "101"), ("cursor", "../x"), ("status", "done"), ("page", "2")],
)
def test_a_page_that_is_none(client: httpx2.Client, field: str, value: str) -> None:
    assert wrong_fields(client.get("/jobs", params={field: value})).keys() == {field}


def test_a_job_goes_once_it_has_ended(client: httpx2.Client, job: Job) -> None:
    url = f"/jobs/{job.id}"
    assert "cancel it first" in problem(client.delete(url), 409, "job_not_ended")["detail"]
    end(job)
    assert client.delete(url).status_code == 204
    assert not job.directory.exists()
    assert problem(client.get(url), 404)


# Cancelling


def test_a_waiting_job_is_cancelled_at_once(client: httpx2.Client, job: Job) -> None:
    response = client.post(f"/jobs/{job.id}/cancel")
    assert response.status_code == 202
    assert response.json()["status"] == "cancelled"
    again = client.post(f"/jobs/{job.id}/cancel")
    assert "ended already" in problem(again, 409, "job_ended")["detail"]


def test_a_running_job_is_told_to_stop(client: httpx2.Client, job: Job) -> None:
    with job.lock():
        response = client.post(f"/jobs/{job.id}/cancel")
        assert response.status_code == 202
        assert response.json()["status"] == "cancelling"
        assert job.cancel_requested()
        assert client.post(f"/jobs/{job.id}/cancel").status_code == 202


def test_a_job_that_was_just_deleted_cannot_be_cancelled(
    client: httpx2.Client, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted after it was looked up."""
    cancel = Job.request_cancel

    def late(self: Job) -> JobEvent | None:
        shutil.rmtree(self.directory)
        return cancel(self)

    monkeypatch.setattr(Job, "request_cancel", late)
    problem(client.post(f"/jobs/{job.id}/cancel"), 404, "unknown_job")


# Resuming


def ended(client: httpx2.Client, data: Path, steps: int = 40, **options: Any) -> Job:
    """A job that has reached so many steps."""
    params = {"model": next(names)} | options
    response = client.post("/train", params=params, content=TEXT)
    job = JobStore(data / "jobs").get(response.json()["id"])
    with job.lock():
        progress: Any = {"step": steps, "epoch": 1.0, "elapsed_seconds": 3.5}
        job.set_running({"options": job.spec["options"], "progress": progress})
        job.finish("finished")
    return job


def test_a_job_is_resumed_with_limits_that_are_raised(client: httpx2.Client, data: Path) -> None:
    job = ended(client, data, max_steps=40, max_epochs=5)
    response = client.post(f"/jobs/{job.id}/resume", json={"max_steps": 80})
    assert response.status_code == 202
    assert response.json()["status"] == "queued"
    options = JobStore(data / "jobs").get(job.id).spec["options"]
    assert (options["max_steps"], options["max_epochs"]) == (80, 5)
    again = client.post(f"/jobs/{job.id}/resume")
    problem(again, 409, "job_not_ended")


def test_a_job_is_resumed_on_other_devices(client: httpx2.Client, data: Path) -> None:
    """Fewer, too; they are no limit."""
    job = ended(client, data, max_steps=40, devices=4)
    assert job.spec["options"]["devices"] == 4
    assert client.post(f"/jobs/{job.id}/resume", json={"devices": 2}).status_code == 202
    assert JobStore(data / "jobs").get(job.id).spec["options"]["devices"] == 2


def test_a_resume_needs_no_body(client: httpx2.Client, data: Path) -> None:
    job = ended(client, data, max_steps=40)
    response = client.post(f"/jobs/{job.id}/resume")
    assert (response.status_code, response.json()["status"]) == (202, "queued")


@pytest.mark.parametrize(
    ("raised", "field", "words"),
    [
        ({"max_steps": 39}, "max_steps", "can only be raised: it is 40 already"),
        ({"max_seconds": 9}, "max_steps", "has been reached too: raise it as well"),
        ({"max_steps": 80, "max_epochs": 9}, "max_seconds", "has been reached too"),
        ({"max_steps": 0}, "max_steps", "from 1 to"),
        ({"dropout": 0.5}, "dropout", "is unknown; known fields are max_epochs"),
    ],
)
def test_limits_that_would_not_let_a_job_continue(
    client: httpx2.Client, data: Path, raised: dict[str, Any], field: str, words: str
) -> None:
    job = ended(client, data, max_steps=40, max_epochs=5, max_seconds=3.5)
    response = client.post(f"/jobs/{job.id}/resume", json=raised)
    assert words in wrong_fields(response, "invalid_fields")[field]
    assert job.status() == "finished"


def test_a_job_without_its_corpus_is_not_resumed(client: httpx2.Client, data: Path) -> None:
    job = ended(client, data)
    CorpusStore(data / "corpora").delete(job.spec["corpus_id"], lambda _: None)
    problem(client.post(f"/jobs/{job.id}/resume"), 409, "corpus_deleted")


def test_a_name_that_is_taken_is_not_taken_back(client: httpx2.Client, data: Path) -> None:
    job = ended(client, data)
    other = start(client, data, job.model)
    response = client.post(f"/jobs/{job.id}/resume")
    assert other.id in problem(response, 409, "name_taken")["detail"]


# Events


@contextmanager
def following(
    client: httpx2.Client, job: Job, last: str | None = None
) -> Iterator[Iterator[httpx2.ServerSentEvent]]:
    headers = {} if last is None else {"Last-Event-ID": last}
    with client.stream("GET", f"/jobs/{job.id}/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        yield iter(httpx2.EventSource(response))


def told(events: Iterator[httpx2.ServerSentEvent]) -> list[tuple[str, str, Any]]:
    return [(event.id or "", event.event, event.json()) for event in events]


def write(job: Job, steps: range) -> None:
    log = EventLog(job.directory)
    for step in steps:
        log.append("sample", {"step": step, "temperature": 0.5, "text": f"{step}\r\n\u2028é"})


def test_events_from_the_start_to_the_end(client: httpx2.Client, job: Job) -> None:
    write(job, range(1, 4))
    end(job)
    with following(client, job) as events:
        seen = told(events)
    assert [id_ for id_, _, _ in seen] == ["1", "2", "3", "4"]
    assert [event for _, event, _ in seen] == ["sample", "sample", "sample", "end"]
    assert seen[0][2] == {"step": 1, "temperature": 0.5, "text": "1\r\n\u2028é"}
    assert seen[-1][2] == {"status": "finished", "error": None}


@pytest.mark.parametrize(
    ("last", "first"), [("0", "1"), ("2", "3"), ("3", "4"), ("99", "1"), ("-5", "1"), ("x", "1")]
)
def test_events_go_on_after_the_last_one_seen(
    client: httpx2.Client, job: Job, last: str, first: str
) -> None:
    write(job, range(1, 4))
    end(job)
    with following(client, job, last) as events:
        seen = told(events)
    assert [int(id_) for id_, _, _ in seen] == list(range(int(first), 5))


def test_who_has_the_end_need_not_come_back(client: httpx2.Client, job: Job) -> None:
    write(job, range(1, 4))

    def ask(method: str = "GET") -> httpx2.Response:
        return client.request(method, f"/jobs/{job.id}/events", headers={"Last-Event-ID": "4"})

    end(job)
    for method in ("GET", "HEAD"):
        done = ask(method)
        assert (done.status_code, done.content) == (204, b"")
        assert done.headers["cache-control"] == "no-store" and done.headers["x-request-id"]
    # A job whose end was lost has one all the same.
    lines = (job.directory / "events.jsonl").read_bytes().splitlines(keepends=True)
    (job.directory / "events.jsonl").write_bytes(b"".join(lines[:-1]))
    assert ask().status_code == 204
    # Nor may one that goes on be taken for ended.
    (job.directory / "result.json").unlink()
    with job.lock(), following(client, job, "3"):
        pass


def test_events_of_a_server_whose_redis_is_away(
    client: httpx2.Client, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.live._POLL", 0.02)
    write(job, range(1, 2))
    with following(client, job) as events:
        assert next(events).id == "1"
        end(job)
        assert [event.event for event in events] == ["end"]


def test_events_as_they_come(data: Path, redis_url: str) -> None:
    queue = queue_at(redis_url, data)
    with serve(data, redis_url) as client:
        job = start(client, data)
        with following(client, job) as events, job.lock():
            log = EventLog(job.directory)
            for step in range(1, 30):
                queue.events.publish(job.id, log.append("progress", {"step": step}))
                assert next(events).json() == {"step": step}
            queue.events.publish(job.id, job.finish("finished"))
            assert [event.event for event in events] == ["end"]


def test_a_follower_who_leaves_disturbs_nobody(data: Path, redis_url: str) -> None:
    with serve(data, redis_url) as client:
        job = start(client, data)
        write(job, range(1, 2))
        with redis.Redis.from_url(redis_url) as server:

            def followers() -> int:
                return sum(one["cmd"] == "xread" for one in server.client_list())

            for _ in range(3):
                with following(client, job) as events:
                    assert next(events).id == "1"
                    eventually(lambda: followers() > 0)
            eventually(lambda: followers() == 0)


def test_a_server_that_stops_lets_its_followers_go(tmp_path: Path) -> None:
    seen: list[str] = []

    def follow(events: Iterator[httpx2.ServerSentEvent]) -> None:
        seen.extend(event.event for event in events)

    with httpx2.Client() as other:
        with serve(tmp_path) as client:
            job = start(client, tmp_path)
            write(job, range(1, 2))
            stream = other.stream("GET", f"{client.base_url}/jobs/{job.id}/events")
            events = iter(httpx2.EventSource(stream.__enter__()))
            assert next(events).id == "1"
            follower = threading.Thread(target=follow, args=(events,))
            follower.start()
        follower.join(timeout=1)
        assert not follower.is_alive()
        stream.__exit__(None, None, None)
    assert seen == []


def test_what_runs_in_the_events_is_over_when_they_are_closed() -> None:
    closed = []

    async def endless() -> Any:
        try:
            yield JobEvent(1, "progress", {})
            await asyncio.sleep(3600)
        finally:
            closed.append(True)

    async def leave() -> None:
        following = _until(asyncio.Event(), endless())
        assert (await anext(following)).id == 1
        step = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0)
        step.cancel()
        await asyncio.wait([step])

    asyncio.run(leave())
    assert closed == [True]


# The queue


def test_a_job_reaches_the_queue(data: Path, redis_url: str) -> None:
    queue = queue_at(redis_url, data)
    with serve(data, redis_url) as client:
        job = start(client, data)
        eventually(lambda: queue.is_queued(job.id))
        client.post(f"/jobs/{job.id}/cancel")
        assert not queue.is_queued(job.id)


def test_events_are_json_on_the_wire(client: httpx2.Client, job: Job) -> None:
    write(job, range(1, 2))
    end(job)
    lines = client.get(f"/jobs/{job.id}/events").text.split("\n")
    assert lines[0] == "event: sample"
    assert json.loads(lines[1].removeprefix("data: "))["step"] == 1
    assert lines[2:4] == ["id: 1", ""]
