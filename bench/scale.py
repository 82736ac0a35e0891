"""What a data directory with many jobs costs those who look at all of them.

    python -m bench.scale [--jobs 1000 10000] [--models 1000]

Makes ended jobs and models on this disk and prints the seconds of: a scrape of `/metrics`, a list
of jobs and of models, a worker's look for lost jobs (every 2 s), and the snapshot and the whole of
a backup.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.checkpoints.format import Checkpoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.config import NetworkConfig
from models.text.vocab import Vocabulary
from tests.serving import serve
from worker.backups import back_up
from worker.corpora import CorpusStore
from worker.data import DataDirectory
from worker.jobs import JobStore
from worker.snapshot import snapshot


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """The median."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def add_jobs(data: DataDirectory, count: int) -> None:
    corpora, store = CorpusStore(data.corpora), JobStore(data.jobs)
    with corpora.upload() as upload:
        upload.write(b"all work and no play\n" * 100)
        corpus, _ = corpora.add(upload, "characters")
    for number in range(len(store.ids()), count):
        job, _ = store.create(f"m{number}", corpus, {}, None)
        with job.lock():
            job.finish("finished")


def add_models(data: DataDirectory, count: int) -> None:
    config = NetworkConfig(27, "lstm", 1, 16)
    vocabulary = Vocabulary("characters", [0x0A, *range(0x61, 0x7B)])
    weights = {name: np.zeros(shape, np.float32) for name, shape in config.shapes().items()}
    registry = Registry(data.models)
    for number in range(count):
        checkpoint = Checkpoint(config, vocabulary, weights, {"step": number}, [], b"")
        registry.publish(Reference(f"m{number}"), checkpoint)


def take_snapshot(data: DataDirectory) -> None:
    with snapshot(data):
        pass


def measure(data: DataDirectory, archive: Path) -> None:
    store = JobStore(data.jobs)
    with serve(data.root) as client:
        client.timeout = 600
        figures = {
            "/metrics": seconds(lambda: client.get("/metrics").raise_for_status()),
            "/jobs": seconds(lambda: client.get("/jobs").raise_for_status()),
            "/models": seconds(lambda: client.get("/models").raise_for_status()),
        }
    figures["lost jobs"] = seconds(lambda: list(store.unended()))
    figures["snapshot"] = seconds(lambda: take_snapshot(data), 1)
    figures["backup"] = seconds(lambda: back_up(data, archive, "", lambda *_: None), 1)
    print("   ".join(f"{name} {value:.3f} s" for name, value in figures.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--models", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = DataDirectory(Path(folder) / "data")
        add_models(data, arguments.models)
        for count in arguments.jobs:
            add_jobs(data, count)
            print(f"{count} jobs, {arguments.models} models")
            measure(data, Path(folder) / f"{count}.tar")


if __name__ == "__main__":
    main()
