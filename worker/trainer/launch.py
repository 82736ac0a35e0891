"""Several processes that train one job: started by torchrun's agent in the horse, and judged by it.

The horse keeps the job's lock and its lease, hears the worker's signals, and concludes the attempt;
rank 0 does what a horse does by itself (``rank`` beside this), and nobody else writes. Each rank is
tied to the horse and dies with it; one that dies ends all others, and the attempt.

The processes meet in a directory of the job's turn, not at a port: torchrun's own would be open on
every address of the machine. Knows no training.
"""

import errno
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from models.places import remove
from worker.jobs import Job
from worker.trainer import handover, stop
from worker.trainer.failures import Death
from worker.trainer.outcome import Outcome

FLAG, STORE = "shutdown", "store"
"""In the directory: there once the ranks should put the job down; where they find each other."""

LOST = os.EX_UNAVAILABLE
"""Exit code of a rank that lost the others: it is no cause."""

_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
ENVIRONMENT = {
    # Nobody else is to reach what the ranks exchange.
    "GLOO_SOCKET_IFNAME": _LOOPBACK,
    "NCCL_SOCKET_IFNAME": _LOOPBACK,
    # The agent's port would be open on every address; the store in the directory is enough.
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}
"""Of the agent and the ranks."""

FULL = errno.ENOSPC
"""Exit code of a rank whose outcome the disk had no room for."""

_POLL = 0.1


def train_together(job: Job, ranks: int) -> Outcome:
    """Trains a job in so many processes, until all have ended.

    Raises:
        Fenced: another process has taken the job.
    """
    directory = job.directory / f".ranks-{job.turn}"
    remove(directory)
    directory.mkdir(mode=0o700)
    try:
        with _passing_on(directory / FLAG):
            codes = _run(job, ranks, directory)
        job.check()
        return judged(_outcomes(directory, ranks), codes, is_told=stop.is_shutdown())
    finally:
        remove(directory)


def report(directory: Path, rank: int, outcome: Outcome) -> None:
    """Leaves a rank's outcome for the horse. Raises OSError."""
    staged = directory / f"outcome-{rank}.part"
    staged.write_text(json.dumps(outcome.to_json()))
    staged.rename(staged.with_suffix(".json"))


def _outcomes(directory: Path, ranks: int) -> dict[int, Outcome]:
    """What the ranks have left, by rank."""
    paths = {rank: directory / f"outcome-{rank}.json" for rank in range(ranks)}
    return {
        rank: Outcome.from_json(json.loads(path.read_text()))
        for rank, path in paths.items()
        if path.exists()
    }


def judged(outcomes: Mapping[int, Outcome], codes: Mapping[int, int], *, is_told: bool) -> Outcome:
    """The outcome of all: what rank 0 says, or else what ended the first of them.

    Args:
        outcomes: of the ranks that told one.
        codes: exit codes of the ranks that failed, negative for a signal.
        is_told: whether they were asked to shut down. A rank is also told so because of another.
    """
    ends = {"finished", "cancelled", *(["again"] if is_told else [])}
    causes = {"failed", "full", "dead"}
    if 0 in outcomes and outcomes[0].ending in ends:
        return outcomes[0]
    for outcome in outcomes.values():
        if outcome.ending in causes:
            return outcome
    for rank, code in sorted(codes.items()):
        if code == FULL:
            return Outcome("full")
        if code not in (LOST, -signal.SIGTERM):
            return Outcome("dead", death=_death(rank, code))
    return Outcome("dead", death=Death.of_process(None, b""))


def _death(rank: int, code: int) -> Death:
    """The death of a rank by its exit code."""
    if code == -signal.SIGABRT and handover.GPUS in os.environ:
        # NCCL's watchdog, where a GPU does not answer, or CUDA in a thread of C++.
        return Death.by_gpu(f"rank {rank} was aborted")
    death = Death.of_process(-code if code < 0 else code << 8, b"")
    return replace(death, cause=f"{death.cause} (rank {rank})")


def _run(job: Job, ranks: int, directory: Path) -> dict[int, int]:
    """Runs the ranks to their end; returns the exit codes of those that failed."""
    os.environ |= ENVIRONMENT
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=ranks,
        run_id=f"{job.id}-{job.turn}",
        rdzv_backend="c10d",
        rdzv_endpoint=str(directory / "rendezvous"),
        rdzv_configs={"store_type": "file"},
        # The job is tried again from its state, and counted.
        max_restarts=0,
        monitor_interval=_POLL,
        local_addr="localhost",
        logs_specs=DefaultLogsSpecs(log_dir=str(directory)),
        # All others are ours.
        signals_to_handle="SIGHUP",
    )
    arguments = str(os.getpid()), job.id, job.turn, str(directory)
    try:
        elastic_launch(config, sys.executable)("-m", "worker.trainer.rank", *arguments)
    except ChildFailedError as error:
        return {rank: failure.exitcode for rank, failure in error.failures.items()}
    return {}


@contextmanager
def _passing_on(flag: Path) -> Iterator[None]:
    """Puts the flag there if the horse is asked to shut down in the block."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_POLL):
            if stop.is_shutdown():
                flag.touch()
                return

    thread = threading.Thread(target=watch, name="passing-on", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
