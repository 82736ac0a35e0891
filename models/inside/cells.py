"""Searches for cells that keep track of something, as Karpathy's essay did by eye (2015).

Every cell's activations over held-out text are compared with every hypothesis about the text
(``models.inside.hypotheses``). Among a thousand cells some agree with anything by chance. So cells
are selected on the first half of the text and scored on the second, and in both halves a score must
beat the best cell of the same network with shuffled weights, whose cells are driven as hard by
their inputs but have learned nothing.

Knows checkpoints; no file and no client.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from models.arrays import Floats, Ids
from models.checkpoints.format import Checkpoint
from models.config import GATES, NetworkConfig, Weights
from models.inside.hypotheses import HYPOTHESES, Hypothesis, Metric, Target
from models.inside.reader import StateReader, Stopped, character_ends

TOP = 10
"""Maximum number of cells reported for a hypothesis."""

FLOORS = {"auc": 0.7, "correlation": 0.6}
"""Minimum effects, whatever chance reaches (an AUC of 0.85 is an effect of 0.7)."""

MARGIN = 0.5
"""Share of the way from chance's best score to 1 that a score must exceed it by."""

MIN_EPISODES = 8
"""Minimum number of beginnings in each half: a cell may agree with fewer by chance."""

MIN_COUNT = 40
"""Minimum number of characters in each half for which a hypothesis holds, and does not."""

MIN_CHARACTERS = 2000
"""Minimum length of a text."""

EXCERPT = 160

_ROWS = 32
_WARM = 512
"""Characters that a row reads before those that count, to warm up from the zero state."""

_LEVELS = 4096
"""Number of levels in [−1, 1] that activations are rounded to."""

_MEMORY = 256 << 20
"""Maximum size of the activations in memory, in bytes."""

MAX_WORK = 4 * 10**12
"""Most characters times parameters that are read: of a large network's text only the beginning."""

_CELLS_AT_ONCE = 64

Levels = NDArray[np.int16]
"""Activations by cell, [cells, characters], in units of 2 / ``_LEVELS``."""

Effects = NDArray[np.float32]
"""Agreement of cells with hypotheses, [cells, hypotheses], from −1 to 1; 0 is chance."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """A hypothesis about a part of the text: its values, and the positions that have one."""

    hypothesis: Hypothesis
    places: Ids
    values: Target

    @property
    def shows(self) -> bool:
        """Whether there is enough of it to distinguish a cell from chance."""
        if not len(self.values):
            return False
        high = self.values > self.values.mean()
        episodes = np.count_nonzero(high[1:] & ~high[:-1])
        fewest = min(np.count_nonzero(high), np.count_nonzero(~high))
        return bool(fewest >= MIN_COUNT and episodes >= MIN_EPISODES)


class CellScore(TypedDict):
    """A cell, by its index in its layer, and how well it tracks a hypothesis."""

    layer: int
    cell: int
    score: float
    sign: int


class Finding(TypedDict):
    """The cells that track a hypothesis, best first, with an excerpt read by the first."""

    name: str
    title: str
    metric: Metric
    cells: list[CellScore]
    excerpt: str
    activations: list[float]


class Findings(TypedDict):
    """The hypotheses that some cell tracks, and the share of cells that track any.

    The share is None if there is too little text.
    """

    hypotheses: list[Finding]
    share: float | None


def find_cells(checkpoint: Checkpoint, stopped: Callable[[], bool] = lambda: False) -> Findings:
    """Searches a network's cells on the validation text in its checkpoint.

    Activations are ``tanh(c)`` for an LSTM, else h, after each character; in a bytes model after
    its last byte. A score is the area under the ROC curve for yes or no, or the absolute rank
    correlation for numbers. A cell may be low where the hypothesis is high: then its ``sign`` is −1
    and its score that of the negated cell.

    Returns:
        The findings; excerpts are from the second half.

    Raises:
        Stopped: ``stopped``, which is called regularly, returned true.
        FloatingPointError: activations are not finite.
    """
    text, ids, ends = _held_out(checkpoint)
    if len(text) < MIN_CHARACTERS:
        return {"hypotheses": [], "share": None}
    half = len(text) // 2
    pairs = [_halves(hypothesis, text, half) for hypothesis in HYPOTHESES]
    pairs = [(first, second) for first, second in pairs if first.shows and second.shows]
    if not pairs:
        return {"hypotheses": [], "share": 0.0}
    firsts, seconds = [first for first, _ in pairs], [second for _, second in pairs]

    untrained = replace(checkpoint, weights=_shuffled(checkpoint.config, checkpoint.weights))
    chance = _effects(_levels(untrained, ids[: ends[half]], ends[:half], stopped), firsts, stopped)
    least = _least(np.abs(chance).max(axis=0), firsts)

    levels = _levels(checkpoint, ids, ends, stopped)
    picking = _effects(levels[:, :half], firsts, stopped)
    scoring = _effects(levels[:, half:], seconds, stopped)
    # In both halves, with the same sign.
    tracks = (np.abs(picking) >= least) & (scoring * np.sign(picking) >= least)
    found: list[Finding] = []
    for index in np.flatnonzero(tracks.any(axis=0)).tolist():
        merit = np.where(tracks[:, index], np.abs(picking[:, index]), 0)
        cells = np.argsort(-merit, kind="stable")[: min(TOP, np.count_nonzero(merit))]
        effects = scoring[cells, index]
        order = np.argsort(-np.abs(effects), kind="stable")
        cells, effects = cells[order], effects[order]
        second = seconds[index]
        excerpt, shown = _excerpt(text[half:], levels[cells[0], half:], effects[0], second)
        found.append(
            {
                "name": second.hypothesis.name,
                "title": second.hypothesis.title,
                "metric": second.hypothesis.metric,
                "cells": _scores(checkpoint.config, second.hypothesis.metric, cells, effects),
                "excerpt": excerpt,
                "activations": shown,
            }
        )
    return {"hypotheses": found, "share": float(tracks.any(axis=1).mean())}


def _scores(config: NetworkConfig, metric: Metric, cells: Ids, effects: Effects) -> list[CellScore]:
    scores: list[CellScore] = []
    for cell, effect in zip(cells.tolist(), effects.tolist(), strict=True):
        layer, place = divmod(cell, config.hidden_size)
        score = round(_score(metric, abs(effect)), 4)
        sign = 1 if effect > 0 else -1
        scores.append({"layer": layer, "cell": place, "score": score, "sign": sign})
    return scores


def _score(metric: Metric, effect: float) -> float:
    """Converts an effect to a score: an AUC of 0.5 is no effect, and one of 1 is an effect of 1."""
    return (1 + effect) / 2 if metric == "auc" else effect


def _least(chance: Effects, samples: Sequence[_Sample]) -> Effects:
    """Returns the minimum effect, given the best that chance reached, [hypotheses]."""
    floors = [FLOORS[sample.hypothesis.metric] for sample in samples]
    return np.maximum(chance + MARGIN * (1 - chance), np.array(floors, np.float32))


def _held_out(checkpoint: Checkpoint) -> tuple[str, Ids, Ids]:
    """Returns the validation text, its ids and the index of each character's last id.

    Unknown characters are left out: the text may come from another corpus.
    """
    vocabulary, config = checkpoint.vocabulary, checkpoint.config
    most = min(
        _MEMORY // (2 * config.num_layers * config.hidden_size), MAX_WORK // config.parameters()
    )
    data = checkpoint.validation[:most]
    if vocabulary.tokens == "bytes":
        ids = vocabulary.lookup(np.frombuffer(data, np.uint8))
        ids = ids[ids >= 0]
        data = vocabulary.symbols[ids].astype(np.uint8).tobytes()
        text = data.decode("utf-8", "surrogateescape")
        ends = character_ends(vocabulary, text)
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), ids, ends
    points = np.frombuffer(data.decode("utf-8", "ignore").encode("utf-32-le"), "<u4")
    ids = vocabulary.lookup(points)
    text = points[ids >= 0].tobytes().decode("utf-32-le")
    return text, ids[ids >= 0], np.arange(len(text))


def _halves(hypothesis: Hypothesis, text: str, half: int) -> tuple[_Sample, _Sample]:
    """Returns a hypothesis about each half, evaluated on the whole: a quote may span the middle."""
    values = hypothesis.find(text)
    return _sample(hypothesis, values[:half]), _sample(hypothesis, values[half:])


def _sample(hypothesis: Hypothesis, values: Target) -> _Sample:
    places = np.flatnonzero(~np.isnan(values))
    return _Sample(hypothesis, places, values[places])


def _shuffled(config: NetworkConfig, weights: Weights) -> Weights:
    """Shuffles each gate's weights among themselves."""
    rng = np.random.default_rng(0)
    found: Weights = {}
    # Sorted: the order of a file's tensors differs each time that it is read.
    for name, weight in sorted(weights.items()):
        if name.startswith("layers."):
            gates = weight.reshape(GATES[config.kind], -1)
            weight = rng.permuted(gates, axis=1).reshape(weight.shape)
        found[name] = weight
    return found


def _levels(checkpoint: Checkpoint, ids: Ids, ends: Ids, stopped: Callable[[], bool]) -> Levels:
    """Returns each cell's level after each character.

    The text is read as rows side by side, which takes a fraction of the time. Each row begins a
    little before its part, the first one with the end of the text, so that its cells are warm.
    """
    config = checkpoint.config
    rows = max(1, min(_ROWS, len(ids) // (2 * _WARM)))
    length = -(-len(ids) // rows)
    places = np.arange(-_WARM, length)[:, None] + length * np.arange(rows)
    kept = np.empty((config.num_layers, config.hidden_size, rows, length), np.int16)

    def seen(layer: int, begin: int, _: Floats, shown: Floats) -> None:
        if stopped():
            raise Stopped
        if not np.isfinite(shown).all():
            raise FloatingPointError("activations are not finite")
        first = max(0, begin - _WARM)
        cut = shown[first + _WARM - begin :] if first + _WARM > begin else shown
        if begin + len(shown) > _WARM:
            levels = np.rint(cut * (_LEVELS // 2 - 1)).astype(np.int16)
            kept[layer, :, :, first : first + len(cut)] = levels.transpose(2, 1, 0)

    StateReader(config, checkpoint.weights).read(ids[places % len(ids)], seen)
    every = kept.reshape(config.num_layers * config.hidden_size, -1)
    return every[:, : len(ids)] if len(ends) == len(ids) else every[:, ends]


def _effects(levels: Levels, samples: Sequence[_Sample], stopped: Callable[[], bool]) -> Effects:
    """Returns how each cell agrees with each hypothesis: 2 × AUC − 1, or Spearman's correlation.

    Both are linear in the cell's ranks (for the AUC: Mann & Whitney 1947), so one matrix product
    computes all hypotheses that have values at the same positions.
    """
    effects = np.empty((len(levels), len(samples)), np.float32)
    groups: dict[bytes, list[int]] = {}
    for index, sample in enumerate(samples):
        groups.setdefault(sample.places.tobytes(), []).append(index)
    for indices in groups.values():
        places = samples[indices[0]].places
        columns = np.stack([_column(samples[index]) for index in indices], axis=1)
        by_spread = [samples[index].hypothesis.metric == "correlation" for index in indices]
        for begin in range(0, len(levels), _CELLS_AT_ONCE):
            if stopped():
                raise Stopped
            ranks = np.stack(
                [_ranks(row) for row in levels[begin : begin + _CELLS_AT_ONCE, places]]
            )
            spread = np.linalg.norm(ranks, axis=1, keepdims=True)
            # A constant cell agrees with nothing.
            found = ranks @ columns / np.where(by_spread, np.maximum(spread, 1e-12), 1)
            effects[begin : begin + len(ranks), indices] = found
    return effects


def _ranks(levels: Levels) -> Floats:
    """Returns ranks from −1/2 to 1/2, equal values getting their mean rank; [n]."""
    shifted = levels + np.int16(_LEVELS // 2)
    counts = np.bincount(shifted, minlength=_LEVELS)
    middle = ((np.cumsum(counts) - counts / 2) / len(levels) - 0.5).astype(np.float32)
    ranks: Floats = middle[shifted]
    return ranks


def _column(sample: _Sample) -> Floats:
    """Returns the factors that turn a cell's ranks into its effect, [n]."""
    values = sample.values
    if sample.hypothesis.metric == "auc":
        yes = np.count_nonzero(values)
        return (values * (2 * len(values) / (yes * (len(values) - yes)))).astype(np.float32)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = ((np.cumsum(counts) - counts / 2) / len(values) - 0.5)[inverse]
    return (middle / np.linalg.norm(middle)).astype(np.float32)


def _excerpt(text: str, shown: Levels, effect: float, sample: _Sample) -> tuple[str, list[float]]:
    """Returns the excerpt where a cell and its hypothesis covary most, with activations."""
    size = min(EXCERPT, len(text))
    kept = np.zeros((4, len(text)))
    a, y = shown[sample.places] * np.sign(effect) / _LEVELS, sample.values / sample.values.std()
    kept[:, sample.places] = np.ones(len(a)), a, y, a * y
    sums = np.pad(np.cumsum(kept, axis=1), ((0, 0), (1, 0)))
    count, sum_a, sum_y, sum_ay = sums[:, size:] - sums[:, :-size]
    covariance = sum_ay - sum_a * sum_y / np.maximum(count, 1)
    starts = np.flatnonzero([True, *(c == "\n" for c in text[: len(text) - size])])
    if len(starts) < 2:
        starts = np.arange(len(covariance))
    begin = int(starts[np.argmax(covariance[starts])])
    part = slice(begin, begin + size)
    return text[part], np.round(shown[part] / (_LEVELS // 2 - 1), 2).tolist()
