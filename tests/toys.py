"""Small networks with opinions, made without training."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyInts, Ids
from models.checkpoints.card import Card
from models.checkpoints.format import Checkpoint
from models.config import INPUT_WEIGHTS, NetworkConfig, Weights
from models.decoding.decoder import Decoder
from models.decoding.graph import Precision
from models.decoding.sampling import SampleOptions, choose, uniforms
from models.ngram import NGram
from models.ngram_table import NGramTable
from models.options import NetworkKind
from models.text.vocab import Vocabulary
from models.training.counting import count

ALPHABET = Vocabulary("characters", [0x0A, 0x20, *range(0x61, 0x7B), 0x3042])

BYTES = Vocabulary("bytes", [0x0A, 0x41, 0x81, 0x82, 0xE3])
"""A, line ends and the bytes of あ, some of whose orders are not UTF-8."""


def toy_checkpoint(
    kind: NetworkKind = "lstm",
    hidden_size: int = 24,
    vocabulary: Vocabulary = ALPHABET,
    seed: int = 0,
    orders: int = 0,
    **card: Any,
) -> Checkpoint:
    """Random weights, the output's drawn large: flat guesses would not tell temperatures apart.

    With ``orders`` above 0 there is an n-gram table for contexts of up to so many ids.
    """
    config = NetworkConfig(len(vocabulary), kind, 2, hidden_size)
    rng = np.random.default_rng(seed)
    weights = {
        name: rng.normal(0, 1.5 if name.startswith("output") else 0.4, shape).astype(np.float32)
        for name, shape in config.shapes().items()
    }
    text = b"the quick fox\n"
    known = text if set(text) <= set(vocabulary.symbols.tolist()) else b""
    told = cast(Card, {"val_loss": 2.0} | card)
    checkpoint = Checkpoint(config, vocabulary, weights, told, [], known)
    return with_table(checkpoint, orders) if orders else checkpoint


def with_table(checkpoint: Checkpoint, orders: int = 3) -> Checkpoint:
    """The same network beside a ``toy_table``, with gates that depend on what it read."""
    table = toy_table(len(checkpoint.vocabulary), orders)
    config = checkpoint.config.beside(table)
    gates = np.random.default_rng(0).normal(0, 0.4, (2, config.hidden_size + 1)).astype(np.float32)
    weights: Weights = {
        "gates.weight": gates[:, 1:],
        "gates.bias": gates[:, 0] + np.array([1, 0.5], np.float32),
    }
    return replace(
        checkpoint, config=config, weights=checkpoint.weights | weights | table.tensors()
    )


def in_styles(checkpoint: Checkpoint, *styles: str) -> Checkpoint:
    """The same network, with a column for each style."""
    config = replace(checkpoint.config, styles=styles)
    before = checkpoint.weights[INPUT_WEIGHTS]
    columns = np.random.default_rng(3).normal(0, 1.5, (len(before), len(styles)))
    wider = np.column_stack([before, columns.astype(np.float32)])
    return replace(checkpoint, config=config, weights=checkpoint.weights | {INPUT_WEIGHTS: wider})


def toy_table(vocabulary_size: int, orders: int = 3) -> NGramTable:
    """An n-gram table counted from ``wordy`` ids: contexts of each length, and many unknown.

    Those of more than 4 ids have lists, and those of more than 2 if there are many ids.
    """
    ids = wordy(vocabulary_size, 4000)
    return count(ids, vocabulary_size, orders, most_buckets=500, lists_from=0).table


def wordy(vocabulary_size: int, length: int, seed: int = 0) -> Ids:
    """Ids that a ``toy_table`` knows much about: the same forty words in an order by the seed."""
    language = np.random.default_rng(0)
    words = [language.integers(vocabulary_size, size=2 + at % 7) for at in range(40)]
    drawn = np.random.default_rng(seed).integers(len(words), size=length)
    return np.concatenate([words[at] for at in drawn])[:length]


def toy_decoder(checkpoint: Checkpoint, precision: Precision = "exact") -> Decoder:
    return Decoder(checkpoint.config, checkpoint.weights, precision)


def babble(length: int, seed: int = 0) -> NDArray[np.uint8]:
    """Lines of made-up words, each of which likes some words after it; 29 distinct ids."""
    language = np.random.default_rng(0)
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    words = [
        "".join(language.choice(list(letters[: 6 + i // 20]), size=language.integers(1, 9)))
        + (".\n" if i % 7 == 3 else " ")
        for i in range(400)
    ]
    successors = language.integers(0, len(words), size=(len(words), 30)).tolist()
    ranks = np.minimum(np.random.default_rng(seed).zipf(1.5, size=length // 2), 30)
    text, word = [], 0
    for rank in ranks.tolist():
        text.append(words[word])
        word = successors[word][rank - 1]
    symbols = {c: i for i, c in enumerate("\n ." + letters)}
    return np.array([symbols[c] for c in "".join(text)[:length]], dtype=np.uint8)


def counted_text(
    model: NGram, start_id: int, prime: Sequence[int] | AnyInts, options: SampleOptions
) -> Iterator[int]:
    """The ids that an n-gram model writes, one at a time: the slow, obvious way."""
    history = [start_id, *prime]
    draws = uniforms(np.array([options.seed], np.uint64), np.array([0], np.uint64), options.length)
    for uniform in draws[:, 0].tolist():
        logits = np.log(model.next_distribution(history)).astype(np.float32)
        chosen = choose(logits, options.temperatures[0], uniform, options.top_k, options.top_p)
        yield chosen
        history.append(chosen)
