"""How the next character is chosen, and the options that decide a text.

The decoder does the same in an ONNX graph for many streams at once; tests compare it with this.
Knows one row of numbers; no network and no text.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import Floats, Ids
from models.styles import Mix

MAX_SEED = (1 << 63) - 1
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 10.0
"""Range of a temperature other than 0."""
MAX_TEMPERATURES = 100
"""Most temperatures that a text goes through."""
MAX_LENGTH = 1_000_000
MAX_TOP_K = 1 << 20
MAX_STOP, MAX_STOPS = 256, 4096
"""Most characters of a stop string, and of all of them."""


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """Everything that decides a text except the model and the prime.

    ``length`` is the number of characters to write, not counting the prime. A temperature of 0 is
    argmax; several are gone through, each for an equal part of the length. ``top_k`` and ``top_p``
    0 are off. The text ends before the first ``stop`` string. ``style`` has a weight for each style
    of the network; empty is none.

    Raises:
        ValueError: an option is out of range. Rows share a batch, so an option that the decoder
            cannot take would end the texts of all rows.
    """

    seed: int = 0
    temperature: float | tuple[float, ...] = 1.0
    length: int = 1000
    top_k: int = 0
    top_p: float = 0.0
    stop: tuple[str, ...] = ()
    style: Mix = ()

    def __post_init__(self) -> None:
        for name in ("seed", "length", "top_k"):
            if not isinstance(getattr(self, name), int | np.integer):
                raise ValueError(f"{name} must be a whole number")
        check_range("seed", self.seed, MAX_SEED)
        check_range("length", self.length, MAX_LENGTH)
        check_range("top_k", self.top_k, MAX_TOP_K)
        check_range("top_p", self.top_p, 1)
        if not 1 <= len(self.temperatures) <= MAX_TEMPERATURES:
            raise ValueError(f"temperature must be a number, or 1 to {MAX_TEMPERATURES} of them")
        if not all(_is_temperature(number) for number in self.temperatures):
            raise ValueError(
                f"temperature must be 0 or from {MIN_TEMPERATURE} to {MAX_TEMPERATURE:g}"
            )
        sizes = list(map(len, self.stop))
        if sum(sizes) > MAX_STOPS or not all(0 < size <= MAX_STOP for size in sizes):
            raise ValueError(
                f"stop must be strings of 1 to {MAX_STOP} characters, {MAX_STOPS:,} in all"
            )

        if not all(0 <= weight <= 1 for weight in self.style):
            raise ValueError("the weights of styles must be from 0 to 1")

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Those that are gone through."""
        given = self.temperature
        return given if isinstance(given, tuple) else (given,)

    def temperatures_at(self, places: Ids, length: int) -> Floats:
        """Returns the temperatures at places in a text of a length, counted from its beginning."""
        each = np.array(self.temperatures, np.float32)
        parts = np.clip(places, 0, length - 1) * len(each) // max(1, length)
        return each[np.maximum(parts, 0)]


def _is_temperature(number: float) -> bool:
    return number == 0 or MIN_TEMPERATURE <= number <= MAX_TEMPERATURE


def check_range(name: str, number: float, highest: int) -> None:
    """Raises ValueError unless a number is from 0 to ``highest``; NaN is not."""
    if not 0 <= number <= highest:
        raise ValueError(f"{name} must be from 0 to {highest:,}")


# SplitMix64: increment and output mix of Steele, Lea & Flood, "Fast splittable pseudorandom
# number generators", OOPSLA 2014. Counter-based: position n does not need earlier draws.
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
    """Returns uniform numbers in [0, 1), [steps, rows]: a pure function of seed and position.

    Args:
        seeds: one per row, shape [rows].
        positions: of the first character to choose in each row, shape [rows].
        steps: the number of characters.
    """
    # Mix the seed first, or rows with neighbouring seeds would read shifted copies of one
    # sequence.
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
    """Returns the id that a uniform number picks from softmax(logits / temperature), shape [V].

    Inverts the cumulative distribution; temperature 0 is argmax, the first of equal ones. ``top_k``
    and ``top_p`` restrict the choice to the likeliest ids.

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
    """Zeroes all weights, [V], except the ``top_k`` largest, or the fewest of those that make up
    ``top_p`` of their sum (Holtzman et al. 2020). 0 is off; equal weights stay or go together."""
    ordered = np.sort(weights)[::-1]
    if top_k:
        ordered = ordered[:top_k]
    last = len(ordered) - 1
    if top_p:
        cumulative = np.cumsum(ordered, dtype=np.float32)
        last = int((cumulative - ordered < np.float32(top_p) * cumulative[-1]).sum()) - 1
    return np.where(weights >= ordered[max(last, 0)], weights, np.float32(0))
