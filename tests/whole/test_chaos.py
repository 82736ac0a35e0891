"""Whatever is killed, and whenever: every job that was accepted finishes, as if nothing had been.

``./charloom test -m chaos`` takes some minutes; ``--kills`` and ``--seed`` say how many and which.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.service import KINDS, SIZES, Up
from tests.serving import eventually
from tests.support import TOY, MakeJob, Say, StartWorker
from tests.watching import Watcher, holders
from worker.jobs import Job, JobStore
from worker.queue import Queue

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]

RECOVERY_SECONDS = 10.0
"""What is promised of a trainer that was killed, or whose worker was."""

BUSY = 2.5
"""Processes a core that want to run, from which on starting one says nothing of who starts it."""


def test_killed_at_random_moments(
    up: Up,
    say: Say,
    request: pytest.FixtureRequest,
    make_job: MakeJob,
    start_worker: StartWorker,
    queue: Queue,
    data: Path,
) -> None:
    seed = request.config.getoption("--seed")
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    say(f"\nchaos with --seed {seed}")
    killer = Killer(up, random.Random(seed))
    with Watcher(up) as watcher:
        for _ in range(request.config.getoption("--kills")):
            killer.kill()
            assert not watcher.wrong
        up_again = eventually(up.answers, 60)
        assert up_again
        jobs = [JobStore(up.data / "jobs").get(job_id) for job_id in killer.jobs]
        for job in jobs:
            eventually(job.result, 300)
    say(f"{sum(killer.killed.values())} kills: {_counts(killer.killed)}")
    say(f"{len(jobs)} jobs accepted, {len([j for j in jobs if _finished(j)])} finished")
    say(f"looked {_counts(watcher.looks)}: {len(watcher.wrong)} wrong")
    for kind, seconds in sorted(killer.recovery.items()):
        middle = sorted(seconds)[len(seconds) // 2]
        say(f"back after {kind}: median {middle:.1f} s, at most {max(seconds):.1f} s")
    assert watcher.wrong == []
    assert all(map(_finished, jobs)), [job.result() for job in jobs]
    for job in jobs:
        ids = [event.id for event in job.events()]
        assert ids == sorted(set(ids)), "two wrote the events of a job"
    twins = [_undisturbed(job, up.data, make_job, data) for job in jobs]
    start_worker()
    for job, twin in zip(jobs, twins, strict=True):
        queue.enqueue(twin.id)
        eventually(twin.result, 300)
        assert _finished(twin)
        assert _outcome(job, up.data) == _outcome(twin, data), f"{job.model} came out differently"
    say(f"{len(jobs)} jobs ended with the weights of their undisturbed twins")
    promised = [s for kind in ("trainer", "worker") for s in killer.recovery.get(kind, [])]
    if os.getloadavg()[1] > BUSY * (os.cpu_count() or 1):
        say("how soon trainers came back is not judged: others keep this machine busy")
    else:
        assert max(promised) <= RECOVERY_SECONDS


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items()))


def _finished(job: Job) -> bool:
    result = job.result()
    return result is not None and result["status"] == "finished"


class Killer:
    """Kills one thing after the other, each while a job is trained, and waits for its return."""

    def __init__(self, up: Up, dice: random.Random) -> None:
        self.up = up
        self.dice = dice
        self.jobs: list[str] = []
        self.killed: Counter[str] = Counter()
        self.recovery: dict[str, list[float]] = defaultdict(list)
        self._store = JobStore(up.data / "jobs")

    def kill(self) -> None:
        what = self.dice.choice([*KINDS, "everything"])
        moment = self.dice.uniform(0, 3)
        self._trainer()
        time.sleep(moment)
        pids = self.up.pids()
        while what != "everything" and what not in pids:
            # It is just coming back, or the job has just ended.
            self._trainer()
            pids = self.up.pids()
        before = set(pids.values())
        began = time.monotonic()
        if what == "everything":
            for pid in (self.up.process.pid, *before):
                _kill(pid)
            self.up.process.wait()
            self.up.start()
        else:
            _kill(pids[what])
        self.killed[what] += 1
        self._wait_for(what, before)
        self.recovery[what].append(time.monotonic() - began)

    def _wait_for(self, what: str, before: set[int]) -> None:
        """Until what was killed is there again as another process, and a job is trained."""
        gone = {"everything": set(KINDS), "worker": {"worker", "trainer"}}.get(what, {what})
        services = gone - {"trainer"}

        def are_back() -> bool:
            pids = self.up.pids()
            return all(pids.get(kind, 0) not in (0, *before) for kind in services)

        eventually(are_back, 60)
        self._trainer(before if "trainer" in gone else set())

    def _trainer(self, before: Collection[int] = ()) -> None:
        """Until another process than those trains a job, one that may be killed once more."""
        deadline = time.monotonic() + 120
        while not self._is_training(before):
            assert time.monotonic() < deadline, self.up.log.read_text()[-5000:]
            # One is always waiting while another is trained.
            if len(list(self._store.unended())) < 2:
                name = f"chaos-{len(self.jobs)}"
                self.jobs.append(self.up.accept(name, seed=len(self.jobs)))
            time.sleep(0.02)

    def _is_training(self, before: Collection[int]) -> bool:
        found = holders(self.up.data)
        if before:
            return any(set(pids) - set(before) for pids in found.values())
        return any(map(self._may_be_killed, found))

    def _may_be_killed(self, job_id: str) -> bool:
        """Three deaths in one place are the job's own fault: the third is not ours to cause."""
        job = self._store.get(job_id)
        try:
            deaths: int = json.loads((job.directory / "attempts.json").read_bytes())["deaths"]
            step: int = json.loads((job.directory / "attempts.json").read_bytes())["step"]
        except (FileNotFoundError, ValueError):
            return True
        saved = [p.name for p in job.state_directory.glob("[0-9]*")]
        newest = 0
        with contextlib.suppress(OSError, ValueError):
            rest = json.loads((job.state_directory / max(saved) / "rest.json").read_bytes())
            newest = rest["rest"]["step"]
        return deaths < 2 or newest > step


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _undisturbed(job: Job, theirs: Path, make_job: MakeJob, ours: Path) -> Job:
    """The same job, with the same plan, on a disk of its own."""
    twin = make_job(job.model, **job.spec["options"])
    assert twin.spec["corpus_id"] == job.spec["corpus_id"]
    shutil.copy(job.directory / "plan.json", twin.directory / "plan.json")
    saved = json.loads((twin.directory / "plan.json").read_bytes())
    saved["asked"] = twin.spec["options"]
    (twin.directory / "plan.json").write_text(json.dumps(saved))
    assert theirs != ours
    return twin


def _outcome(job: Job, data: Path) -> dict[str, Any]:
    """What a job leaves that must not depend on what happened to it.

    Evaluations at steps that were planned: the first may come earlier, by the clock.
    """
    registry = Registry(data / "models")
    checkpoint = registry.load(job.model, registry.resolve(Reference(job.model)))
    evaluations = {
        event.data["step"]: event.data["val_loss"]
        for event in job.events()
        if event.event == "evaluation" and event.data["step"] % SIZES["evaluate_every"] == 0
    }
    return {
        "weights": {key: weight.tobytes() for key, weight in checkpoint.weights.items()},
        "val_loss": checkpoint.card["val_loss"],
        "step": checkpoint.card["step"],
        "evaluations": evaluations,
    }


def test_a_redis_that_forgets_what_was_accepted(up: Up) -> None:
    job_id = up.accept("forgotten", max_steps=100)
    up.flush()
    job = JobStore(up.data / "jobs").get(job_id)
    eventually(job.result, 300)
    assert _finished(job)


def test_a_full_disk_heals(tmp_path: Path, say: Say) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nobody but root may mount a small disk")
    try:
        up = Up(disk / "data", tmp_path / "log")
        try:
            eventually(up.answers, 60)
            _fill_and_free(up, disk / "ballast", say)
        finally:
            up.stop()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def _fill_and_free(up: Up, ballast: Path, say: Say) -> None:
    job = JobStore(up.data / "jobs").get(up.accept("squeezed", max_steps=2500))
    sample: dict[str, str | int] = {"model": "squeezed", "length": 50}
    eventually(lambda: up.client.get("/sample", params=sample).status_code == 200, 120)
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    eventually(lambda: up.client.get(f"/jobs/{job.id}").json()["status"] == "paused", 120)
    shown = up.client.get(f"/jobs/{job.id}").json()
    assert shown["error"]["title"] == "The disk is full"
    assert up.client.get("/sample", params=sample).status_code == 200
    refused = up.client.post("/corpora", content=b"a text that finds no room\n" * 100_000)
    assert refused.status_code == 507
    ballast.unlink()
    eventually(lambda: up.client.get(f"/jobs/{job.id}").json()["status"] == "finished", 400)
    assert up.client.post("/corpora", content=TOY.encode()).status_code == 201
    say("\na full disk: paused, sampled on, 507 for an upload, and finished when there was room")
