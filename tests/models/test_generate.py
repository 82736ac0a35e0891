"""The slow way to write reads everything again for each character, and chooses as it should."""

import numpy as np
import pytest
import torch

from models.config import NetworkConfig
from models.decoding.sampling import SampleOptions, choose, uniforms
from models.options import NetworkKind
from models.styles import only
from models.training.generate import generate
from tests.networks import VOCABULARY, trained_like

PRIME = VOCABULARY.encode("abc")


@torch.no_grad()
@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_each_id_is_chosen_from_all_before_it(kind: NetworkKind, temperature: float) -> None:
    network = trained_like(NetworkConfig(len(VOCABULARY), kind, 2, 16))
    options = SampleOptions(seed=3, temperature=temperature, length=25, top_k=9)
    written = list(generate(network, VOCABULARY.start_id, PRIME, options))
    draws = uniforms(np.array([3], np.uint64), np.array([0], np.uint64), 25)[:, 0]
    read = [VOCABULARY.start_id, *PRIME.tolist()]
    for id_, uniform in zip(written, draws.tolist(), strict=True):
        logits, _ = network(torch.tensor(read)[:, None])
        assert id_ == choose(logits[-1, 0].numpy(), temperature, uniform, top_k=9)
        read.append(id_)


def test_a_text_is_its_seeds_and_begins_the_same_however_long() -> None:
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 1, 16))

    def text(seed: int, length: int) -> list[int]:
        options = SampleOptions(seed=seed, length=length)
        return list(generate(network, VOCABULARY.start_id, PRIME, options))

    assert text(1, 40) == text(1, 80)[:40]
    assert text(1, 40) != text(2, 40)
    assert text(1, 0) == []


def test_dropout_is_off_while_it_writes() -> None:
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 2, 16, dropout=0.5)).train()
    options = SampleOptions(seed=1, length=40)
    first, again = (list(generate(network, 0, PRIME, options)) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("styles", [(), ("a", "b")])
def test_training_goes_on_with_the_random_numbers_that_it_had(styles: tuple[str, ...]) -> None:
    """Whether or not a resume has to write the text again."""
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 2, 16, styles=styles))
    options = SampleOptions(seed=1, length=4, style=only(0, len(styles)))
    before = torch.get_rng_state()
    list(generate(network.without_table(), 0, PRIME, options))
    assert torch.equal(torch.get_rng_state(), before)
