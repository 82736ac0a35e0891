"""The native step for tests, and what a sanitizer watches it do (``python -m tests.compiled``)."""

import sys
from pathlib import Path

import numpy as np
import pytest

from app.engine.native_step import cache_folder
from models.checkpoints.format import Checkpoint
from models.decoding.decoder import Decoder
from models.decoding.graph import Precision
from models.decoding.native.building import NoNativeStep
from models.decoding.native.engine import NativeEngine
from models.decoding.native.library import Library
from models.decoding.native.loading import load
from models.decoding.rows import Choices, Rows
from models.ngram_table import NOTHING
from tests.toys import in_styles, toy_checkpoint

PLAIN_FLAGS = ("-O1",)
"""What compiles for any processor in a second instead of seven."""


def native_step() -> Library:
    """The one that servers use; skips the test where they have none."""
    try:
        return load(cache_folder())
    except NoNativeStep as error:
        pytest.skip(str(error))


def as_served(checkpoint: Checkpoint, precision: Precision = "fast") -> Decoder:
    """As a server on this machine decodes it."""
    try:
        library = load(cache_folder())
    except NoNativeStep:
        library = None
    return Decoder(checkpoint.config, checkpoint.weights, precision, library)


def exercise(library: Library, checkpoint: Checkpoint, rows: int, steps: int = 5) -> None:
    config = checkpoint.config
    engine = NativeEngine(library, config, checkpoint.weights)
    state = [np.zeros(shape, np.float32) for shape in config.state_shapes(rows)]
    if config.ngram_orders:
        state[-1].fill(NOTHING)
    rng = np.random.default_rng(rows)
    every = np.arange(rows)
    choices = Choices(
        rng.choice(np.array([0, 0.5, 1], np.float32), (steps, rows)),
        np.where(every % 3 == 1, 5, 0),
        np.where(every % 4 == 1, np.float32(0.9), np.float32(0)),
        styles=rng.random((rows, len(config.styles)), dtype=np.float32),
    )
    at = Rows(every % config.vocabulary_size, tuple(state))
    for _ in range(2):
        numbers = rng.random((steps, rows), dtype=np.float32)
        _, _, at = engine.advance(at, np.full((steps, rows), -1), numbers, choices)


def main() -> None:
    library = Library(Path(sys.argv[1]))
    for tiles in {library.tiles, False}:
        library.tiles = tiles
        for rows in (1, 2, 7, 17, 35):
            for hidden_size, orders in ((1, 0), (24, 6), (70, 0)):
                plain = toy_checkpoint(hidden_size=hidden_size, orders=orders)
                exercise(library, plain, rows)
                exercise(library, in_styles(plain, "austen", "verne"), rows)
    print("nothing found")  # noqa: T201


if __name__ == "__main__":
    main()
