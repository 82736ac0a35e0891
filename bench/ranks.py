"""One network trained by several processes, against the threads of one: the same batches.

    python -m bench.ranks [--hidden 512] [--layers 2] [--batch 32] [--length 32] [--ranks 2]
                          [--threads 2] [--pairs 9] [--seconds 5] [--text FILE]

The threads are shared out among the processes; with GPUs each process has one, and the one process
that they are compared with has the first. Both ways take turns of some seconds, in pairs that begin
with either, so that whatever else the machine does slows both. Prints the seconds of a step, and
the ratio of characters a second: the median of the pairs, the worst and the best. Without
``--text`` the text is this project's own.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.train import ROOT, open_text, own_text
from models.config import NetworkConfig
from models.options import Hyperparameters
from models.training.beginning import new_trainer
from models.training.following import follow
from models.training.ranks import ALONE, Group, joined
from models.training.trainer import Trainer
from worker.trainer.launch import ENVIRONMENT
from worker.trainer.rq_worker import SPIN


@dataclass
class Way:
    """Processes that train on demand, of which the first is spoken to."""

    processes: list[subprocess.Popen[str]]

    def turn(self) -> float:
        """Trains for a while; returns the seconds of a step."""
        stdin, stdout = self.processes[0].stdin, self.processes[0].stdout
        assert stdin and stdout
        stdin.write("go\n")
        stdin.flush()
        return float(stdout.readline())

    def end(self) -> None:
        for process in self.processes:
            if process.stdin:
                process.stdin.close()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("hidden", 512),
        ("layers", 2),
        ("batch", 32),
        ("length", 32),
        ("ranks", 2),
        ("threads", 2),
        ("pairs", 9),
        ("seconds", 5),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--as-rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.as_rank is None:
        compare(asked)
    elif asked.store is None:
        lead(asked, ALONE)
    else:
        with joined(asked.as_rank, asked.ranks, asked.store) as group:
            if group.rank:
                follow(group, lambda: trainer_of(asked, group))
            else:
                lead(asked, group)


def compare(asked: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = ["--store", f"{directory}/store"]
        one = Way([start(0, [])])
        several = Way([start(rank, store) for rank in range(asked.ranks)])
        seconds: dict[str, list[float]] = {"one": [], "several": []}
        ways = [("one", one), ("several", several)]
        for _name, way in ways:
            way.turn()
        for pair in range(asked.pairs):
            for name, way in ways[:: -1 if pair % 2 else 1]:
                seconds[name].append(way.turn())
        one.end()
        several.end()
    ratios = sorted(a / b for a, b in zip(seconds["one"], seconds["several"], strict=True))
    print(f"{asked.layers}×{asked.hidden}, batches of {asked.batch}×{asked.length}")
    for name, took in seconds.items():
        print(f"{name:8} {1000 * statistics.median(took):8.1f} ms a step")
    print(f"ratio {statistics.median(ratios):.2f}× ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def start(rank: int, more: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.ranks", *sys.argv[1:], "--as-rank", str(rank), *more]
    pipe = subprocess.PIPE if rank == 0 else None
    # As a worker does.
    environment = {"GOMP_SPINCOUNT": SPIN} | os.environ | ENVIRONMENT
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True)


def trainer_of(asked: argparse.Namespace, group: Group) -> Trainer:
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", group.rank)
        torch.cuda.set_device(device)
    torch.set_num_threads(max(1, asked.threads // group.size))
    with tempfile.TemporaryDirectory() as directory:
        text = asked.text.read_bytes() if asked.text else own_text()
        corpus = open_text(text, Path(directory))
    options = Hyperparameters(asked.batch, asked.length, 10**9, evaluate_every=10**9)
    config = NetworkConfig(len(corpus.vocabulary), "lstm", asked.layers, asked.hidden)
    return new_trainer(config, corpus, options, device, group=group)


def lead(asked: argparse.Namespace, group: Group) -> None:
    """Trains for a while whenever a line comes in, and prints the seconds of a step."""
    trainer = trainer_of(asked, group)
    # No turn has the first evaluation in it.
    trainer.evaluated = 1
    steps = trainer.run()
    for _line in sys.stdin:
        began = time.perf_counter()
        count = 0
        while time.perf_counter() - began < asked.seconds:
            event = next(steps)
            count += 1
        float(event.smoothed_loss)  # type: ignore[union-attr]
        print((time.perf_counter() - began) / count, flush=True)


if __name__ == "__main__":
    main()
