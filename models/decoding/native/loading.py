"""Gets the native step ready for use. Knows what it must compute to be used."""

import hashlib
import math
from pathlib import Path

import numpy as np

from models.arrays import Floats
from models.config import NetworkConfig
from models.decoding.native import building
from models.decoding.native.building import NoNativeStep
from models.decoding.native.engine import NativeEngine
from models.decoding.native.library import Library
from models.decoding.rows import Choices, Rows

ANSWER = "21cfc10efa2e27a61ba4038afb39ce58aeb27069cc1267af70d2d2dd3e9661ca"
"""The SHA-256 of what the step computes in ``answer``, on every machine.

Once it changes the same seeds give other texts: say so in the changelog.
"""


def load(cache: Path) -> Library:
    """Returns the native step, compiled for this machine if it was not.

    It takes a second or two if it must be compiled.

    Args:
        cache: folder where it is kept.

    Raises:
        NoNativeStep: it cannot be compiled, loaded or trusted here.
    """
    path = building.built(cache)
    try:
        library = Library(path)
    except (OSError, AttributeError):
        # A damaged file would else be in the way for ever.
        path = building.built_anew(path)
        try:
            library = Library(path)
        except (OSError, AttributeError) as error:
            raise NoNativeStep(f"{path} cannot be loaded: {error}") from None
    if answer(library) != ANSWER:
        raise NoNativeStep(f"{path} computes other numbers than elsewhere")
    return library


def answer(library: Library) -> str:
    """Returns the SHA-256 of the ids and logits of a small network, which reads and chooses."""
    config = NetworkConfig(21, "lstm", 2, 37)
    weights = {
        name: _numbers(shape, 4 if name.startswith("output") else 1)
        for name, shape in config.shapes().items()
    }
    engine = NativeEngine(library, config, weights)
    steps, count = 24, 35
    state = tuple(np.zeros(shape, np.float32) for shape in config.state_shapes(count))
    rows = Rows(np.arange(count) % config.vocabulary_size, state)
    every = np.arange(count)
    choices = Choices(
        np.array([1, 0.5, 0], np.float32)[every % 3],
        np.where(every % 5 == 4, 7, 0),
        np.where(every % 7 == 6, np.float32(0.8), np.float32(0)),
    )
    uniforms = np.abs(_numbers((steps, count), 1)) * np.float32(0.5)
    forced = np.full((steps, count), -1)
    chosen, logits, _ = engine.advance(rows, forced, uniforms, choices)
    told = chosen.astype("<i8").tobytes() + logits.astype("<f4").tobytes()
    return hashlib.sha256(told).hexdigest()


def _numbers(shape: tuple[int, ...], extent: int) -> Floats:
    """Returns numbers from −extent to below it, the same on every machine."""
    count = np.arange(1, 1 + math.prod(shape), dtype=np.uint64)
    mixed = count * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    parts = (mixed >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    numbers: Floats = (parts * np.float32(extent)).reshape(shape)
    return numbers
