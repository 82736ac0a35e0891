"""A portrait of one cell: its activations on the passages of unseen text, and where they are
highest and lowest.

Knows checkpoints and findings; no file and no client.
"""

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np

from models.arrays import Floats
from models.checkpoints.format import Checkpoint
from models.inside.cells import CellScore, Finding, Findings
from models.inside.hypotheses import HYPOTHESES, Find, Metric
from models.inside.passages import borders
from models.inside.reader import read_apart

BINS = 20
"""Of a histogram, from −1 to 1."""

STRETCHES = 3
SHORTEST_STRETCH, LONGEST_STRETCH = 60, 160
"""Characters of a stretch; a passage may end sooner."""


class Stretch(TypedDict):
    """Some lines of a passage, with the cell's activation after each character."""

    text: str
    activations: list[float]


class Tracked(CellScore):
    """A hypothesis that the cell tracks, and how many characters have it in each bin.

    ``counts`` is None for numbers.
    """

    name: str
    title: str
    metric: Metric
    counts: list[int] | None


class Portrait(TypedDict):
    """``counts`` are the characters in each bin; stretches are each from another passage."""

    layer: int
    cell: int
    tracks: list[Tracked]
    counts: list[int]
    excited: list[Stretch]
    quiet: list[Stretch]


def portrait(
    checkpoint: Checkpoint,
    findings: Findings,
    layer: int,
    cell: int,
    stopped: Callable[[], bool] = lambda: False,
) -> Portrait:
    """Reads the passages of a model's findings, each from the zero state, and describes a cell.

    Raises:
        Stopped: ``stopped`` returned true.
        FloatingPointError: activations are not finite.
    """
    texts = [passage["text"] for passage in findings["passages"]]
    shown = read_apart(checkpoint, texts, layer, cell, stopped)
    tracks = [
        _tracked(one, score, texts, shown)
        for one in findings["hypotheses"]
        for score in one["cells"]
        if (score["layer"], score["cell"]) == (layer, cell)
    ]
    return {
        "layer": layer,
        "cell": cell,
        "tracks": tracks,
        "counts": _counts(np.concatenate([np.empty(0, np.float32), *shown])),
        "excited": _stretches(texts, shown),
        "quiet": _stretches(texts, [-values for values in shown], -1),
    }


def _tracked(
    finding: Finding, score: CellScore, texts: Sequence[str], shown: Sequence[Floats]
) -> Tracked:
    counts = None
    find = _find(finding["name"])
    if finding["metric"] == "auc" and find:
        holds = [values[find(text) == 1] for text, values in zip(texts, shown, strict=True)]
        counts = _counts(np.concatenate([np.empty(0, np.float32), *holds]))
    return {
        **score,
        "name": finding["name"],
        "title": finding["title"],
        "metric": finding["metric"],
        "counts": counts,
    }


def _find(name: str) -> Find | None:
    return next((one.find for one in HYPOTHESES if one.name == name), None)


def _counts(values: Floats) -> list[int]:
    counts: list[int] = np.histogram(values, BINS, (-1, 1))[0].tolist()
    return counts


def _stretches(texts: Sequence[str], shown: Sequence[Floats], sign: int = 1) -> list[Stretch]:
    """Returns the lines of passages where values are highest, highest first."""
    best = [_best(text, values) for text, values in zip(texts, shown, strict=True)]
    found: dict[str, Stretch] = {}
    for index in sorted(range(len(texts)), key=lambda index: -best[index][0]):
        _, begin, end = best[index]
        text, part = texts[index][begin:end], np.round(sign * shown[index][begin:end], 2)
        # Passages repeat each other, above all in code.
        found.setdefault(text.strip(), {"text": text, "activations": part.tolist()})
    return list(found.values())[:STRETCHES]


def _best(text: str, values: Floats) -> tuple[float, int, int]:
    """Returns the mean over the lines of a text where it is highest, and where they are."""
    places = borders(text).tolist()
    sums = np.concatenate([[0], np.cumsum(values, dtype=np.float64)])
    found = (-np.inf, 0, 0)
    for begin in places[:-1]:
        enough = next((end for end in places if end - begin >= SHORTEST_STRETCH), places[-1])
        # A long line gives its beginning.
        end = min(enough, begin + LONGEST_STRETCH)
        if text[begin:end].strip():
            found = max(found, ((sums[end] - sums[begin]) / (end - begin), begin, end))
    mean, begin, end = found
    return float(mean), begin, end
