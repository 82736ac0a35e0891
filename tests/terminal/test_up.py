"""`charloom up` says where it is and how to use it, or in one line why it does not start."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from app.supervisor import up
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.pretrained import INSTALLED
from tests.commands import ROOT
from tests.nvml import Driver, h200
from tests.supervised import LINUX, Run, Watched
from tests.toys import toy_checkpoint
from worker import gpus

BRING_UP = """
import sys
from pathlib import Path
from app.supervisor.up import UpOptions, bring_up

SERVER = '''
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
    def log_message(self, *_): pass
print("pid", os.getpid(), *(os.environ["CHARLOOM_" + name] for name in ("DATA", "INSECURE")))
address = os.environ["CHARLOOM_HOST"], int(os.environ["CHARLOOM_PORT"])
http.server.HTTPServer(address, Handler).serve_forever()
'''
WORKER = '''
import os, signal, redis
with redis.Redis.from_url(os.environ["CHARLOOM_REDIS_URL"]) as client:
    print("pid", os.getpid(), "nice", os.nice(0), "redis", client.info("server")["process_id"])
while True: signal.pause()
'''
options = UpOptions("127.0.0.1", 0, Path(sys.argv[1]), workers=2)
bring_up(options, [sys.executable, "-c", SERVER], [sys.executable, "-c", WORKER])
"""


@pytest.fixture
def brought_up(tmp_path: Path) -> Iterator[Run]:
    run = Run(BRING_UP, tmp_path, str(tmp_path / "data"))
    yield run
    run.close()


def test_up_tells_where_it_is_and_how_to_use_it(brought_up: Run, tmp_path: Path) -> None:
    nice = brought_up.until(r"worker [12] │ pid \d+ nice (\d+)")[1]
    assert int(nice) == min(19, os.nice(0) + 10)
    brought_up.until(rf"server   │ pid \d+ {tmp_path}/data 0")
    url = brought_up.until(r"charloom is at (http://127.0.0.1:\d+)")[1]
    assert (tmp_path / "data" / "charloom.lock").read_text() == f"{brought_up.process.pid} {url}\n"
    brought_up.until("device +(CPU, |.*NVIDIA)")
    brought_up.until(f"data +{tmp_path}/data")
    brought_up.until(f"curl --data-binary @your.txt '{url}/train")
    brought_up.until(f"curl -N '{url}/sample")
    brought_up.process.send_signal(signal.SIGINT)
    assert brought_up.end() == 0
    assert not list((tmp_path / "data" / "redis").glob("socket"))


@LINUX
def test_nothing_outlives_a_killed_up_and_the_next_one_starts(
    brought_up: Run, tmp_path: Path
) -> None:
    worker, redis = brought_up.until(r"worker [12] +│ pid (\d+) nice \d+ redis (\d+)").groups()
    left = Watched(int(worker), int(redis), brought_up.pid("server"))
    redis_socket = Path((tmp_path / "data" / "redis" / "socket").read_text())
    brought_up.process.kill()
    assert left.end()
    again = Run(BRING_UP, tmp_path, str(tmp_path / "data"))
    again.until("charloom is at")
    assert not redis_socket.parent.exists()
    again.process.send_signal(signal.SIGTERM)
    assert again.end() == 0
    again.close()


def test_a_worker_for_each_gpu_sees_no_other(tmp_path: Path) -> None:
    driver = Driver(tmp_path / "driver")
    driver.has(h200(1), h200(2))
    first = f"import sys; sys.path.insert(0, {str(driver.directory)!r})\n"
    sees = 'print("pid", os.environ.get("CUDA_VISIBLE_DEVICES"))\nwith redis'
    script = first + BRING_UP.replace("workers=2", 'workers="auto"').replace("with redis", sees)
    run = Run(script, tmp_path, str(tmp_path / "data"))
    try:
        for number in (1, 2):
            run.until(rf"worker {number} +│ pid {h200(number)['id']}")
        run.until("device +2 × NVIDIA H200$")
        run.process.send_signal(signal.SIGTERM)
        assert run.end() == 0
    finally:
        run.close()


@pytest.mark.parametrize("visible", [None, "", "1,GPU-7"])
def test_workers_for_gpus_are_those_that_the_operator_names(
    monkeypatch: pytest.MonkeyPatch, visible: str | None
) -> None:
    if visible is None:
        monkeypatch.delenv(gpus.VISIBLE, raising=False)
    else:
        monkeypatch.setenv(gpus.VISIBLE, visible)
    monkeypatch.setattr(gpus, "can_compute", lambda: True)
    programs = up._worker_programs("auto", ["true"], {})
    found = {one.name: (one.environment or {}).get(gpus.VISIBLE) for one in programs}
    # No GPU is here.
    one = {"worker": visible}
    assert found == (one if not visible else {"worker 1": "1", "worker 2": "GPU-7"})
    assert [one.name for one in up._worker_programs(2, ["true"], {})] == ["worker 1", "worker 2"]


def refused(*arguments: str | Path, code: int = 1, **environment: str) -> str:
    """What `charloom up` says in its one line when it does not start, and ends with ``code``."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CHARLOOM_")}
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "up", *arguments],
        cwd=ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    return done.stderr


def test_a_second_up_on_the_same_data_names_the_first(tmp_path: Path) -> None:
    with (tmp_path / "charloom.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("123 http://127.0.0.1:8000\n")
        lock.flush()
        said = refused("--data", tmp_path)
    assert said == "charloom: already running at http://127.0.0.1:8000 (pid 123)\n"


def test_a_port_in_use_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("--data", tmp_path, "--port", str(port))
    assert said == f"charloom: cannot listen on 127.0.0.1, port {port}: Address already in use\n"
    assert {path.name for path in tmp_path.iterdir()} == {"charloom.lock", "format-1"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_without_keys_it_listens_on_loopback_alone(tmp_path: Path, host: str) -> None:
    said = refused("--data", tmp_path, "--host", host, code=os.EX_CONFIG)
    assert said == (
        f"charloom: refusing to listen on {host} without API keys, since anyone who can reach it "
        "could train and delete models: set CHARLOOM_API_KEYS, or allow it with --insecure or "
        "CHARLOOM_INSECURE=1\n"
    )


@pytest.mark.parametrize(
    "leave", [{"CHARLOOM_API_KEYS": "open-sesame:admin"}, {"CHARLOOM_INSECURE": "1"}]
)
def test_with_keys_or_told_to_it_listens_elsewhere(tmp_path: Path, leave: dict[str, str]) -> None:
    # An address that is reserved for documentation, hence nobody's: it gets as far as binding.
    said = refused("--data", tmp_path, "--host", "192.0.2.1", code=1, **leave)
    assert "cannot listen on 192.0.2.1, port 8000" in said


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CHARLOOM_LOG", "xml", "CHARLOOM_LOG='xml': must be json or text"),
        ("CHARLOOM_THREADS", "0", "CHARLOOM_THREADS='0': must be a whole number, at least 1"),
        ("CHARLOOM_REDIS_URL", "localhost", "CHARLOOM_REDIS_URL: must start with redis://"),
    ],
)
def test_a_wrong_setting_is_said_before_anything_starts(
    tmp_path: Path, name: str, value: str, words: str
) -> None:
    data = tmp_path / "data"
    said = refused("--data", data, code=os.EX_CONFIG, **{name: value})
    assert said.startswith(f"charloom: {words}")
    assert not data.exists()


def test_a_data_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = refused("--data", tmp_path / "file" / "data")
    assert said.startswith(f"charloom: cannot keep data in {tmp_path}/file/data: ")
    said = refused("--data", tmp_path / "file")
    assert said == f"charloom: cannot keep data in {tmp_path}/file: it is not a directory\n"


def test_data_of_a_later_release_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "format-2").write_text("7.1.0\n")
    said = refused("--data", tmp_path)
    assert said == (
        f"charloom: the data directory {tmp_path} was written by charloom 7.1.0, in a format that "
        "this release cannot read: upgrade charloom\n"
    )


@pytest.mark.parametrize("name", ["charloom.lock", "redis"])
def test_what_lies_in_the_way_is_named(tmp_path: Path, name: str) -> None:
    if name == "redis":
        (tmp_path / name).touch()
    else:
        (tmp_path / name).mkdir()
    said = refused("--data", tmp_path, "--port", "0")
    assert said.startswith("charloom: cannot keep ") and str(tmp_path) in said


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


@LINUX
def test_each_process_gets_the_variables_that_it_needs(tmp_path: Path) -> None:
    variables = {
        "CHARLOOM_API_KEYS": "k:admin",
        "CHARLOOM_API_KEY": "k",
        "CHARLOOM_THREADS": "1",
        "CHARLOOM_HOSTS": "example.org",
    }
    run = Run(f"import os; os.environ |= {variables}; {BRING_UP}", tmp_path, str(tmp_path / "data"))
    try:
        worker, redis = map(int, run.until(r"worker 1 │ pid (\d+) nice \d+ redis (\d+)").groups())
        server = run.pid("server")

        def seen(pid: int) -> set[str]:
            return {name for name in environment_of(pid) if name.startswith("CHARLOOM_")}

        shared = {"CHARLOOM_DATA", "CHARLOOM_LOG", "CHARLOOM_REDIS_URL", "CHARLOOM_THREADS"}
        assert seen(redis) == set()
        assert seen(worker) == shared
        assert seen(server) == shared | {
            f"CHARLOOM_{name}"
            for name in ("API_KEYS", "DRAIN_SECONDS", "HOST", "HOSTS", "INSECURE", "PORT")
        }
        assert environment_of(worker)["PATH"] == os.environ["PATH"]
    finally:
        run.close()


def test_a_server_that_cannot_start_ends_up_with_its_last_words(tmp_path: Path) -> None:
    script = BRING_UP.replace("import http.server, os", "raise OSError('the disk has left')")
    fast = "from app.supervisor import processes; processes.FIRST_DELAY = 0.01\n"
    run = Run(fast + script, tmp_path, str(tmp_path / "data"))
    assert run.end() == 1
    assert run.said.count("Traceback") <= 3
    assert "it last said: OSError: the disk has left. Correct that and start again" in run.said
    assert not list((tmp_path / "data" / "redis").glob("socket"))
    run.close()


def test_damaged_data_of_redis_is_set_aside_and_all_comes_up(tmp_path: Path) -> None:
    files = tmp_path / "data" / "redis" / "appendonlydir"
    files.mkdir(parents=True)
    (files / "appendonly.aof.manifest").touch()
    run = Run(BRING_UP, tmp_path, str(tmp_path / "data"))
    run.until("redis +│ its files are damaged: they are kept in .*/redis/damaged-")
    run.until("charloom is at")
    assert [p.name for p in files.parent.glob("damaged-*/*/*")] == ["appendonly.aof.manifest"]
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 0
    run.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of 12 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nobody but root may mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_on_a_full_disk_all_comes_up_and_what_needs_no_room_works(
    small_disk: Path, tmp_path: Path
) -> None:
    data = small_disk / "data"
    Registry(data / "models").publish(Reference("toy"), toy_checkpoint())
    (data / "models" / INSTALLED).write_bytes(b"nam\xe9s 2026-01-01")
    with (small_disk / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    options = f"UpOptions('127.0.0.1', 0, Path({str(data)!r}))"
    fast = "from app.supervisor import processes; processes.FIRST_DELAY = 0.01"
    up = f"{fast}; from app.supervisor.up import *; bring_up({options})"
    run = Run(up, tmp_path)
    try:
        run.until("serving without the shipped linux, until the next start: .*No space left")
        url = run.until("charloom is at (http://[^ ]*)")[1]
        with urlopen(f"{url}/sample?model=toy&length=20", timeout=60) as answer:
            assert len(answer.read().decode()) == 20
        assert "Traceback" not in run.said.replace("worker │ Traceback", "")
        run.process.send_signal(signal.SIGTERM)
        assert run.end() == 0
    finally:
        run.close()
