"""LSTM, RNN and GRU of several sizes on one text: the table of Karpathy, Johnson & Li (2015).

    python -m bench.architectures --text FILE --to FILE.jsonl
           [--held-out 0.2] [--passes 5] [--kinds lstm gru rnn] [--layers 1 2 3] [--sizes 64 128]
           [--n-grams]

A size is that of a one-layer LSTM with so many cells; the others have as many cells a layer as make
as many parameters, which is how that table compares. arXiv 1506.02078 has War and Peace 80/10/10
and the Linux kernel 90/5/5, up to 50 passes.

Trains each network from scratch, the largest first, one thread each and as many at once as there
are cores (one on a GPU), and prints a table of test losses, in nats per character. The held-out
share is the text's end: its first half is for validation, its second half for the test, and
nothing is picked by the test. With ``--n-grams`` each network has the n-gram table that a job
would give it, which does not count as parameters.

Each result is a line of ``--to`` as soon as it is there: what is there already is not done again.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from bench.train import open_text
from models.config import GATES, NetworkConfig
from models.options import Hyperparameters, NetworkKind, TrainingOptions
from models.sizing import ngram_table
from models.training.beginning import count_features, new_trainer
from models.training.held_out import evaluate
from models.training.ngram_features import NGramFeatures
from models.training.planning import auto_rate, faster_precision, half_on, step_timer

BATCH, LENGTH = 32, 64


@dataclass(frozen=True, slots=True)
class Cell:
    """One network of the table, and all that decides what comes of it."""

    text: str
    held_out: float
    passes: float
    kind: NetworkKind
    layers: int
    size: int
    n_grams: bool = False

    def config(self, vocabulary_size: int) -> NetworkConfig:
        """With the cells a layer that come nearest to the size's parameters."""
        wanted = NetworkConfig(vocabulary_size, "lstm", 1, self.size).parameters()
        configs = (
            NetworkConfig(vocabulary_size, self.kind, self.layers, hidden)
            for hidden in range(1, 4 * self.size)
        )
        return min(configs, key=lambda config: abs(config.parameters() - wanted))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--held-out", type=float, default=0.2)
    parser.add_argument("--passes", type=float, default=5.0)
    parser.add_argument("--kinds", nargs="+", choices=list(GATES), default=list(GATES))
    parser.add_argument("--layers", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--n-grams", action="store_true")
    asked = parser.parse_args()
    cells = [
        Cell(asked.text.name, asked.held_out, asked.passes, kind, layers, size, asked.n_grams)
        for size, kind, layers in product(sorted(asked.sizes)[::-1], asked.kinds, asked.layers)
    ]
    done = {cell: result for cell, result in _read(asked.to) if cell in cells}
    left = [cell for cell in cells if cell not in done]
    for cell, result in _train_all(left, asked.text):
        with asked.to.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(cell) | result) + "\n")
        done[cell] = result
        print(
            f"{len(done)} of {len(cells)}: size {cell.size}, {cell.kind} "
            f"{cell.layers}×{result['hidden_size']}, {result['parameters']:,} parameters: "
            f"test {result['test_loss']:.4f}  {result['seconds']:.0f} s",
            flush=True,
        )
    print(table(done, asked.kinds, asked.layers))


def _read(path: Path) -> Iterator[tuple[Cell, dict[str, Any]]]:
    if path.exists():
        for line in path.read_text("utf-8").splitlines():
            entry = json.loads(line)
            own = {name: entry.pop(name) for name in Cell.__slots__ if name in entry}
            yield Cell(**own), entry


def _train_all(cells: list[Cell], text: Path) -> Iterator[tuple[Cell, dict[str, Any]]]:
    at_once = 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once, context, torch.set_num_threads, (1,)) as pool:
        waiting = {pool.submit(train_one, cell, text): cell for cell in cells}
        for future in as_completed(waiting):
            yield waiting[future], future.result()


def train_one(cell: Cell, text: Path) -> dict[str, Any]:
    """Trains one network to its last step.

    Returns:
        What is kept of it, beside the cell: losses, how it was trained, and seconds.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as directory:
        corpus = open_text(text.read_bytes(), Path(directory), cell.held_out)
        config = cell.config(len(corpus.vocabulary))
        precision = faster_precision(config, BATCH, LENGTH, step_timer(device), half_on(device))
        characters = len(corpus.train)
        steps = round(cell.passes * characters / (BATCH * LENGTH))
        table = ngram_table(TrainingOptions(), config.vocabulary_size, characters)
        options = Hyperparameters(
            BATCH,
            LENGTH,
            steps,
            learning_rate=auto_rate(config, BATCH * LENGTH),
            precision=precision,
            evaluate_every=max(1, steps // 5),
            **(table if cell.n_grams else {}),
        )
        began = time.monotonic()
        features = count_features(corpus, options)
        trained = new_trainer(config, corpus, options, device, features)
        for _happened in trained.run():
            pass
        middle = len(corpus.validation) // 2
        return {
            "val_loss": evaluate(trained.average, corpus.validation[:middle]),
            "test_loss": evaluate(trained.average, corpus.validation[middle:]),
            "train_loss": float(trained.smoothed),
            "learning_rate": options.learning_rate,
            "steps": steps,
            "precision": precision,
            "hidden_size": config.hidden_size,
            "parameters": config.parameters(),
            "table_bytes": _table_bytes(features),
            "seconds": time.monotonic() - began,
        }


def _table_bytes(features: NGramFeatures | None) -> int:
    tensors = features.table.tensors().values() if features else ()
    return sum(tensor.nbytes for tensor in tensors)


def table(done: dict[Cell, dict[str, Any]], kinds: list[NetworkKind], layers: list[int]) -> str:
    """Markdown: a row for each text and size, the layers of each kind side by side."""
    lines = [
        "| text, size | " + " | ".join(kind.upper() for kind in kinds) + " |",
        "| --- |" + " --- |" * len(kinds),
    ]
    for text, size in sorted({(cell.text, cell.size) for cell in done}):
        losses = {
            (cell.kind, cell.layers): f"{result['test_loss']:.3f}"
            for cell, result in done.items()
            if (cell.text, cell.size) == (text, size)
        }
        columns = (" / ".join(losses.get((kind, n), "–") for n in layers) for kind in kinds)
        lines.append(f"| {text}, {size} | " + " | ".join(columns) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
