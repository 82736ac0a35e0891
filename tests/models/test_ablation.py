"""A network without some cells writes as if nothing ever heard of them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from models.decoding.sampling import SampleOptions
from models.inside.ablation import ablate, switched_off
from models.inside.reader import Stopped, trace
from models.options import NetworkKind
from tests.planted import QUOTES, made, planted
from tests.toys import ALPHABET, toy_checkpoint, with_table

OPTIONS = SampleOptions(seed=3, length=60)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("layer", [0, 1])
def test_nothing_listens_to_a_cell_that_is_off(kind: NetworkKind, layer: int) -> None:
    """Whatever comes in at the cell, the network says the same."""
    checkpoint = with_table(toy_checkpoint(kind))
    off = switched_off(checkpoint.config, checkpoint.weights, layer, [5])
    deaf = {name: weight.copy() for name, weight in off.items()}
    size = checkpoint.config.hidden_size
    for name in (f"layers.{layer}.bias_ih_l0", f"layers.{layer}.bias_hh_l0"):
        deaf[name][5::size] += 7
    said = [
        trace(replace(checkpoint, weights=weights), "the quick fox", layer=layer, cells=[5, 6])
        for weights in (off, deaf)
    ]
    assert np.array_equal(said[0].losses, said[1].losses)
    assert np.array_equal(said[0].activations[:, 1], said[1].activations[:, 1])
    assert not np.array_equal(said[0].activations[:, 0], said[1].activations[:, 0])
    whole = trace(checkpoint, "the quick fox")
    assert not np.array_equal(said[0].losses, whole.losses)


def test_the_whole_network_writes_what_it_writes() -> None:
    checkpoint = toy_checkpoint()
    prime = ALPHABET.encode("the ")
    found = ablate(checkpoint, 1, [5], prime, OPTIONS)
    assert len(found.whole) == len(found.ablated) == 60
    assert found.whole != found.ablated
    assert found == ablate(checkpoint, 1, [5], prime, OPTIONS)
    assert ablate(checkpoint, 1, [0], prime, OPTIONS).whole == found.whole


def test_cells_that_nobody_heard_are_not_missed() -> None:
    checkpoint = made(planted(), "")
    checkpoint.weights["output.weight"][:, QUOTES] = 0
    found = ablate(checkpoint, 0, [QUOTES], np.empty(0, np.int64), OPTIONS)
    assert found.whole == found.ablated


def test_it_can_be_ended() -> None:
    answers = itertools.chain([False], itertools.repeat(True))
    with pytest.raises(Stopped):
        ablate(toy_checkpoint(), 0, [0], ALPHABET.encode("a"), OPTIONS, lambda: next(answers))
