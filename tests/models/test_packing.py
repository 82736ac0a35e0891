"""Weights are laid out as the native step reads them, or refused."""

import math

import numpy as np
import pytest

from models.config import NetworkConfig, Weights
from models.decoding.decoder import Decoder
from models.decoding.graph import NOT_FINITE
from models.decoding.native.library import Library
from models.decoding.native.packing import MOST_FIRST, is_packable
from tests.compiled import native_step
from tests.networks import trained_like, warm, weights_of
from tests.toys import toy_checkpoint


@pytest.fixture(scope="module")
def library() -> Library:
    return native_step()


def network(
    hidden_size: int, embedding_size: int = 0, orders: int = 0, vocabulary_size: int = 28
) -> tuple[NetworkConfig, Weights]:
    config = NetworkConfig(vocabulary_size, "lstm", 2, hidden_size, embedding_size)
    made = trained_like(config, orders)
    return made.config, weights_of(made)


@pytest.mark.parametrize("value", [math.nan, math.inf, 3e38])
def test_hostile_weights_end_in_no_crash(value: float, library: Library) -> None:
    """A row is reported as broken, or continues with ids of the vocabulary."""
    config, weights = network(20, 5, 6)
    forced, numbers = np.full((6, 3), -1), np.full((6, 3), 0.9, np.float32)
    for name in config.shapes():
        hostile = np.full(weights[name].shape, value, np.float32)
        with np.errstate(all="ignore"):
            decoder = Decoder(config, weights | {name: hostile}, "fast", library)
        chosen, _, rows = decoder.advance(
            decoder.start(np.arange(3)), forced, numbers, warm(3, 5, 0.9)
        )
        assert ((chosen >= NOT_FINITE) & (chosen < config.vocabulary_size)).all()
        assert ((rows.ids >= 0) & (rows.ids < config.vocabulary_size)).all()
        if math.isnan(value):
            assert (chosen == NOT_FINITE).all(), name


def test_others_are_left_to_onnx_runtime(library: Library) -> None:
    """Other kinds and precisions, and a table of ids far larger than its embedding."""
    lstm = toy_checkpoint()
    assert Decoder(lstm.config, lstm.weights, "fast", library).arithmetic == "native"
    assert Decoder(lstm.config, lstm.weights, "exact", library).arithmetic == "onnxruntime"
    assert Decoder(lstm.config, lstm.weights, "fast").arithmetic == "onnxruntime"
    gru = toy_checkpoint("gru")
    assert Decoder(gru.config, gru.weights, "exact", library).arithmetic == "onnxruntime"
    huge = NetworkConfig(65_536, "lstm", 1, 1024, 1)
    assert 4 * huge.vocabulary_size * 4 * huge.hidden_size > MOST_FIRST
    assert not is_packable(huge)
