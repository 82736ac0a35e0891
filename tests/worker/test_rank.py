"""A rank is tied to its horse, and leaves word of its end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, Horses
from worker.jobs import Job
from worker.trainer import launch


def run_rank(job: Job, directory: Path, number: int, parent: int) -> int:
    """Runs one, and returns its exit code."""
    command = [sys.executable, "-m", "worker.trainer.rank", str(parent), job.id, "1-w"]
    ranked = {"RQ_JOB_ID": job.id, "RANK": str(number), "WORLD_SIZE": "2"}
    done = subprocess.run(
        [*command, str(directory)], cwd=ROOT, env=os.environ | ranked, check=False, timeout=60
    )
    return done.returncode


@pytest.mark.usefixtures("settings")
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such tie")
def test_a_rank_whose_horse_has_died_does_nothing(job: Job, tmp_path: Path) -> None:
    assert run_rank(job, tmp_path / "ranks", 0, parent=1) == 1


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(("number", "code"), [(0, 0), (1, 1)])
def test_a_rank_that_cannot_train_says_why(
    job: Job, tmp_path: Path, horses: Horses, number: int, code: int
) -> None:
    horses.sabotage(job, "import sys; sys.modules['torch'] = None")
    directory = tmp_path / "ranks"
    directory.mkdir()
    assert run_rank(job, directory, number, os.getpid()) == code
    death = launch._outcomes(directory, 2)[number].death
    assert death and death.title == "Training cannot start"


@pytest.mark.usefixtures("settings")
def test_a_rank_whose_exchange_fails_with_a_gpu_says_so(
    job: Job, tmp_path: Path, horses: Horses
) -> None:
    words = "another rank has ended: NCCL error: unhandled cuda error, NCCL version 2.27.5"
    horses.sabotage(
        job,
        "import os, sys; sys.path.append(os.getcwd())\n"
        "import models.training.ranks as ranks\n"
        "def lost(*_):\n"
        f"    raise ranks.RankLost({words!r})\n"
        "ranks.joined = lost\n",
    )
    directory = tmp_path / "ranks"
    directory.mkdir()
    assert run_rank(job, directory, 1, os.getpid()) == launch.LOST
    death = launch._outcomes(directory, 2)[1].death
    assert death and death.of_gpu and death.said == words
