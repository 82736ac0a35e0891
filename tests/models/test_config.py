"""A config is checked, and knows the shape of every tensor."""

from typing import Any

import pytest

from models.config import NetworkConfig, NetworkKind
from tests.toys import toy_checkpoint


@pytest.mark.parametrize(
    ("vocabulary", "hidden", "layers", "count"), [(65, 128, 2, 240_321), (78, 512, 3, 5_454_926)]
)
def test_it_counts_the_parameters_that_char_rnn_prints(
    vocabulary: int, hidden: int, layers: int, count: int
) -> None:
    assert NetworkConfig(vocabulary, "lstm", layers, hidden).parameters() == count


@pytest.mark.parametrize(
    "sizes",
    [
        {"vocabulary_size": 0},
        {"vocabulary_size": 65_537},
        {"num_layers": 9},
        {"hidden_size": 0},
        {"hidden_size": True},
        {"hidden_size": 8.0},
        {"embedding_size": -1},
        {"dropout": 1.0},
        {"dropout": float("nan")},
        {"kind": "transformer"},
    ],
    ids=str,
)
def test_sizes_out_of_range_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(sizes)).replace("kind", "network")):
        NetworkConfig(**{"vocabulary_size": 5} | sizes)


def test_sizes_up_to_their_bounds_are_taken() -> None:
    config = NetworkConfig(65_536, "rnn", 8, 4096, 1024, dropout=0.99)
    assert config.input_size == 1024
    assert NetworkConfig(1, "gru", 1, 1, 0).input_size == 1


@pytest.mark.parametrize(("kind", "gates"), [("lstm", 4), ("gru", 3), ("rnn", 1)])
def test_shapes_follow_the_gates(kind: NetworkKind, gates: int) -> None:
    """As torch has them, which tests of the network hold it to."""
    assert NetworkConfig(9, kind, 2, 5, embedding_size=3).shapes() == {
        "embedding.weight": (9, 3),
        "layers.0.weight_ih_l0": (gates * 5, 3),
        "layers.0.weight_hh_l0": (gates * 5, 5),
        "layers.0.bias_ih_l0": (gates * 5,),
        "layers.0.bias_hh_l0": (gates * 5,),
        "layers.1.weight_ih_l0": (gates * 5, 5),
        "layers.1.weight_hh_l0": (gates * 5, 5),
        "layers.1.bias_ih_l0": (gates * 5,),
        "layers.1.bias_hh_l0": (gates * 5,),
        "output.weight": (9, 5),
        "output.bias": (9,),
    }


def test_bytes_of_the_weights_are_those_of_their_arrays() -> None:
    for checkpoint in (toy_checkpoint(), toy_checkpoint(orders=3)):
        stored = sum(weight.nbytes for weight in checkpoint.weights.values())
        assert checkpoint.config.weight_bytes() == stored
