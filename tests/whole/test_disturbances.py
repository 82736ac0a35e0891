"""What is worse than being killed: not being able to start, truncated files, being stopped.

``./charloom test -m chaos`` takes some minutes for these.
"""

import contextlib
import os
import re
import shutil
import signal
import sys
import threading
from pathlib import Path

import httpx2
import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.service import KINDS, Up
from tests.serving import eventually
from tests.support import Say
from tests.watching import Watcher
from worker.jobs import JobStore

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]

STARTS = 3
"""Of a trainer that makes no progress, after which its job has failed."""

STOPPED_SECONDS = 60.0

SUPERVISOR = "supervisor"

TOLD = re.compile(r'"damaged":"|"damaged":\["|(is|was) damaged|set aside|mended|cannot be read')
"""Words of the log, or a list that says what is damaged."""

MUST_TELL = re.compile(
    r"jobs/\*/(spec|result)\.json|corpora/\*/original|tags/latest"
    r"|models/NAME/\*/(config|card|vocab|manifest)\.json|model\.safetensors|secret"
)
"""Files whose loss somebody has to know of."""

STARTED = re.compile(r"^(server|worker\S*|valkey|redis) +│ pid \d+", re.MULTILINE | re.IGNORECASE)


def test_a_trainer_that_cannot_import_fails_its_job(tmp_path: Path, say: Say) -> None:
    """After a few starts, with the reason; resumed when it can, the job finishes."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "torch.py").write_text("raise ImportError('torch is being replaced')\n")
    up = Up(tmp_path / "service", tmp_path / "log", {"PYTHONPATH": str(broken)})
    try:
        eventually(up.answers, 60)
        job_id = up.accept("hopeless", max_steps=100)
        job = JobStore(up.data / "jobs").get(job_id)
        eventually(job.result, 120)
        shown = up.client.get(f"/jobs/{job_id}").json()
        assert shown["status"] == "failed"
        assert "torch is being replaced" in shown["error"]["detail"], shown["error"]
        log = up.log.read_text()
        starts = log.count("torch is being replaced")
        assert starts <= 2 * STARTS, log[-3000:]
        assert up.client.get("/healthz").status_code == 200
        (broken / "torch.py").unlink()
        shutil.rmtree(broken / "__pycache__", ignore_errors=True)
        assert up.client.post(f"/jobs/{job_id}/resume").status_code == 202
        eventually(lambda: up.client.get(f"/jobs/{job_id}").json()["status"] == "finished", 120)
        say("\na trainer that cannot import: failed with the reason; resumed, it finished")
    finally:
        up.stop()


@pytest.fixture
def lived_in(tmp_path: Path) -> Path:
    """The data directory of a service that has done things, and is not running."""
    up = Up(tmp_path / "service", tmp_path / "log")
    try:
        eventually(up.answers, 60)
        for model in ("first", "second"):
            job = JobStore(up.data / "jobs").get(up.accept(model, max_steps=200))
            eventually(job.result, 120)
        assert up.client.get("/sample", params={"model": "first"}).status_code == 200
        long = up.accept("long", max_steps=5_000_000)
        eventually(lambda: _step(up, long), 120)
        up.accept("waiting", max_steps=50)
    finally:
        up.stop()
    return up.data


def kinds_of_files(data: Path) -> dict[str, Path]:
    """One file of each kind, whatever its id or digest; of checkpoints, the newest."""
    registry = Registry(data / "models")
    newest = {registry.resolve(Reference(name)) for name in registry.names()}
    found: dict[str, Path] = {}
    for path in sorted(data.rglob("*"), key=lambda path: (not newest & {*path.parts}, path)):
        if path.is_file() and path.stat().st_size:
            kind = re.sub(r"[0-9a-f]{12,}", "*", str(path.relative_to(data)))
            kind = re.sub(r"/(first|second|long|waiting)/", "/NAME/", kind)
            found.setdefault(kind, path)
    return found


def test_a_truncated_file_of_any_kind_stops_nothing_else(
    lived_in: Path, tmp_path: Path, say: Say
) -> None:
    """The service starts, says what is wrong, samples and trains; nothing starts over and over."""
    kinds = kinds_of_files(lived_in)
    assert len(kinds) > 15, kinds
    silent = []
    for number, (kind, path) in enumerate(kinds.items()):
        data = tmp_path / f"copy-{number}"
        shutil.copytree(lived_in, data, symlinks=True)
        damaged = data / path.relative_to(lived_in)
        # A half of a tag could be one whole digest of its two.
        damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 3])
        up = Up(data, tmp_path / f"log-{number}")
        try:
            shown = _serves_all_the_same(up, kind, "second" if "first" in path.parts else "first")
        finally:
            up.stop()
        log = up.log.read_text()
        starts = STARTED.findall(log)
        assert len(starts) == len(set(starts)), f"{kind}: started again:\n{log[-3000:]}"
        assert "Traceback" not in log, f"{kind}:\n{log[-3000:]}"
        if not TOLD.search(log + shown):
            silent.append(kind)
        shutil.rmtree(data)
    say(f"\ntruncated one file of each of {len(kinds)} kinds: served and trained each time")
    say(f"made again, or not needed, without a word: {', '.join(silent)}")
    assert [kind for kind in silent if MUST_TELL.search(kind)] == []


def _serves_all_the_same(up: Up, kind: str, sound: str) -> str:
    """Returns what the lists show."""
    shown = ""
    eventually(up.answers, 60)
    for endpoint in ("/models", "/jobs", "/corpora", "/metrics", "/readyz", f"/models/{sound}"):
        answer = up.client.get(endpoint)
        assert answer.status_code == 200, f"{kind}: {endpoint}: {answer.text}"
        shown += answer.text
    answer = up.client.get("/sample", params={"model": sound, "length": 50})
    assert answer.status_code == 200, f"{kind}: {answer.text}"
    for job in up.client.get("/jobs").json()["jobs"]:
        if job["status"] in ("queued", "running", "paused"):
            assert up.client.post(f"/jobs/{job['id']}/cancel").status_code == 202, f"{kind}: {job}"
    job_id = up.accept("afterwards", max_steps=50)
    ended = JobStore(up.data / "jobs").get(job_id)
    eventually(ended.result, 120)
    assert up.client.get(f"/jobs/{job_id}").json()["status"] == "finished", kind
    return shown


@pytest.mark.parametrize("kind", [*KINDS, SUPERVISOR])
def test_a_process_that_is_stopped_for_a_minute(up: Up, kind: str, say: Say) -> None:
    """When it may go on, everything does: the job finishes, and nobody trained it twice."""
    job_id = up.accept("paused", max_steps=1_000_000)
    sample: dict[str, str | int] = {"model": "paused", "length": 50}
    eventually(lambda: up.client.get("/sample", params=sample).status_code == 200, 120)
    pids = up.pids()
    pid = up.process.pid if kind == SUPERVISOR else pids[kind]
    with Watcher(up) as watcher:
        os.kill(pid, signal.SIGSTOP)
        threading.Event().wait(STOPPED_SECONDS)
        if kind != "server":
            assert up.client.get("/sample", params=sample).status_code == 200
        os.kill(pid, signal.SIGCONT)
        eventually(up.answers, 60)
        step = _step(up, job_id)
        eventually(lambda: _step(up, job_id) > step, 120)
        assert up.client.post(f"/jobs/{job_id}/cancel").status_code == 202
        job = JobStore(up.data / "jobs").get(job_id)
        eventually(job.result, 60)
    assert job.status() == "cancelled"
    assert watcher.wrong == []
    after = up.pids()
    again = sorted(other for other in ("server", "Valkey", "worker") if after[other] != pids[other])
    say(f"\n{kind} stopped for a minute: the job went on; started anew: {again or 'nothing'}")


def _step(up: Up, job_id: str) -> int:
    """The last step that a job has told of; 0 before, and while the server is away."""
    with contextlib.suppress(httpx2.HTTPError):
        progress = up.client.get(f"/jobs/{job_id}").json()["progress"]
        return int(progress["step"]) if progress else 0
    return 0
