"""The decoder without HTTP: rows dealt to a thread for each core, as lanes of the server do it."""

import os
from concurrent.futures import ThreadPoolExecutor

from bench.native import native_step
from bench.sample import ours, rate
from models.decoding.decoder import Decoder
from models.decoding.graph import Precision
from models.training.network import CharNetwork


class Alone:
    """A network's decoders, one for each core. Building them takes seconds for a large one."""

    def __init__(self, network: CharNetwork, precision: Precision = "fast") -> None:
        weights = network.export()
        self._decoders = [
            Decoder(network.config, weights, precision, native_step())
            for _ in range(os.cpu_count() or 1)
        ]

    def rate(self, rows: int, seconds: float) -> float:
        """Returns the characters a second of all rows; one row is one thread's."""
        threads = min(rows, len(self._decoders))
        counts = [rows // threads + (at < rows % threads) for at in range(threads)]
        works = [
            ours(decoder, count) for decoder, count in zip(self._decoders, counts, strict=False)
        ]
        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(lambda work: rate(work, seconds), works))
