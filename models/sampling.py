"""How the next character is chosen, and the slow, obvious way to generate text.

The decoder does the same in an ONNX graph for many streams at once; tests hold it against this.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from models.network import CharNetwork

# SplitMix64: increment and output mix of Steele, Lea & Flood, "Fast splittable pseudorandom
# number generators", OOPSLA 2014. Counter-based: position n needs none of the draws before it.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


def uniforms(
    seeds: NDArray[np.uint64], positions: NDArray[np.uint64], steps: int
) -> NDArray[np.float32]:
    """Uniform numbers in [0, 1), shape [steps, rows]: a pure function of (seed, position).

    Args:
        seeds: one per row, shape [rows].
        positions: of each row's first character to choose, shape [rows].
        steps: how many characters.
    """
    # The seed is mixed first: rows with neighbouring seeds must not read shifted copies of
    # one sequence.
    start = _mix(seeds * _GOLDEN + _GOLDEN)
    counters = positions + np.arange(1, steps + 1, dtype=np.uint64)[:, None]
    bits = _mix(start + counters * _GOLDEN)
    return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def choose(logits: NDArray[np.float32], temperature: float, uniform: float) -> int:
    """The id that a uniform number picks from softmax(logits / temperature), shape [V].

    The inverse of the cumulative distribution; temperature 0 is argmax, the first where several
    are equal.

    Raises:
        FloatingPointError: the logits are not finite.
    """
    if not np.isfinite(logits).all():
        raise FloatingPointError("the network's output is not finite")
    if temperature == 0:
        return int(np.argmax(logits))
    scaled = (logits - logits.max()) / np.float32(temperature)
    cumulative = np.cumsum(np.exp(scaled), dtype=np.float32)
    chosen = int((cumulative <= np.float32(uniform) * cumulative[-1]).sum())
    return min(chosen, len(logits) - 1)


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """What decides a text, beside the model and the prime.

    ``length`` counts the ids to choose, the prime not among them.
    """

    seed: int = 0
    temperature: float = 1.0
    length: int = 1000


def generate(
    network: "CharNetwork", start_id: int, prime: NDArray[np.int64], options: SampleOptions
) -> Iterator[int]:
    """Yields the chosen ids one by one, in plain torch: slow and obvious.

    From the zero state the network reads ``start_id``, then the prime, then its own choices.
    """
    import torch

    seeds = np.array([options.seed], dtype=np.uint64)
    network.eval()
    with torch.no_grad():
        state = None
        logits = None
        for id_ in [start_id, *prime.tolist()]:
            logits, state = network(torch.tensor([[id_]]), state)
        for position in range(options.length):
            assert logits is not None
            uniform = uniforms(seeds, np.array([position], dtype=np.uint64), 1)[0, 0]
            chosen = choose(logits[0, 0].numpy(), options.temperature, float(uniform))
            yield chosen
            logits, state = network(torch.tensor([[chosen]]), state)
