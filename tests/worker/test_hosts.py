"""Where locks do not reach another host that is alive, nothing starts; the dead hold up nobody."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from app.supervisor.valkey import EmbeddedRedis
from tests.machines import another_machine
from tests.serving import NOWHERE, eventually, serve
from tests.support import ROOT, StartWorker, WorkerProcess
from worker import hosts
from worker.connection import connect
from worker.data import DataDirectory
from worker.hosts import LocksStayHere, Presence, present
from worker.settings import WorkerSettings

PROGRAMS = {"worker": ["-m", "worker"], "server": ["-m", "app"]}


def is_ready(worker: WorkerProcess) -> bool:
    return "ready for jobs" in worker.said()


def run(
    program: str, prefix: list[str], settings: WorkerSettings
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, *PROGRAMS[program]],
        cwd=ROOT,
        env=os.environ | {"CHARLOOM_PORT": "0", "CHARLOOM_PRETRAINED": str(settings.data.root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("there", ["other files of the same names", "nothing"])
def test_without_locks_that_reach_it_a_second_host_is_refused(
    program: str, there: str, start_worker: StartWorker, settings: WorkerSettings, tmp_path: Path
) -> None:
    worker = start_worker()
    eventually(lambda: "ready for jobs" in worker.said(), 60)
    copy = tmp_path / "hosts"
    if there == "nothing":
        copy.mkdir()
    else:
        shutil.copytree(settings.data.hosts, copy)
    ended = run(program, another_machine(tmp_path, {settings.data.hosts: copy}), settings)
    assert ended.returncode == os.EX_CONFIG, ended
    told = [line for line in ended.stderr.splitlines() if "listening" not in line]
    assert len(told) == 1, ended
    assert f"locks in {settings.data.root} do not reach all hosts" in told[0]
    assert worker.process.poll() is None


def test_a_second_host_that_sees_the_locks_may_work(
    start_worker: StartWorker, settings: WorkerSettings, tmp_path: Path
) -> None:
    worker, other = (start_worker(another_machine(tmp_path)) for _ in range(2))
    for one in (worker, other):
        eventually(partial(is_ready, one), 60)
    assert len(list(settings.data.hosts.iterdir())) == 2
    assert worker.terminate() == 0
    assert len(list(settings.data.hosts.iterdir())) == 1


def test_a_worker_killed_on_this_machine_is_not_waited_for(
    start_worker: StartWorker, settings: WorkerSettings
) -> None:
    worker = start_worker()
    eventually(lambda: "ready for jobs" in worker.said(), 60)
    worker.kill()
    with connect(settings.redis_url) as client:
        store = settings.data.store_id()
        (dead,) = client.smembers(f"charloom:hosts:{store}")
        key = f"charloom:hosts:{store}:{dead.decode()}"
        client.persist(key)
        with present(settings.data, settings.redis_url):
            assert not client.exists(key)
    assert list(settings.data.hosts.iterdir()) == []


def test_one_killed_on_another_machine_is_waited_for_until_it_is_silent(
    settings: WorkerSettings,
) -> None:
    with connect(settings.redis_url) as client:
        all_of_them = f"charloom:hosts:{settings.data.store_id()}"
        client.sadd(all_of_them, "dead")
        client.set(f"{all_of_them}:dead", "1:another-machine:1", px=200)
        Presence(settings.data, client).check()
        assert client.smembers(all_of_them) == set()


def test_without_redis_it_is_checked_later(data: Path) -> None:
    with present(DataDirectory(data), NOWHERE):
        assert len(list((data / "hosts").iterdir())) == 1
    with serve(data) as client:
        assert client.get("/healthz").status_code == 200


def test_a_server_that_started_without_redis_stops_when_another_hosts_locks_are_not_seen(
    own_redis: EmbeddedRedis, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARLOOM_DATA", str(data))
    monkeypatch.setenv("CHARLOOM_REDIS_URL", own_redis.url)
    monkeypatch.setenv("CHARLOOM_PORT", "0")
    monkeypatch.setenv("CHARLOOM_PRETRAINED", str(tmp_path))
    elsewhere = DataDirectory(tmp_path / "elsewhere")
    elsewhere.root.mkdir()
    (elsewhere.root / "store-id").write_text(DataDirectory(data).store_id())
    # The other host is the older one: it stays.
    monkeypatch.setattr(hosts, "LOOKS", 0)
    with present(elsewhere, own_redis.url):
        assert own_redis.process
        own_redis.process.kill()
        own_redis.process.wait()
        command = [sys.executable, *PROGRAMS["server"]]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as server:
            try:
                # It shows that it is there from here on.
                eventually(lambda: list((data / "hosts").glob("*")), 60)
                own_redis.start()
                _, told = server.communicate(timeout=60)
            finally:
                server.kill()
    assert server.returncode == os.EX_CONFIG, told
    assert f"locks in {data} do not reach all hosts" in told.splitlines()[-1]
    assert "Traceback" not in told


def test_whoever_starts_is_refused_by_name_of_the_directory(settings: WorkerSettings) -> None:
    """Two that see each other's signs of life in Redis, but not each other's files."""
    with present(settings.data, settings.redis_url), connect(settings.redis_url) as client:
        (file,) = settings.data.hosts.iterdir()
        file.rename(file.with_name("moved"))
        with pytest.raises(LocksStayHere, match=str(settings.data.root)):
            Presence(settings.data, client).check()
