"""A Redis that refuses us is not one that is away: launcher, server and worker say what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from app.supervisor.valkey import EmbeddedRedis
from tests.serving import eventually, problem, serve
from tests.support import ROOT, WorkerProcess
from worker.connection import Outage, connect, refusal_at
from worker.settings import WorkerSettings

WRONG = "Redis refuses the user or the password in CHARLOOM_REDIS_URL"
NONE = "Redis wants a password: put the user and the password into CHARLOOM_REDIS_URL"
LITTLE = "Redis does not let its user do enough"

USERS = {"wrong": ("barley", WRONG), "default": ("", NONE), "little": ("sesame", LITTLE)}


@pytest.fixture
def strict(own_redis: EmbeddedRedis) -> EmbeddedRedis:
    """A server that wants a password, and has a user who may do next to nothing."""
    with redis.Redis.from_url(own_redis.url) as admin:
        admin.execute_command("ACL", "SETUSER", "little", "on", ">sesame", "~other:*", "+ping")
        admin.execute_command("ACL", "SETUSER", "default", "off")
    return own_redis


def url_for(user: str, server: EmbeddedRedis) -> str:
    password = USERS[user][0]
    login = f"{user}:{password}@" if password else ""
    return server.url.replace("unix://", f"unix://{login}")


@pytest.mark.parametrize("user", USERS)
def test_the_launcher_does_not_start(user: str, strict: EmbeddedRedis, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "app.cli", "up", "--port", "0", "--data", str(tmp_path / "data")],
        cwd=ROOT,
        env=os.environ | {"CHARLOOM_REDIS_URL": url_for(user, strict)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == os.EX_CONFIG
    assert USERS[user][1] in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "barley" not in ended.stderr


@pytest.mark.parametrize("user", USERS)
def test_server_and_worker_say_so(
    user: str,
    strict: EmbeddedRedis,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("CHARLOOM_DATA", str(data))
    monkeypatch.setenv("CHARLOOM_REDIS_URL", url_for(user, strict))
    worker = WorkerProcess(WorkerSettings.from_environment(), tmp_path / "log")
    try:
        with serve(data, url_for(user, strict)) as client:
            assert USERS[user][1] in problem(client.get("/readyz"), 503, "not_ready")["detail"]
            assert client.get("/readyz").status_code == 503
        eventually(lambda: USERS[user][1] in worker.said(), 60)
        assert worker.said().count("waiting for Redis") == 1
        assert worker.process.poll() is None
    finally:
        worker.terminate()
    assert caplog.text.count(USERS[user][1]) == 1


def test_one_that_lets_us_in_or_is_away_does_not_refuse_us(redis_url: str) -> None:
    assert refusal_at(redis_url) is None
    assert refusal_at("redis://127.0.0.1:1/0") is None


def test_a_refusal_is_told_also_in_an_outage(
    strict: EmbeddedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    outage = Outage()
    outage.began(redis.ConnectionError("refused"))
    with connect(url_for("wrong", strict)) as client, pytest.raises(redis.RedisError) as refused:
        client.ping()
    for _ in range(2):
        outage.began(refused.value)
    outage.ended()
    assert [message[:15] for message in caplog.messages] == [
        "Redis is away: ",
        WRONG[:15],
        "Redis is back",
    ]
