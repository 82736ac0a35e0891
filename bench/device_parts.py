"""What ``bench.device`` measures: each part yields rows, the figures in the order of a table.

Each part makes a GPU's figures where there is one, and the same steps on a CPU in a dry run.
"""

import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from bench.device_decoding import DeviceDecoder
from bench.learning.texts import open_text
from bench.naive import network_of
from bench.native import native_step
from bench.onednn import use_onednn
from bench.sample import ours, rate
from bench.train import ROOT, own_text
from models.config import NetworkConfig
from models.decoding.decoder import Decoder
from models.options import Hyperparameters, TrainingOptions
from models.text.corpus import Corpus, scan
from models.training.accelerated import Compute, Outcome, cuda_graph
from models.training.beginning import begin_features, first_trainer, new_trainer
from models.training.kernels import CudaCard, Padding
from models.training.planning import make_plan
from models.training.trainer import Evaluation, Progress, Trainer

Rows = Iterator[dict[str, Any]]

SHAPES = ((2, 128), (2, 256), (2, 512), (3, 512))
BATCH = (100, 100)
WARM_STEPS = 8
"""So many that a step was recorded."""

STREAMS = (1, 128, 1024)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for: a dry run, or the real one; and the text to learn."""

    is_dry: bool = False
    text: Path | None = None

    @property
    def device(self) -> torch.device:
        return torch.device("cpu" if self.is_dry else "cuda")

    def problem(self) -> str | None:
        """Why it cannot be done, if so."""
        if not self.is_dry and not torch.cuda.is_available():
            return "PyTorch finds no GPU here; --dry-run takes the same way on a CPU"
        if self.text and not self.text.is_file():
            return f"{self.text} does not exist"
        return None


def facts(asked: Asked) -> Rows:
    """The machine, and which kernels it has."""
    yield {"what": "processor", "is": f"{platform.machine()}, {torch.get_num_threads()} threads"}
    yield {"what": "torch", "is": torch.__version__}
    if asked.is_dry:
        return
    found = torch.cuda.get_device_properties(0)
    yield {"what": "GPU", "is": found.name}
    yield {"what": "memory", "is": f"{found.total_memory / 2**30:.0f} GiB"}
    yield {"what": "CUDA, cuDNN", "is": f"{torch.version.cuda}, {_cudnn()}"}
    card = CudaCard.of(asked.device)
    assert card
    yield {"what": "capability", "is": f"{card.major}.{card.minor}"}
    yield {"what": "multiprocessors", "is": card.multiprocessors}
    has = card.keeps_weights("lstm", 512, 104)
    yield {"what": "the persistent kernel of fp16 for 2×512", "is": "yes" if has else "no"}
    yield {"what": "driver", "is": _driver()}


def _cudnn() -> int | None:
    found: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return found


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown: {error}"


def tests(_asked: Asked) -> Rows:
    """The tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-m", "cuda", "-p", "no:cacheprovider"]
    command += [str(ROOT / "tests/models/test_on_a_gpu.py"), "--tb=short", "-rfE"]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=140, errors="replace"
    )
    yield {"what": "result", "is": ended.stdout.strip().splitlines()[-1:]}
    for line in ended.stdout.splitlines():
        if line.startswith(("FAILED", "ERROR")):
            yield {"what": "failed", "is": line}
    if ended.returncode:
        reasons = re.findall(r"^E  .*", ended.stdout, re.M)
        yield {"what": "reasons", "is": reasons[:40]}
        raise RuntimeError(f"pytest ended with {ended.returncode}\n{ended.stderr[-2000:]}")


def ways(device: torch.device) -> dict[str, Compute]:
    """The ways of a step, slowest first as was expected."""
    record = cuda_graph if device.type == "cuda" else _again
    padded, often = Padding(), 100
    return {
        "bf16, as before": Compute("bf16", check_every=10),
        "fp32": Compute("fp32", check_every=often),
        "fp16": Compute("fp16", None, True, None, often),
        "fp16, graph": Compute("fp16", None, True, record, often),
        "fp16, padded": Compute("fp16", padded, True, None, often),
        "fp16, padded, graph": Compute("fp16", padded, True, record, often),
    }


def _again(step: Callable[[], Outcome]) -> Callable[[], Outcome]:
    return step


def speed(asked: Asked) -> Rows:
    """Training steps as a job does them, with batches from the text, in each way."""
    shapes: tuple[tuple[int, int], ...] = SHAPES
    batch, seconds = BATCH, 1.5
    if asked.is_dry:
        shapes, batch, seconds = ((2, 24),), (3, 8), 0.0
    with _own_corpus(asked) as corpus:
        for layers, hidden in shapes:
            config = NetworkConfig(len(corpus.vocabulary), "lstm", layers, hidden)
            for name, compute in ways(asked.device).items():
                row: dict[str, Any] = {"network": f"{layers}×{hidden}", "way": name}
                # Which has no layers in fp16, and is for CPUs.
                use_onednn(compute.precision != "fp16")
                try:
                    yield row | _timed(config, corpus, batch, compute, asked.device, seconds)
                except Exception as error:
                    yield row | {"error": repr(error)[:300]}


def _timed(
    config: NetworkConfig,
    corpus: Corpus,
    batch: tuple[int, int],
    compute: Compute,
    device: torch.device,
    seconds: float,
) -> dict[str, Any]:
    options = Hyperparameters(*batch, max_steps=10**6, learning_rate=2e-3)
    trainer = new_trainer(config, corpus, options, device, compute=compute)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(WARM_STEPS):
        trainer.train_step()
    took: list[float] = []
    began = time.monotonic()
    while time.monotonic() - began < seconds or not took:
        took.append(_seconds_of(trainer, 10 if seconds else 1, device))
    step = statistics.median(took)
    row: dict[str, Any] = {
        "batch": f"{batch[0]}×{batch[1]}",
        "ms a step": 1000 * step,
        "characters/s": batch[0] * batch[1] / step,
        "loss": float(trainer.smoothed),
        "recorded": trainer.steps.is_recorded,
    }
    if device.type == "cuda":
        row["MiB"] = torch.cuda.max_memory_allocated() / 2**20
    if compute.record is None:
        row["kernels"] = _kernels(trainer, device)
    return row


def _seconds_of(trainer: Trainer, steps: int, device: torch.device) -> float:
    """Seconds of a step, of some that are waited for at their end only."""
    began = time.perf_counter()
    for _ in range(steps):
        trainer.train_step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


def _kernels(trainer: Trainer, device: torch.device) -> list[str]:
    """The names of what takes most of the time of a step, with its share."""
    try:
        on_gpu = device.type == "cuda"
        kinds = [ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]
        with profile(activities=kinds) as seen:
            trainer.train_step()
            if on_gpu:
                torch.cuda.synchronize()
        of = "self_device_time_total" if on_gpu else "self_cpu_time_total"
        events = sorted(seen.key_averages(), key=lambda e: -float(getattr(e, of)))
        total = sum(float(getattr(e, of)) for e in events) or 1.0
        return [
            f"{_short(e.key)} {float(getattr(e, of)) / total:.0%} ({e.count})" for e in events[:5]
        ]
    except Exception as error:
        return [f"unknown: {error!r}"[:200]]


def _short(kernel: str) -> str:
    return re.sub(r"<.*|\(.*|^void ", "", kernel)[:60]


def _own_text(asked: Asked) -> bytes:
    """This project's own text, which is there without a network; of a dry run, its beginning."""
    return own_text()[: 50_000 if asked.is_dry else None]


@contextmanager
def _own_corpus(asked: Asked) -> Iterator[Corpus]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "text"
        path.write_bytes(_own_text(asked))
        yield open_text(path, Path(directory), 0.05).corpus


def learn(asked: Asked) -> Rows:
    """A job of 60 s: planned on this device, counted, trained, judged on the way."""
    asked_for = TrainingOptions(
        num_layers=2, hidden_size=512, max_seconds=60.0, validation_fraction=0.05
    )
    if asked.is_dry:
        asked_for = replace(
            asked_for, num_layers=1, hidden_size=16, max_seconds=None, max_steps=12, ngram_orders=2
        )
    with tempfile.TemporaryDirectory() as directory:
        path = asked.text or Path(directory) / "text"
        if asked.text is None:
            path.write_bytes(_own_text(asked))
        plan = make_plan(asked_for, scan(path), asked.device)
        for notice in plan.notices:
            yield {"seconds": 0.0, "says": notice["text"]}
        corpus = open_text(path, Path(directory), plan.validation_fraction).corpus
        yield {"seconds": 0.0, "says": f"{path.name}, {len(corpus.train):,} characters to learn"}
        counting = begin_features(corpus, plan.training)
        trainer = first_trainer(plan.config, corpus, plan.training, asked.device, counting)
        yield from _told(trainer)


def _told(trainer: Trainer) -> Rows:
    """The evaluations of a run, and how it was computed."""
    last: Progress | None = None
    for event in trainer.run():
        if isinstance(event, Progress):
            last = event
        elif isinstance(event, Evaluation) and last:
            yield {
                "seconds": last.elapsed_seconds,
                "step": event.step,
                "passes": last.epoch,
                "loss": event.val_loss,
                "characters/s": last.chars_per_second,
            }
    scale = trainer.steps.scale
    skipped = f"{int(scale.skipped)} updates skipped" if scale else "not scaled"
    yield {"says": f"recorded: {trainer.steps.is_recorded}; {skipped}"}


def decode(asked: Asked) -> Rows:
    """Streams side by side, on the device and by the server's decoder on a processor's thread."""
    streams: tuple[int, ...] = STREAMS
    hidden, seconds = 512, 2.0
    if asked.is_dry:
        hidden, streams, seconds = 16, (1, 3), 0.01
    network = network_of(hidden)
    weights = network.export()
    for count in streams:
        row: dict[str, Any] = {"streams": count}
        for precision in ("exact", "fast"):
            decoder = Decoder(network.config, weights, precision, native_step())
            row[f"CPU, {precision}"] = rate(ours(decoder, count), seconds)
        for name, kind in (("fp32", torch.float32), ("fp16", torch.float16)):
            if kind == torch.float16 and asked.is_dry:
                continue
            try:
                there = DeviceDecoder(network, count, asked.device, kind)
                row[f"device, {name}"] = rate(partial(there.advance, 32), seconds)
            except Exception as error:
                row[f"device, {name}"] = repr(error)[:200]
        yield row


PARTS: dict[str, Callable[[Asked], Rows]] = {
    "facts": facts,
    "tests": tests,
    "speed": speed,
    "learn": learn,
    "decode": decode,
}
