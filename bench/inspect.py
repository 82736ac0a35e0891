"""Looking inside in process: ``models.inside.reader.trace`` against torch a character at a time.

    python -m bench.inspect [--hidden 512] [--layers 2] [--kind lstm] [--characters 20000]
        [--buckets 50000]

With ``--buckets`` there is an n-gram table of about as many. Prints the seconds for a text with
five guesses and eight cells, and how far the cells are apart.
"""

import argparse
import os
import time

import numpy as np
import torch

from bench.onednn import use_onednn
from models.checkpoints.format import Checkpoint
from models.config import NetworkConfig
from models.inside.reader import trace
from models.ngram_table import FOLLOWERS, NGramTable
from models.text.vocab import Vocabulary
from models.training.beginning import new_network
from models.training.network import CharNetwork

VOCABULARY = Vocabulary("characters", [0x0A, *range(0x20, 0x7F), *range(0xE0, 0xE4)])
CELLS = range(8)
ORDERS = 8
TORCH_CHARACTERS = 1000
"""Read with torch at most: it takes its time."""


def random_table(buckets: int) -> NGramTable:
    """A table for contexts of up to ``ORDERS`` characters, none of which it finds."""
    size = max(1, buckets // ORDERS)
    total = 1 + ORDERS * size
    rows = np.random.default_rng(0).integers(256, size=(total, len(VOCABULARY)), dtype=np.uint8)
    lists = np.zeros((1, FOLLOWERS), np.uint16), np.zeros((1, FOLLOWERS), np.uint8)
    return NGramTable((size,) * ORDERS, (), np.full(total, -1), rows, lists)


@torch.no_grad()
def with_torch(checkpoint: Checkpoint, text: str) -> tuple[np.ndarray, float]:
    """Activations of the last layer's cells, and the seconds that it took."""
    network = CharNetwork.of(checkpoint.config, checkpoint.weights)
    vocabulary = checkpoint.vocabulary
    shown, state = [], None
    began = time.perf_counter()
    read = np.concatenate([[vocabulary.start_id], vocabulary.encode(text)])
    rows = None
    if table := network.table:
        rows = torch.from_numpy(table.log_probabilities(table.find(table.hashes(read))))
    for at, id_ in enumerate(read.tolist()):
        counted = None if rows is None else rows[at : at + 1, None]
        logits, state = network(torch.tensor([[id_]]), state, counted)
        torch.softmax(logits[0, 0], 0).topk(5)
        cells = torch.tanh(state[1]) if checkpoint.config.kind == "lstm" else state[0]
        shown.append(cells[-1, 0, list(CELLS)])
    return torch.stack(shown)[1:].numpy(), time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--kind", choices=("lstm", "gru", "rnn"), default="lstm")
    parser.add_argument("--characters", type=int, default=20_000)
    parser.add_argument("--buckets", type=int, default=0)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    table = random_table(asked.buckets) if asked.buckets else None
    config = NetworkConfig(
        len(VOCABULARY),
        asked.kind,
        asked.layers,
        asked.hidden,
        ngram_buckets=table.sizes if table else (),
    )
    weights = new_network(config, 0, table=table).export()
    checkpoint = Checkpoint(config, VOCABULARY, weights, {}, [], b"")
    points = np.random.default_rng(0).choice(VOCABULARY.symbols, asked.characters)
    text = "".join(map(chr, points))
    part = text[:TORCH_CHARACTERS]
    torch.set_num_threads(1)
    # As fast as it gets (docs/log.md): oneDNN would pack the weights again for each character.
    use_onednn(False)
    expected, seconds = with_torch(checkpoint, part)
    seconds *= len(text) / len(part)
    print(f"{asked.layers}×{asked.hidden} {asked.kind}, {len(text):,} characters")
    print(f"torch, a character at a time        {seconds:8.2f} s (from {len(part):,})")
    for threads in sorted({1, os.cpu_count() or 1}):
        times = []
        for _ in range(asked.runs):
            wall, work = time.perf_counter(), time.process_time()
            traced = trace(checkpoint, text, cells=CELLS, threads=threads)
            times.append((time.perf_counter() - wall, time.process_time() - work))
        wall, work = min(times)
        apart = np.abs(traced.activations[: len(part)] - expected).max()
        print(
            f"models.inspect.trace, {threads} thread{'s' if threads > 1 else ' '}     {wall:8.2f} s"
            f" ({work:.2f} of a core; {seconds / wall:.0f} times as fast; apart by {apart:.0e})"
        )


if __name__ == "__main__":
    main()
