"""Decoding in process: ours against ``nn.LSTM`` a character at a time.

    python -m bench.sample [--hidden 512] [--layers 2] [--rows 1 16 128] [--seconds 2] [--text FILE]

Prints characters a second, and the ratio to the plain way measured in the same minute; of the
native step, in processor time, also the ratio to ONNX Runtime, measured in turn. With
``--text`` also the speed of a network beside the n-gram table that ``auto`` counts from it, and the
ratio to that without, measured in turn.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from bench.naive import Tutorial, network_of
from bench.native import native_step
from bench.onednn import use_onednn
from models import sizing
from models.config import NetworkConfig
from models.decoding.decoder import Decoder
from models.decoding.graph import Precision
from models.decoding.rows import Choices
from models.options import TrainingOptions
from models.training import counting
from models.training.network import CharNetwork

VOCABULARY = 100
STEPS = 32
PRECISIONS: tuple[Precision, ...] = ("exact", "fast")


def rate(
    work: Callable[[], int], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Characters a second of work that returns how many it made: the median of its calls."""
    work()
    rates = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = clock()
        made = work()
        rates.append(made / (clock() - start))
    return float(np.median(rates))


def plain(
    hidden_size: int, layers: int, vocabulary_size: int = VOCABULARY, steps: int = STEPS
) -> Callable[[], int]:
    model = Tutorial(vocabulary_size, hidden_size, layers).eval()
    characters = model.characters()

    def work() -> int:
        return sum(1 for _ in itertools.islice(characters, steps))

    return work


@dataclass(frozen=True, slots=True)
class PlainWay:
    """How torch computes the plain way, and how fast it is: ``rate`` is characters a second."""

    rate: float
    threads: int
    onednn: bool

    def of(self, work: Callable[[], int], seconds: float) -> float:
        """Returns the characters a second of work that torch does this way."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        use_onednn(self.onednn)
        try:
            return rate(work, seconds)
        finally:
            torch.set_num_threads(before)
            use_onednn(True)

    def __str__(self) -> str:
        plural = "s" if self.threads > 1 else ""
        return f"{self.threads} thread{plural}, oneDNN {'on' if self.onednn else 'off'}"


def best_plain(hidden_size: int, layers: int, seconds: float) -> PlainWay:
    """Finds what suits the plain way best here; each of four ways is measured for some seconds.

    A second thread helps or harms it, by how busy the machine is; oneDNN, torch's default, packs
    all weights again for each character.
    """
    ways = []
    work = plain(hidden_size, layers)
    for threads, onednn in itertools.product({1, torch.get_num_threads()}, (True, False)):
        way = PlainWay(0.0, threads, onednn)
        ways.append(replace(way, rate=way.of(work, seconds)))
    return max(ways, key=lambda way: way.rate)


def ours(decoder: Decoder, count: int) -> Callable[[], int]:
    rows = decoder.start(np.zeros(count, np.int64))
    free = np.full((STEPS, count), -1, np.int64)
    choices = Choices(
        np.ones(count, np.float32), np.zeros(count, np.int64), np.zeros(count, np.float32)
    )
    numbers = np.random.default_rng(0).random((STEPS, count), dtype=np.float32)

    def work() -> int:
        nonlocal rows
        _, _, rows = decoder.advance(rows, free, numbers, choices)
        return STEPS * count

    return work


def beside_table(text: str, hidden_size: int, layers: int) -> tuple[Decoder, Decoder]:
    """Returns a ``fast`` decoder without and with the n-gram table of a text."""
    symbols, ids = np.unique(np.array(list(text)), return_inverse=True)
    table = sizing.ngram_table(TrainingOptions(), len(symbols), len(ids))
    orders, buckets = table["ngram_orders"], table["ngram_buckets"]
    counted = counting.count(ids.astype(np.uint16), len(symbols), orders, buckets).table
    config = NetworkConfig(len(symbols), "lstm", layers, hidden_size)
    decoders = []
    for beside in (None, counted):
        network = CharNetwork(config.beside(beside), beside)
        decoders.append(Decoder(network.config, network.export(), "fast", native_step()))
    return decoders[0], decoders[1]


def compare_table(
    path: Path, hidden_size: int, layers: int, rows: list[int], seconds: float
) -> None:
    without, beside = beside_table(path.read_text(), hidden_size, layers)
    for number in rows:
        each = [ours(decoder, number) for decoder in (without, beside)]
        rates = [[rate(work, seconds / 8) for work in each] for _ in range(4)]
        alone, table = np.median(rates, axis=0)
        name = f"fast, {number} rows, n-gram table"
        print(f"{name:34} {table:12,.0f} characters/s  {table / alone:6.2f}× without")


def compare_native(native: Decoder, graph: Decoder, rows: list[int], seconds: float) -> None:
    """Prints processor time, which other processes hardly change, of both in turn."""
    for number in rows:
        each = [ours(decoder, number) for decoder in (native, graph)]
        rates = [[rate(work, seconds / 8, time.thread_time) for work in each] for _ in range(4)]
        own, onnx = np.median(rates, axis=0)
        name = f"fast, {number} rows, native step"
        print(f"{name:34} {own:12,.0f} characters/s  {own / onnx:6.2f}× ONNX Runtime")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 16, 128])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--text", type=Path)
    asked = parser.parse_args()
    network = network_of(asked.hidden, asked.layers, VOCABULARY)
    weights = network.export()
    print(f"{asked.layers}×{asked.hidden}, V={VOCABULARY}")
    base = best_plain(asked.hidden, asked.layers, asked.seconds).rate
    print(f"{'nn.LSTM, a character at a time':34} {base:12,.0f} characters/s")
    graphs = {kind: Decoder(network.config, weights, kind) for kind in PRECISIONS}
    for precision, decoder in graphs.items():
        for count in asked.rows:
            speed = rate(ours(decoder, count), asked.seconds)
            name = f"{precision}, {count} rows, one thread"
            print(f"{name:34} {speed:12,.0f} characters/s  {speed / base:6.1f}×")
    if native := native_step():
        decoder = Decoder(network.config, weights, "fast", native)
        compare_native(decoder, graphs["fast"], asked.rows, asked.seconds)
    if asked.text:
        compare_table(asked.text, asked.hidden, asked.layers, asked.rows, asked.seconds)


if __name__ == "__main__":
    main()
