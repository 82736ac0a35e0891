"""Runs the systems, each in a process of its own, and reads what they reach.

Knows commits and processes; no network.
"""

import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

ROOT = Path(__file__).resolve().parents[2]

RIVALS = ("char-rnn", "makemore", "nanoGPT", "n-gram")


@dataclass(frozen=True, slots=True)
class System:
    """Something that learns: a command, run in a directory that has ``bench`` and ``models``."""

    name: str
    command: tuple[str, ...]
    directory: Path = ROOT


def product(name: str, directory: Path = ROOT) -> System:
    return System(name, ("bench.learning.product",), directory)


def rival(name: str) -> System:
    return System(name, ("bench.learning.rivals", name))


@dataclass(slots=True)
class Run:
    """What one training of a system on a text has reached: seconds and nats per character.

    ``declined`` is the reason why there is nothing.
    """

    text: str
    system: str
    points: list[tuple[float, float]] = field(default_factory=list)
    declined: str = ""

    @property
    def end(self) -> tuple[float, float]:
        return self.points[-1]

    def at(self, seconds: float) -> float:
        """Returns the loss after some seconds, between two points as on the line between them.

        Before the first point it is NaN, after the last one the last.
        """
        times = [at for at, _ in self.points]
        losses = [loss for _, loss in self.points]
        return float(np.interp(seconds, times, losses, left=math.nan))


def run(system: System, text: Path, seconds: float, held_out: float, seed: int) -> Run:
    """Trains a system on a text and waits for its end.

    Raises:
        RuntimeError: it failed; with what it wrote to standard error.
    """
    command = [sys.executable, "-m", *system.command, str(text.resolve())]
    command += ["--seconds", str(seconds), "--held-out", str(held_out), "--seed", str(seed)]
    result = Run(text.name, system.name)
    with tempfile.TemporaryFile("w+") as complaints:
        with _process(command, system.directory, complaints) as process:
            assert process.stdout
            for line in process.stdout:
                said = json.loads(line)
                if "declined" in said:
                    result.declined = said["declined"]
                else:
                    result.points.append((said["seconds"], said["loss"]))
        if process.returncode or not (result.points or result.declined):
            complaints.seek(0)
            raise RuntimeError(f"{complaints.read()}{system.name} failed on {text.name}")
    return result


@contextmanager
def _process(
    command: list[str], directory: Path, complaints: IO[str]
) -> Iterator[subprocess.Popen[str]]:
    """A process that has ended, or is killed, at the end of the block.

    In a session of its own, it does not get the Ctrl+C that ends this process. Should that come
    before it can be killed, it ends at its first loss, which nobody reads.
    """
    process = subprocess.Popen(
        command,
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=complaints,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
        process.wait()
    finally:
        process.kill()
        process.communicate()


@contextmanager
def commit(revision: str) -> Iterator[Path]:
    """A temporary worktree of an earlier commit, with today's ``bench`` in it.

    Raises:
        RuntimeError: the commit does not exist in this repository.
    """
    with tempfile.TemporaryDirectory(prefix="charloom-learn-") as directory:
        tree = Path(directory) / "tree"
        try:
            _git("worktree", "add", "--detach", str(tree), revision)
            shutil.rmtree(tree / "bench", ignore_errors=True)
            (tree / "bench").symlink_to(ROOT / "bench", target_is_directory=True)
            yield tree
        finally:
            if tree.exists():
                _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str) -> None:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
