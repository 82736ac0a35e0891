"""A network without some of its cells, to see what they do for what it writes.

Knows checkpoints; no file and no client.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.arrays import Ids
from models.checkpoints.format import Checkpoint
from models.config import NetworkConfig, Weights
from models.decoding.batch import Batch
from models.decoding.decoder import Decoder
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream
from models.inside.reader import Stopped

_STEPS = 64
"""Characters between two looks whether to stop."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """What a network writes with all cells and without some, from the same random numbers."""

    whole: str
    ablated: str


def ablate(
    checkpoint: Checkpoint,
    layer: int,
    cells: Sequence[int],
    prime: Ids,
    options: SampleOptions,
    stopped: Callable[[], bool] = lambda: False,
) -> Ablation:
    """Writes a text twice: as the network is, and with cells switched off.

    Args:
        checkpoint: of the network.
        layer: counted from 0.
        cells: of that layer.
        prime: ids to read first, [length].
        options: of both texts.
        stopped: called regularly; the writing ends when it returns true.

    Raises:
        Stopped: ``stopped`` returned true.
        FloatingPointError: the logits are not finite.
    """
    off = switched_off(checkpoint.config, checkpoint.weights, layer, cells)
    whole = _written(checkpoint, prime, options, stopped)
    ablated = _written(replace(checkpoint, weights=off), prime, options, stopped)
    return Ablation(whole, ablated)


def switched_off(
    config: NetworkConfig, weights: Weights, layer: int, cells: Sequence[int]
) -> Weights:
    """Returns weights with which nothing listens to cells of a layer: their h counts as 0."""
    listening = [f"layers.{layer}.weight_hh_l0"]
    if layer + 1 < config.num_layers:
        listening.append(f"layers.{layer + 1}.weight_ih_l0")
    else:
        listening += [name for name in ("output.weight", "gates.weight") if name in weights]
    changed = dict(weights)
    for name in listening:
        changed[name] = weights[name].copy()
        changed[name][:, list(cells)] = 0
    return changed


def _written(
    checkpoint: Checkpoint, prime: Ids, options: SampleOptions, stopped: Callable[[], bool]
) -> str:
    stream = Stream(checkpoint.vocabulary, np.asarray(prime, np.int64), options)
    batch = Batch(Decoder(checkpoint.config, checkpoint.weights))
    text = ""
    while stream.finish_reason is None:
        if stopped():
            raise Stopped
        pieces, _ = batch.tick([stream], _STEPS)
        text += pieces[0].text
    if stream.error is not None:
        raise stream.error
    return text
