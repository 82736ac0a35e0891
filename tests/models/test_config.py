"""A config is checked, and knows the shape of every tensor."""

import json
from typing import Any

import pytest

from models.config import NetworkConfig
from models.options import NetworkKind
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
        {"ngram_buckets": 5},
        {"ngram_buckets": None},
        {"ngram_buckets": "5"},
        {"ngram_buckets": {"5": 5}},
        {"ngram_buckets": [0]},
        {"ngram_buckets": [5, -1]},
        {"ngram_buckets": [5.0]},
        {"ngram_buckets": [True]},
        {"ngram_buckets": [[5]]},
        {"ngram_buckets": [(1 << 22) + 1]},
        {"ngram_buckets": [1 << 64]},
        {"ngram_buckets": [1 << 21, 1 << 21, 1]},
        {"ngram_buckets": [1] * 17},
        {"ngram_buckets": [1] * 1_000_000},
        {"ngram_long_buckets": [1]},
        {"ngram_long_buckets": [1] * 6, "ngram_buckets": [1]},
        {"ngram_long_buckets": [0], "ngram_buckets": [1]},
        {"ngram_long_buckets": 1, "ngram_buckets": [1]},
        {"ngram_long_buckets": [1 << 21, 1 << 21, 1], "ngram_buckets": [1]},
    ],
    ids=lambda sizes: str(sizes)[:60],
)
def test_sizes_out_of_range_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(sizes)).replace("kind", "network")):
        NetworkConfig(**{"vocabulary_size": 5} | sizes)


def test_sizes_up_to_their_bounds_are_taken() -> None:
    config = NetworkConfig(65_536, "rnn", 8, 4096, 1024, dropout=0.99)
    assert config.input_size == 1024
    assert NetworkConfig(1, "gru", 1, 1, 0).input_size == 1
    assert NetworkConfig(5, ngram_buckets=(1,) * 16).ngram_orders == 16
    assert NetworkConfig(5, ngram_buckets=(1,) * 4, ngram_long_buckets=(1,) * 5).ngram_orders == 16
    assert NetworkConfig(5, ngram_buckets=(1 << 21, 1 << 21)).table_bytes() == (1 + (1 << 22)) * 9


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


def test_a_table_has_gates_and_tensors_beside() -> None:
    plain, counted = NetworkConfig(9), NetworkConfig(9, ngram_buckets=(4, 7))
    assert counted.table_shapes() == {"ngram.hashes": (12,), "ngram.rows": (12, 9)}
    gates = {"gates.weight": (2, 128), "gates.bias": (2,)}
    assert counted.shapes() == plain.shapes() | gates
    assert counted.parameters() == plain.parameters() + 2 * 128 + 2
    assert counted.table_bytes() == 12 * (4 + 9)
    longer = NetworkConfig(9, ngram_buckets=(4, 7), ngram_long_buckets=(5, 3))
    assert longer.table_shapes() == {
        "ngram.hashes": (20,),
        "ngram.rows": (12, 9),
        "ngram.followers": (9, 6),
        "ngram.boosts": (9, 6),
    }
    assert longer.table_bytes() == 20 * 4 + 12 * 9 + 9 * 6 * 2
    assert longer.ngram_lengths == (1, 2, 3, 4)
    assert plain.table_shapes() == {}
    assert plain.table_bytes() == plain.ngram_orders == 0


def test_json_of_a_network_without_a_table_is_as_it_was() -> None:
    """Earlier releases read it, and name it the same."""
    plain, counted = NetworkConfig(9), NetworkConfig(9, ngram_buckets=(4, 7))
    longer = NetworkConfig(9, ngram_buckets=(4, 7), ngram_long_buckets=(5, 3))
    assert not any("ngram" in name for name in plain.to_json())
    for config in (plain, counted, longer):
        assert NetworkConfig(**json.loads(json.dumps(config.to_json()))) == config


def test_bytes_of_the_weights_are_those_of_their_arrays() -> None:
    for checkpoint in (toy_checkpoint(), toy_checkpoint(orders=3), toy_checkpoint(orders=8)):
        stored = sum(weight.nbytes for weight in checkpoint.weights.values())
        assert checkpoint.config.weight_bytes() == stored
