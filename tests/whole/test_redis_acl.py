"""Redis as ``deploy/`` starts it: one user with a password, and the least rights that do."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from app.supervisor.valkey import server_binary
from tests.proxies import free_port
from tests.serving import eventually, serve
from tests.support import ROOT, MakeJob, StartWorker
from worker.queue import Queue

START = ROOT / "deploy" / "kubernetes" / "base" / "redis-start.sh"
PASSWORD = "p %@:/#'\"$(id)`é"


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    program = folder / "valkey-server"
    if not program.exists():
        program.symlink_to(server_binary())
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "TMPDIR": str(folder),
        "REDIS_PASSWORD": PASSWORD,
        "REDIS_DATA": str(folder / "data"),
        "REDIS_PORT": str(port),
        "LC_ALL": "C",
    }
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(["sh", START], env=environment, stdout=log, stderr=log)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def redis_url(tmp_path: Path, port: int) -> Iterator[str]:
    """In the place of the tests' own server."""
    process = start(tmp_path / "redis", port)
    url = f"redis://charloom:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/0"
    try:
        eventually(Queue(url, "store").ping, 30)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def test_a_service_works_with_it(
    data: Path, redis_url: str, queue: Queue, start_worker: StartWorker, make_job: MakeJob
) -> None:
    job = make_job(max_steps=20)
    worker = start_worker()
    with serve(data, redis_url) as client:
        eventually(lambda: client.get("/readyz").json().get("workers"), 60)
        queue.enqueue(job.id)
        events = client.get(f"/jobs/{job.id}/events", timeout=60).text
        assert '"finished"' in events
    assert worker.terminate() == 0
    assert "p %" not in worker.said()


def test_nobody_else_may_do_anything(redis_url: str, port: int) -> None:
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    with redis.Redis.from_url(redis_url) as ours:
        for command in (
            ("CONFIG", "GET", "*"),
            ("FLUSHALL",),
            ("KEYS", "*"),
            ("ACL", "LIST"),
            ("GET", "other"),
            ("SHUTDOWN",),
        ):
            with pytest.raises(redis.ResponseError, match=r"(?i)no permission"):
                ours.execute_command(*command)


def test_keda_may_count_the_jobs(redis_url: str) -> None:
    """By a script that asks for the key's type, as its scaler of the kind ``redis`` does."""
    script = (
        "local kind = redis.call('type', KEYS[1]).ok "
        "local count = {zset = 'zcard', list = 'llen', none = 'llen'} "
        "return redis.call(count[kind], KEYS[1])"
    )
    with redis.Redis.from_url(redis_url) as ours:
        ours.rpush("rq:queue:training", "one", "two")
        ours.zadd("rq:wip:training", {"three": 3})
        counts = [ours.eval(script, 1, f"rq:{key}:training") for key in ("queue", "wip", "none")]
    assert counts == [2, 1, 0]


def test_what_it_was_told_survives_a_kill(tmp_path: Path, port: int) -> None:
    folder = tmp_path / "redis"
    url = f"redis://charloom:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/0"
    process = start(folder, port)
    try:
        eventually(Queue(url, "store").ping, 30)
        with redis.Redis.from_url(url) as ours:
            ours.rpush("rq:queue:training", "one")
        # Written at once, synced within a second: only a power cut loses that second.
        process.kill()
        process.wait(20)
        process = start(folder, port)
        eventually(Queue(url, "store").ping, 30)
        with redis.Redis.from_url(url) as ours:
            assert ours.llen("rq:queue:training") == 1
    finally:
        process.kill()
        process.wait(20)


def test_without_a_password_it_does_not_start(tmp_path: Path) -> None:
    refused = subprocess.run(
        ["sh", START],
        env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert refused.returncode and "REDIS_PASSWORD: set it to a long random word" in refused.stderr
