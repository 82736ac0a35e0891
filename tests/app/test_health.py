"""A server is alive when it answers, and ready when Redis and the storage answer it."""

from pathlib import Path

import pytest

from tests.serving import problem, serve
from worker.jobs import JobStore


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
