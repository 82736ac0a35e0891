"""A server is alive when it answers, and ready when Redis and the storage answer it."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.supervisor.valkey import EmbeddedRedis
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.serving import TEXT, eventually, problem, serve
from tests.toys import toy_checkpoint
from worker.jobs import JobStore
from worker.queue import Queue


def test_ready_means_that_redis_answers(tmp_path: Path, redis_url: str) -> None:
    with serve(tmp_path / "away") as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        response = client.get("/readyz")
        body = problem(response, 503, "not_ready")
        assert body | {"redis": False, "workers": None} == response.json()
        assert "Redis does not answer" in body["detail"]
        assert response.headers["retry-after"]
    with serve(tmp_path, redis_url) as ready:
        assert ready.get("/readyz").json() == {"redis": True, "workers": 0, "models": 0}


def test_ready_means_that_the_storage_answers(
    tmp_path: Path,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_self: JobStore) -> list[str]:
        raise OSError(5, "Input/output error")

    with serve(tmp_path, redis_url) as client:
        monkeypatch.setattr(JobStore, "ids", broken)
        response = client.get("/readyz")
        body = problem(response, 503, "not_ready")
        assert "the storage does not answer" in body["detail"]
        assert (body["redis"], body["workers"], body["models"]) == (True, 0, None)
        assert client.get("/healthz").status_code == 200
        monkeypatch.undo()
        assert client.get("/readyz").status_code == 200
    assert "Input/output error" in caplog.text


def test_a_redis_that_hangs_holds_up_nobody(
    tmp_path: Path, own_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped, it accepts and never answers. More ask than there are threads, and few of them ask
    Redis.
    """
    looked: list[None] = []
    workers = Queue.workers

    def counted(queue: Queue) -> int:
        looked.append(None)
        return workers(queue)

    monkeypatch.setattr(Queue, "workers", counted)
    assert own_redis.process
    Registry(tmp_path / "models").publish(Reference("toy"), toy_checkpoint())
    with serve(tmp_path, own_redis.url) as client, ThreadPoolExecutor(60) as pool:
        assert client.get("/readyz").status_code == 200
        job = client.post("/train?model=first", content=TEXT).json()
        os.kill(own_redis.process.pid, signal.SIGSTOP)
        try:
            asking = [pool.submit(client.get, "/readyz") for _ in range(50)]
            started = [
                pool.submit(client.post, f"/train?model=m{n}", content=TEXT) for n in range(5)
            ]
            assert client.get("/sample?model=toy&length=5").status_code == 200
            for asked in asking:
                body = problem(asked.result(), 503, "not_ready")
                assert (body["redis"], body["models"]) == (False, 1)
            assert len(looked) < 10
            assert [one.result().status_code for one in started] == [202] * 5
            cancelled = client.post(f"/jobs/{job['id']}/cancel")
            assert cancelled.json()["status"] == "cancelled"
            assert client.delete(f"/jobs/{job['id']}").status_code == 204
        finally:
            os.kill(own_redis.process.pid, signal.SIGCONT)
        eventually(lambda: client.get("/readyz").status_code == 200)
