"""A trained network is fitted to a text with other characters."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.config import NetworkConfig, Weights
from models.text.corpus import Corpus, encode, scan
from models.text.vocab import Vocabulary
from models.training.continuing import fitted
from models.training.network import CharNetwork

KNOWN = Vocabulary("characters", [ord(c) for c in "\n abcdeq"])
TEXT = "abe bad cäb dab xbcd ecba\n" * 40


def corpus_of(folder: Path, text: str) -> Corpus:
    path = folder / "text"
    path.write_text(text)
    vocabulary = scan(path).vocabulary
    encode(path, vocabulary, folder / "ids")
    return Corpus.open(folder / "ids", vocabulary, 0.1)


def trained(embedding: int) -> tuple[NetworkConfig, Weights]:
    config = NetworkConfig(len(KNOWN), num_layers=1, hidden_size=16, embedding_size=embedding)
    torch.manual_seed(1)
    weights = CharNetwork(config).export()
    weights["output.bias"] = np.arange(len(KNOWN), dtype=np.float32)
    return config, weights


@pytest.mark.parametrize("embedding", [0, 5])
def test_characters_that_both_have_keep_their_weights(tmp_path: Path, embedding: int) -> None:
    config, weights = trained(embedding)
    corpus = corpus_of(tmp_path, TEXT)
    fit = fitted(weights, config, KNOWN, corpus, seed=3)
    new = replace(config, vocabulary_size=len(corpus.vocabulary))
    assert {name: value.shape for name, value in fit.items()} == new.shapes()
    assert all(value.dtype == np.float32 for value in fit.values())
    inputs = fit["embedding.weight"] if embedding else fit["layers.0.weight_ih_l0"].T
    before = weights["embedding.weight"] if embedding else weights["layers.0.weight_ih_l0"].T
    for character in "\n abcde":
        here = corpus.vocabulary.encode(character)[0]
        there = KNOWN.encode(character)[0]
        assert np.array_equal(inputs[here], before[there])
        assert np.array_equal(fit["output.weight"][here], weights["output.weight"][there])
        assert fit["output.bias"][here] == weights["output.bias"][there]
    again = fitted(weights, config, KNOWN, corpus, seed=3)
    assert all(np.array_equal(fit[name], again[name]) for name in fit)
    other = fitted(weights, config, KNOWN, corpus, seed=4)["output.weight"]
    assert not np.array_equal(fit["output.weight"], other)


def test_new_characters_are_as_likely_as_they_are_frequent(tmp_path: Path) -> None:
    config, weights = trained(0)
    corpus = corpus_of(tmp_path, TEXT)
    fit = fitted(weights, config, KNOWN, corpus, seed=3)
    network = CharNetwork.of(replace(config, vocabulary_size=len(corpus.vocabulary)), fit)
    ids = torch.from_numpy(corpus.train[:900].astype(np.int64))[:, None]
    with torch.no_grad():
        shares = network(ids)[0].softmax(-1).mean((0, 1))
    for character in "äx":
        id_ = corpus.vocabulary.encode(character)[0]
        assert float(shares[id_]) == pytest.approx(1 / 26, rel=0.5)


def test_the_same_vocabulary_changes_nothing(tmp_path: Path) -> None:
    config, weights = trained(0)
    corpus = corpus_of(tmp_path, "abcdeq bad\n" * 40)
    assert fitted(weights, config, KNOWN, corpus, seed=3) is weights
