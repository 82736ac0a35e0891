"""Samples from a network in plain torch: the slow, obvious twin of ``models.decoding``.

Knows ids; no text.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from models.config import in_style
from models.decoding.sampling import SampleOptions, choose, uniforms
from models.ngram_table import NGramTable
from models.training.network import CharNetwork


def generate(
    network: CharNetwork, start_id: int, prime: NDArray[np.int64], options: SampleOptions
) -> Iterator[int]:
    """Yields ``length`` chosen ids, one by one.

    From the zero state the network reads ``start_id``, then the prime, then its own choices. In a
    style, it is the network that has only this one. Stop strings concern text, so they are ignored
    here.
    """
    seeds = np.array([options.seed], dtype=np.uint64)
    if options.style:
        config, weights = in_style(network.config, network.export(), options.style)
        # Training would continue with other random numbers.
        with torch.random.fork_rng(devices=[]):
            network = CharNetwork.of(config, weights)
    network.eval()
    with torch.no_grad():
        state = None
        logits = None
        read: list[int] = []
        for id_ in [start_id, *prime.tolist()]:
            read.append(id_)
            logits, state = network(torch.tensor([[id_]]), state, _counted(network.table, read))
        places = np.arange(options.length)
        temperatures = options.temperatures_at(places, options.length).tolist()
        for position, temperature in enumerate(temperatures):
            assert logits is not None
            uniform = uniforms(seeds, np.array([position], dtype=np.uint64), 1)[0, 0]
            chosen = choose(
                logits[0, 0].numpy(),
                temperature,
                float(uniform),
                options.top_k,
                options.top_p,
            )
            yield chosen
            read.append(chosen)
            logits, state = network(torch.tensor([[chosen]]), state, _counted(network.table, read))


def _counted(table: NGramTable | None, read: list[int]) -> torch.Tensor | None:
    """Returns the row for the ids read last, [1, 1, vocabulary]."""
    if table is None:
        return None
    latest = np.array(read[-table.orders :])
    found = table.find(table.hashes(latest)[-1:])
    return torch.from_numpy(table.log_probabilities(found))[None]
