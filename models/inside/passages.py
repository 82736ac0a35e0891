"""Passages of a text to look at: whole ones, in which a hypothesis both holds and does not.

Someone who looks at a passage sees nothing of what comes before it, and a network that reads it
begins in the zero state. So a passage begins and ends where the text has a border, and a hypothesis
must say the same of the passage alone as of the whole text: what is open in it was opened in it.
They are chosen by the text only, not by what any cell does there, or misses would be hidden.

Knows texts; no networks.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from models.arrays import Floats, Ids
from models.inside.hypotheses import Hypothesis, Span, Target

SHORTEST, LONGEST = 80, 320
"""Characters of a passage."""

EXAMPLES = 4
"""Passages for a hypothesis."""

ENOUGH = 48
"""Passages of a text: where the examples are fewer, others are added."""

_MIDST = 0.75
"""What a passage is worth that begins in the midst of a paragraph."""

_TRIES = 500
"""Candidates that are read by themselves, for a hypothesis."""

_SENTENCE_END = re.compile(r"[.!?]['\")\]]* |[。！？][」』）]*")  # noqa: RUF001


class Passage(TypedDict):
    """``style`` is that of the text it is from, if the network learned several."""

    text: str
    style: str | None


class Seamless(NamedTuple):
    """A stretch of a text, [begin, end), without a seam in it."""

    begin: int
    end: int
    style: str | None


def borders(text: str) -> Ids:
    """Returns where passages may begin and end: at lines, at sentences of long lines, and at words
    of long sentences; in increasing order, both ends of the text among them."""
    found = [0]
    for line in re.finditer(r"[^\n]*(?:\n|\Z)", text):
        begin, end = line.span()
        if end - begin > LONGEST:
            ends = (match.end() for match in _SENTENCE_END.finditer(text, begin, end))
            for place in (*ends, end):
                found += _words(text, found[-1], place)
                found.append(place)
        else:
            found.append(end)
    return np.unique(np.array(found, dtype=np.int64))


def _words(text: str, begin: int, end: int) -> Iterator[int]:
    """Yields where to cut what is too long for a passage: after a space, if it has one."""
    while end - begin > LONGEST:
        space = text.rfind(" ", begin + SHORTEST, begin + LONGEST)
        begin = begin + LONGEST if space < 0 else space + 1
        yield begin


def examples(
    text: str, parts: Sequence[Seamless], values: Target, hypothesis: Hypothesis
) -> list[Span]:
    """Returns passages for a hypothesis, at most ``EXAMPLES`` that do not overlap, the best first.

    The best are those where its values vary most; a little less will do where a paragraph begins.

    Args:
        text: all of it.
        parts: where passages may be.
        values: of the hypothesis, [characters].
    """
    spans = [span for part in parts for span in _candidates(text, part)]
    if not spans:
        return []
    begins_paragraph = np.array([_after_empty(text, begin) for begin, _ in spans])
    spread = _spread(values, np.array(spans)) * np.where(begins_paragraph, 1, _MIDST)
    order = np.argsort(-spread, kind="stable")
    likely = [spans[index] for index in order[:_TRIES].tolist() if spread[index] > 0]
    whole = _apart(span for span in likely if _is_whole(text, values, span, hypothesis))
    # Of a thing that is longer than any passage, a piece is better than nothing.
    return whole or _apart(likely)[:1]


def others(text: str, parts: Sequence[Seamless], taken: Sequence[Span], most: int) -> list[Span]:
    """Returns passages beside those that are taken, at most so many, from all over the text."""
    found = []
    for part in parts:
        end = part.begin
        for span in _candidates(text, part):
            if span[0] >= end and not any(_overlap(span, other) for other in taken):
                found.append(span)
                end = span[1]
    places = np.unique(np.linspace(0, len(found) - 1, max(0, min(most, len(found)))).round())
    return [found[int(place)] for place in places]


def _candidates(text: str, part: Seamless) -> Iterator[Span]:
    """Yields passages from each border on, as long as they may be, to the end of a paragraph if
    possible. They begin with an empty or an indented line only where all lines are so."""
    places = borders(text[part.begin : part.end]) + part.begin
    begins = places[:-1].tolist()
    for begin in [one for one in begins if not text[one].isspace()] or begins:
        low, high = np.searchsorted(places, [begin + SHORTEST, begin + LONGEST + 1])
        ends = places[low:high].tolist()
        if not ends:
            continue
        end = next((end for end in reversed(ends) if _after_empty(text, end)), ends[-1])
        # What is not UTF-8 cannot be read again.
        if "\ufffd" not in text[begin:end]:
            yield begin, end


def _spread(values: Target, spans: Ids) -> Floats:
    """Returns how much a hypothesis' values vary within spans, [spans]."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0).astype(np.float64)
    sums = np.pad(np.cumsum([known, filled, filled**2], axis=1), ((0, 0), (1, 0)))
    count, total, squares = sums[:, spans[:, 1]] - sums[:, spans[:, 0]]
    spread: Floats = (squares - total**2 / np.maximum(count, 1)).astype(np.float32)
    return np.round(spread, 4)


def _after_empty(text: str, place: int) -> bool:
    """Whether a place in a text follows an empty line, or nothing."""
    return place == 0 or text[max(0, place - 2) : place] == "\n\n"


def _is_whole(text: str, values: Target, span: Span, hypothesis: Hypothesis) -> bool:
    begin, end = span
    if hypothesis.metric == "auc" and values[end - 1] == 1:
        # It goes on.
        return False
    alone = hypothesis.find(text[begin:end])
    # What comes next after the last character is known in the text only.
    return bool(np.array_equal(alone[:-1], values[begin : end - 1], equal_nan=True))


def _apart(spans: Iterator[Span] | Sequence[Span]) -> list[Span]:
    """Returns the first spans that do not overlap, at most ``EXAMPLES``."""
    kept: list[Span] = []
    for span in spans:
        if not any(_overlap(span, other) for other in kept):
            kept.append(span)
            if len(kept) == EXAMPLES:
                break
    return kept


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]
