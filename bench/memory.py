"""What a loaded model really takes in memory, beside what the server counts for it.

    python -m bench.memory [--only 2x512]

For each size and each way of use: memory per model that the process gained, the estimate by which
the server drops models, and what stays when they are gone.
"""

import argparse
import ctypes
import gc

import numpy as np

from app.engine.loaded import LoadedNetwork
from app.engine.memory import resident_bytes
from models.checkpoints.format import Checkpoint
from models.config import NetworkConfig, Weights
from models.decoding.decoder import Choices
from models.decoding.graph import Precision
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


def loaded(config: NetworkConfig, precisions: tuple[Precision, ...], top_k: int) -> LoadedNetwork:
    """A model of random weights that has written some text in each precision."""
    rng = np.random.default_rng(0)
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
    model = LoadedNetwork("bench", "", Checkpoint(config, vocabulary, weights, {}, [], b""))
    del weights
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one size, such as 2x512")
    only = parser.parse_args().only
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
