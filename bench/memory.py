"""What a loaded model really takes in memory, beside what the server counts for it.

    python -m bench.memory [--only 2x512|deleted] [--models 200]

For each size and each way of use: memory per model that the process gained, the estimate by which
the server drops models, and what stays when they are gone.

``deleted`` is a server's memory after that many models were sampled, in both precisions and after
primes of their own, and deleted, against before.
"""

import argparse
import ctypes
import gc
import time

import httpx2
import numpy as np

from app.engine.loaded import SWEEP_SECONDS, LoadedNetwork
from app.engine.memory import resident_bytes
from bench.servers import charloom
from models.checkpoints.format import Checkpoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.config import NetworkConfig, Weights
from models.decoding.graph import Precision
from models.decoding.rows import Choices
from models.ngram_table import NGRAM_KEYS
from models.options import NetworkKind
from models.text.vocab import Vocabulary

SIZES: tuple[tuple[NetworkKind, int, int, int, int], ...] = (
    ("lstm", 1, 16, 70, 0),
    ("lstm", 1, 128, 70, 0),
    ("lstm", 2, 256, 70, 0),
    ("lstm", 2, 256, 70, 200_000),
    ("lstm", 2, 512, 70, 0),
    ("lstm", 3, 1024, 70, 0),
    ("lstm", 1, 128, 5000, 0),
    ("gru", 2, 512, 70, 0),
)
"""Kind, layers, hidden size, vocabulary, buckets of the n-gram table."""

ORDERS = 5

ROWS, STEPS = 8, 32


def resident() -> int:
    """Bytes of this process in memory, once what is free has been given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return resident_bytes()


def checkpoint_of(config: NetworkConfig, seed: int = 0) -> Checkpoint:
    """Random weights."""
    rng = np.random.default_rng(seed)
    weights: Weights = {
        name: rng.normal(0, 0.05, shape).astype(np.float32)
        for name, shape in config.shapes().items()
    }
    # The table knows no context, which costs as much.
    for name, shape in config.table_shapes().items():
        empty = np.full(shape, -1) if name == NGRAM_KEYS else rng.integers(256, size=shape)
        weights[name] = empty.astype(np.int32 if name == NGRAM_KEYS else np.uint8)
    vocabulary = Vocabulary(
        "characters", [0x0A, *range(0x4E00, 0x4E00 + config.vocabulary_size - 1)]
    )
    return Checkpoint(config, vocabulary, weights, {"val_loss": 4.0}, [], b"")


def loaded(config: NetworkConfig, precisions: tuple[Precision, ...], top_k: int) -> LoadedNetwork:
    """A model of random weights that has written some text in each precision."""
    model = LoadedNetwork("bench", "", checkpoint_of(config))
    choices = Choices(
        np.ones(ROWS, np.float32), np.full(ROWS, top_k, np.int64), np.zeros(ROWS, np.float32)
    )
    for precision in precisions:
        decoder = model.decoder(precision)
        rows = decoder.start(np.zeros(ROWS, np.int64))
        forced, halves = (
            np.full((STEPS, ROWS), -1, np.int64),
            np.full((STEPS, ROWS), 0.5, np.float32),
        )
        decoder.advance(rows, forced, halves, choices)
    return model


def measure(
    config: NetworkConfig, precisions: tuple[Precision, ...], top_k: int, count: int
) -> tuple[float, float, float]:
    """Bytes a model: measured, estimated, and left when all are gone."""
    before = resident()
    models = [loaded(config, precisions, top_k) for _ in range(count)]
    taken = resident() - before
    estimated = sum(model.bytes for model in models)
    models.clear()
    return taken / count, estimated / count, (resident() - before) / count


def deleted(count: int) -> None:
    """A real server, over HTTP; at rest means after two of its sweeps."""
    config = NetworkConfig(70, "lstm", 2, 128)
    with (
        charloom({}) as running,
        httpx2.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=600) as client,
    ):
        registry = Registry(running.data / "models")

        def serve_and_delete(numbers: range) -> int:
            """Returns the memory at rest with all of them loaded."""
            for number in numbers:
                checkpoint = checkpoint_of(config, seed=number)
                registry.publish(Reference(f"model{number}"), checkpoint)
                for precision in ("exact", "fast"):
                    asked = {
                        "model": f"model{number}",
                        "precision": precision,
                        "prime": "\u4e00\u4e01" * 50,
                        "length": 200,
                    }
                    client.post("/sample", json=asked).raise_for_status()
            loaded = running.memory()
            for number in numbers:
                client.delete(f"/models/model{number}").raise_for_status()
            while "charloom_models_loaded 0.0" not in client.get("/metrics").text:
                time.sleep(0.1)
            time.sleep(2 * SWEEP_SECONDS)
            return loaded

        # What the libraries load once is no model's.
        serve_and_delete(range(5))
        before = running.memory()
        loaded = serve_and_delete(range(5, 5 + count))
        after = running.memory()
    print(
        f"{count} models deleted: {before / 1e6:.0f} MB before, {loaded / 1e6:.0f} loaded, "
        f"{after / 1e6:.0f} after, {after / before:.2f}×"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one size, such as 2x512, or deleted")
    parser.add_argument("--models", type=int, default=200, help="how many are deleted")
    asked = parser.parse_args()
    only = asked.only
    if only in (None, "deleted"):
        deleted(asked.models)
    if only == "deleted":
        return
    # What the libraries load once is no model's.
    measure(NetworkConfig(70, "lstm", 1, 16), ("exact", "fast"), 5, 1)
    print(f"{'model':>18} {'precisions':>11} {'top_k':>5} {'MB':>8} {'estimate':>8} {'left':>6}")
    for kind, layers, hidden, vocabulary, buckets in SIZES:
        if only not in (None, f"{layers}x{hidden}"):
            continue
        sizes = (buckets // ORDERS,) * ORDERS if buckets else ()
        config = NetworkConfig(vocabulary, kind, layers, hidden, ngram_buckets=sizes)
        count = max(2, min(20, (64 << 20) // config.weight_bytes()))
        ways: tuple[tuple[Precision, ...], ...] = (("exact",), ("fast",), ("exact", "fast"))
        for precisions in ways if kind == "lstm" else ways[:1]:
            for top_k in (0, 5):
                taken, estimated, left = measure(config, precisions, top_k, count)
                name = f"{kind} {layers}x{hidden} of {vocabulary}" + "+n" * bool(buckets)
                print(
                    f"{name:>18} {'+'.join(precisions):>11} {top_k:>5} {taken / 1e6:>8.2f} "
                    f"{estimated / taken:>8.2f} {left / 1e6:>6.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
