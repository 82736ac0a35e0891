"""How the next character is chosen, and the slow, obvious way to generate text.

The decoder does the same in an ONNX graph for many streams at once; tests hold it against this.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_SEED = (1 << 63) - 1
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 10.0
"""Of a temperature that is not 0."""
MAX_LENGTH = 1_000_000
MAX_TOP_K = 1 << 20
MAX_STOPS, MAX_STOP = 4, 256
"""Stop strings of a text, and characters of each."""


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """What decides a text, beside the model and the prime.

    ``length`` counts characters to write, the prime not among them. ``temperature`` 0 is argmax.
    ``top_k`` and ``top_p`` 0 are off. The text ends before the first of the ``stop`` strings.

    Raises:
        ValueError: an option is out of its range. Rows share a batch: what the decoder could not
            take would end the texts of all of them.
    """

    seed: int = 0
    temperature: float = 1.0
    length: int = 1000
    top_k: int = 0
    top_p: float = 0.0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_range("seed", self.seed, MAX_SEED)
        _check_range("length", self.length, MAX_LENGTH)
        _check_range("top_k", self.top_k, MAX_TOP_K)
        _check_range("top_p", self.top_p, 1)
        if self.temperature != 0 and not MIN_TEMPERATURE <= self.temperature <= MAX_TEMPERATURE:
            raise ValueError(
                f"temperature must be 0 or from {MIN_TEMPERATURE} to {MAX_TEMPERATURE:g}"
            )
        if len(self.stop) > MAX_STOPS or not all(0 < len(s) <= MAX_STOP for s in self.stop):
            raise ValueError(
                f"stop must be at most {MAX_STOPS} strings of 1 to {MAX_STOP} characters"
            )


def _check_range(name: str, number: float, highest: int) -> None:
    # A NaN compares as neither.
    if not 0 <= number <= highest:
        raise ValueError(f"{name} must be from 0 to {highest:,}")


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


def choose(
    logits: NDArray[np.float32],
    temperature: float,
    uniform: float,
    top_k: int = 0,
    top_p: float = 0.0,
) -> int:
    """The id that a uniform number picks from softmax(logits / temperature), shape [V].

    The inverse of the cumulative distribution; temperature 0 is argmax, the first where several
    are equal. ``top_k`` and ``top_p`` leave the likeliest to pick from.

    Raises:
        FloatingPointError: the logits are not finite.
    """
    if not np.isfinite(logits).all():
        raise FloatingPointError("the network's output is not finite")
    if temperature == 0:
        return int(np.argmax(logits))
    weights = np.exp((logits - logits.max()) / np.float32(temperature))
    if top_k or top_p:
        weights = keep_likeliest(weights, top_k, top_p)
    cumulative = np.cumsum(weights, dtype=np.float32)
    chosen = int((cumulative <= np.float32(uniform) * cumulative[-1]).sum())
    return min(chosen, len(logits) - 1)


def keep_likeliest(weights: NDArray[np.float32], top_k: int, top_p: float) -> NDArray[np.float32]:
    """Weights, [V], with 0 for all but the ``top_k`` largest, and of these the fewest that hold
    ``top_p`` of their sum (Holtzman et al. 2020). 0 is off; equal ones stay or go together."""
    ordered = np.sort(weights)[::-1]
    if top_k:
        ordered = ordered[:top_k]
    last = len(ordered) - 1
    if top_p:
        cumulative = np.cumsum(ordered, dtype=np.float32)
        last = int((cumulative - ordered < np.float32(top_p) * cumulative[-1]).sum()) - 1
    return np.where(weights >= ordered[max(last, 0)], weights, np.float32(0))
