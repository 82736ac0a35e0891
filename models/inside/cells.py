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
from models.inside.hypotheses import HYPOTHESES, Hypothesis, Metric, Span, Target
from models.inside.passages import ENOUGH, Passage, Seamless, examples, others
from models.inside.reader import StateReader, Stopped
from models.inside.unseen import unseen_text

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

_HIGHEST = _LEVELS // 2 - 1
"""Level of an activation of 1."""

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
    """A hypothesis about a part of the text, which begins somewhere: its values, and the positions
    in the part that have one."""

    hypothesis: Hypothesis
    begin: int
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

    def levels(self, levels: Levels) -> Levels:
        """Returns a cell's levels at the positions, given those of the whole text."""
        return levels[self.begin + self.places]

    def rates(self, levels: Levels, threshold: float) -> tuple[float, float]:
        """Returns the shares of characters above a level where the hypothesis holds, and where it
        does not."""
        is_above = self.levels(levels) > threshold
        yes, no = (float(is_above[self.values == value].mean()) for value in (1, 0))
        return round(yes, 4), round(no, 4)


class CellScore(TypedDict):
    """A cell, by its index in its layer, and how well it tracks a hypothesis.

    Its activation times ``sign`` exceeds ``threshold`` times ``sign`` where it says yes; that
    is right for a share of the characters where the hypothesis holds, and wrong for one of those
    where it does not. All three are None for numbers.
    """

    layer: int
    cell: int
    score: float
    sign: int
    threshold: float | None
    true_positive_rate: float | None
    false_positive_rate: float | None


class Finding(TypedDict):
    """The cells that track a hypothesis, best first, with an excerpt read by the first.

    ``examples`` are the numbers of passages that it shows in.
    """

    name: str
    title: str
    metric: Metric
    cells: list[CellScore]
    excerpt: str
    activations: list[float]
    examples: list[int]


class Findings(TypedDict):
    """The hypotheses that some cell tracks, and the share of cells that track any.

    The share is None if there is too little text. The passages are of the second half of the text,
    on which the cells were scored.
    """

    hypotheses: list[Finding]
    share: float | None
    passages: list[Passage]


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
    text, ids, ends, parts = unseen_text(checkpoint, _most_bytes(checkpoint.config))
    if len(text) < MIN_CHARACTERS:
        return {"hypotheses": [], "share": None, "passages": []}
    half = len(text) // 2
    later = [_from_line(text, half, part) for part in parts if part.end > half]
    pairs = [_halves(hypothesis, text, parts, half) for hypothesis in HYPOTHESES]
    pairs = [(first, second) for first, second in pairs if first.shows and second.shows]
    if not pairs:
        return {"hypotheses": [], "share": 0.0, "passages": _Passages(text, later).listed()}
    firsts, seconds = [first for first, _ in pairs], [second for _, second in pairs]

    untrained = replace(checkpoint, weights=_shuffled(checkpoint.config, checkpoint.weights))
    chance = _effects(_levels(untrained, ids[: ends[half]], ends[:half], stopped), firsts, stopped)
    least = _least(np.abs(chance).max(axis=0), firsts)

    levels = _levels(checkpoint, ids, ends, stopped)
    picking = _effects(levels[:, :half], firsts, stopped)
    scoring = _effects(levels[:, half:], seconds, stopped)
    # In both halves, with the same sign.
    tracks = (np.abs(picking) >= least) & (scoring * np.sign(picking) >= least)
    passages = _Passages(text, later)
    found: list[Finding] = []
    for index in np.flatnonzero(tracks.any(axis=0)).tolist():
        scored = _best(np.where(tracks, picking, 0)[:, index], scoring[:, index])
        first, second = pairs[index]
        excerpt, shown = _excerpt(text, levels[scored[0][0]], scored[0][1], second, later)
        found.append(
            {
                "name": second.hypothesis.name,
                "title": second.hypothesis.title,
                "metric": second.hypothesis.metric,
                "cells": [
                    _score(checkpoint.config, cell, effect, levels[cell], (first, second))
                    for cell, effect in scored
                ],
                "excerpt": excerpt,
                "activations": shown,
                "examples": passages.of(second),
            }
        )
    share = float(tracks.any(axis=1).mean())
    return {"hypotheses": found, "share": share, "passages": passages.listed()}


def _best(picking: Floats, scoring: Floats) -> list[tuple[int, float]]:
    """Returns the cells with the strongest effects in one half, and their effects in the other,
    the strongest first; a picking effect of 0 is none."""
    merit = np.abs(picking)
    cells = np.argsort(-merit, kind="stable")[: min(TOP, np.count_nonzero(merit))]
    effects = scoring[cells]
    order = np.argsort(-np.abs(effects), kind="stable")
    return list(zip(cells[order].tolist(), effects[order].tolist(), strict=True))


class _Passages:
    """The passages of the second half that are shown, each once."""

    def __init__(self, text: str, parts: Sequence[Seamless]) -> None:
        self._text = text
        self._parts = parts
        self._numbers: dict[Span, int] = {}

    def of(self, sample: _Sample) -> list[int]:
        """Chooses passages for a hypothesis, and returns their numbers."""
        values = np.full(len(self._text), np.nan, np.float32)
        values[sample.begin + sample.places] = sample.values
        spans = examples(self._text, self._parts, values, sample.hypothesis)
        return [self._numbers.setdefault(span, len(self._numbers)) for span in spans]

    def listed(self) -> list[Passage]:
        """Returns them all, and some more."""
        taken = list(self._numbers)
        more = others(self._text, self._parts, taken, max(0, ENOUGH - len(taken)))
        return [self._passage(span) for span in [*taken, *more]]

    def _passage(self, span: Span) -> Passage:
        begin, end = span
        style = next(part.style for part in self._parts if part.begin <= begin < part.end)
        return {"text": self._text[begin:end], "style": style}


def _score(
    config: NetworkConfig, cell: int, effect: float, levels: Levels, halves: tuple[_Sample, _Sample]
) -> CellScore:
    """Returns what is told of a cell, given its levels in both halves of the text, one half after
    the other. An AUC of 0.5 is no effect, and one of 1 an effect of 1."""
    layer, place = divmod(cell, config.hidden_size)
    sign = 1 if effect > 0 else -1
    first, second = halves
    is_auc = second.hypothesis.metric == "auc"
    threshold, yes, no = None, None, None
    if is_auc:
        upright = levels * np.int16(sign)
        highest = _threshold(first.levels(upright), first.values)
        threshold = round(sign * highest / _HIGHEST, 4)
        yes, no = second.rates(upright, highest)
    return {
        "layer": layer,
        "cell": place,
        "score": round((1 + abs(effect)) / 2 if is_auc else abs(effect), 4),
        "sign": sign,
        "threshold": threshold,
        "true_positive_rate": yes,
        "false_positive_rate": no,
    }


def _threshold(levels: Levels, values: Target) -> float:
    """Returns the level above which a cell says yes: that of the largest difference between the
    rates of right and of wrong ones (Youden 1950), in the middle of those that are as good."""
    shifted = levels.astype(np.int64) + _LEVELS // 2
    yes, no = (
        np.cumsum(np.bincount(shifted[values == value], minlength=_LEVELS)) for value in (1, 0)
    )
    gain = no / no[-1] - yes / yes[-1]
    best = np.flatnonzero(gain == gain.max())
    return float(best[0] + best[-1]) / 2 - _LEVELS // 2 + 0.5


def _least(chance: Effects, samples: Sequence[_Sample]) -> Effects:
    """Returns the minimum effect, given the best that chance reached, [hypotheses]."""
    floors = [FLOORS[sample.hypothesis.metric] for sample in samples]
    return np.maximum(chance + MARGIN * (1 - chance), np.array(floors, np.float32))


def _from_line(text: str, begin: int, part: Seamless) -> Seamless:
    """Returns what a part has from a place on, beginning with a whole line if there is one."""
    if part.begin >= begin:
        return part
    line_end = text.find("\n", begin - 1, part.end)
    return part._replace(begin=begin if line_end < 0 else line_end + 1)


def _most_bytes(config: NetworkConfig) -> int:
    """Returns how much of the text is read of a network."""
    cells = config.num_layers * config.hidden_size
    return min(_MEMORY // (2 * cells), MAX_WORK // config.parameters())


def _halves(
    hypothesis: Hypothesis, text: str, parts: Sequence[Seamless], half: int
) -> tuple[_Sample, _Sample]:
    """Returns a hypothesis about each half, evaluated on whole parts: a quote may span the middle,
    but no seam."""
    values = np.concatenate([hypothesis.find(text[part.begin : part.end]) for part in parts])
    return _sample(hypothesis, values[:half], 0), _sample(hypothesis, values[half:], half)


def _sample(hypothesis: Hypothesis, values: Target, begin: int) -> _Sample:
    places = np.flatnonzero(~np.isnan(values))
    return _Sample(hypothesis, begin, places, values[places])


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
            levels = np.rint(cut * _HIGHEST).astype(np.int16)
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


def _excerpt(
    text: str, levels: Levels, effect: float, sample: _Sample, parts: Sequence[Seamless]
) -> tuple[str, list[float]]:
    """Returns the excerpt where a cell and its hypothesis covary most, with activations.

    Of the sample's part of the text, without a seam in it.
    """
    text, shown = text[sample.begin :], levels[sample.begin :]
    size = min(EXCERPT, len(text))
    kept = np.zeros((4, len(text)))
    a, y = shown[sample.places] * np.sign(effect) / _LEVELS, sample.values / sample.values.std()
    kept[:, sample.places] = np.ones(len(a)), a, y, a * y
    sums = np.pad(np.cumsum(kept, axis=1), ((0, 0), (1, 0)))
    count, sum_a, sum_y, sum_ay = sums[:, size:] - sums[:, :-size]
    covariance = sum_ay - sum_a * sum_y / np.maximum(count, 1)
    for part in parts[1:]:
        seam = part.begin - sample.begin
        covariance[max(0, seam - size + 1) : seam] = -np.inf
    starts = np.flatnonzero([True, *(c == "\n" for c in text[: len(text) - size])])
    if len(starts) < 2:
        starts = np.arange(len(covariance))
    begin = int(starts[np.argmax(covariance[starts])])
    part_shown = shown[begin : begin + size]
    return text[begin : begin + size], np.round(part_shown / _HIGHEST, 2).tolist()
