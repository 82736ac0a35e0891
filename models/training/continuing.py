"""Fits a trained network to a text that has other characters.

Knows weights, vocabularies and a text; no job and no file.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.arrays import AnyIds, Floats, Ids
from models.config import INPUT_WEIGHTS, NetworkConfig, Weights, in_style
from models.text.corpus import Corpus
from models.text.vocab import Vocabulary
from models.training.network import CharNetwork

_COUNTED = 1 << 22
"""Characters of the beginning of a text that frequencies are taken from."""

_READ = (64, 32)
"""Characters in a row, and rows, that the network reads to see how large its logits are."""

_STD = 0.1
"""Standard deviation of a new character's weights, as a share of that of the known ones."""


def fitted(
    weights: Weights,
    config: NetworkConfig,
    known: Vocabulary,
    corpus: Corpus,
    seed: int,
    styles: Sequence[str] = (),
) -> Weights:
    """Returns weights for the characters and styles of a text, of a network that knows others.

    Characters that only the network knows are dropped: the text would teach it never to write them.
    Those that only the text has begin as likely as they are frequent, with small random weights.

    Args:
        weights: of the network.
        config: of the network; its n-gram table is ignored.
        known: the characters that it knows.
        corpus: the text.
        seed: of the random weights.
        styles: of the text. Those that the network does not know begin as none of its own.
    """
    of_styles = weights[INPUT_WEIGHTS][:, config.character_size :].T
    own = dict(zip(config.styles, of_styles, strict=True))
    config, weights = in_style(config, weights)
    if known == corpus.vocabulary:
        return _with_styles(weights, own, styles)
    ids = known.lookup(corpus.vocabulary.symbols)
    random = np.random.default_rng(seed)
    inputs, axis = ("embedding.weight", 0) if config.embedding_size else (INPUT_WEIGHTS, 1)
    fit = dict(weights)
    fit[inputs] = np.ascontiguousarray(
        np.moveaxis(_rows(np.moveaxis(weights[inputs], axis, 0), ids, random), 0, axis)
    )
    fit["output.weight"] = _rows(weights["output.weight"], ids, random)
    fit["output.bias"] = _bias(weights, config, known, corpus, ids)
    return _with_styles(fit, own, styles)


def _with_styles(fit: Weights, own: dict[str, Floats], styles: Sequence[str]) -> Weights:
    """Returns weights with a column for each style: its own, or none that changes anything."""
    if not styles:
        return fit
    characters = fit[INPUT_WEIGHTS]
    nothing = np.zeros(len(characters), np.float32)
    columns = [own.get(style, nothing) for style in styles]
    return fit | {INPUT_WEIGHTS: np.column_stack([characters, *columns])}


def _bias(
    weights: Weights, config: NetworkConfig, known: Vocabulary, corpus: Corpus, ids: Ids
) -> Floats:
    """Returns output biases, with which new characters are as likely as they are frequent."""
    is_new = ids < 0
    bias: Floats = weights["output.bias"][ids]
    if not is_new.any():
        return bias
    shares = _shares(corpus)
    new = shares[is_new]
    # Beside those that are known, whose logits stay.
    beside = max(1 - float(new.sum()), float(shares.min()))
    network = CharNetwork.of(config.beside(None), weights)
    bias[is_new] = np.log(new / beside) + _level(network, corpus.train, ids, known)
    return bias


def _rows(values: Floats, ids: Ids, random: np.random.Generator) -> Floats:
    """Returns the rows of ids, and random ones for those below 0."""
    rows = values[ids]
    is_new = ids < 0
    noise = random.normal(0, _STD * values.std(), (int(is_new.sum()), *values.shape[1:]))
    rows[is_new] = values.mean(axis=0) + noise
    return rows


def _shares(corpus: Corpus) -> NDArray[np.float64]:
    """Returns the share of each character, none of them 0."""
    part = corpus.train[:_COUNTED]
    counts = np.bincount(part, minlength=len(corpus.vocabulary)) + 0.5
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


@torch.no_grad()
def _level(network: CharNetwork, text: AnyIds, ids: Ids, known: Vocabulary) -> float:
    """Returns the mean of the logarithm of the sum of a network's exponentiated logits.

    Only of the logits of characters that the text has, while it reads the text; 0 without any.
    """
    kept = torch.from_numpy(ids[ids >= 0])
    if not len(kept):
        return 0.0
    length, rows = _READ
    rows = max(1, min(rows, len(text) // length))
    part = ids[text[: rows * length].astype(np.int64)].reshape(rows, -1).T
    read = np.where(part < 0, known.start_id, part)
    hidden, _ = network.read(torch.from_numpy(np.ascontiguousarray(read)))
    levels: list[Tensor] = [network.logits(step)[:, kept].logsumexp(-1).mean() for step in hidden]
    return float(torch.stack(levels).mean())
