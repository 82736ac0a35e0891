"""Keeps a text from copying its corpus: the tick backs up to where a run gets too long.

There another id is drawn, by the same number, from those that do not go on copying. So a text
depends on nothing but its options and the corpus; where nothing is copied it is the text that it
would have been. Knows the ids of one text; no decoder and no other text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.arrays import Floats, Ids
from models.decoding.sampling import SampleOptions, choose, uniforms
from models.text.copies import Runs
from models.text.vocab import Vocabulary

_KEPT = 1 << 14
"""Ids that are remembered beyond those that count: a text may end before what has been drawn."""


@dataclass(frozen=True, slots=True)
class Detour:
    """The ids to take in place of those drawn: those before a copy, and another one after them.

    At an ``is_end`` there is no other one: every id would copy.
    """

    ids: Ids
    is_end: bool


class CopyGuard:
    """Watches one text.

    Args:
        runs: those of the corpus that are too long.
        vocabulary: of the model.
        options: of the text.
        before: ids before the text, which count like a prime.
    """

    def __init__(
        self, runs: Runs, vocabulary: Vocabulary, options: SampleOptions, before: Sequence[int] = ()
    ) -> None:
        self._runs = runs
        self._symbols = vocabulary.symbols
        self._options = options
        self._ids: Ids = np.array(before, np.int64)

    def read(self, ids: Ids) -> None:
        """Adds ids to the text, whatever they copy."""
        self._ids = np.concatenate([self._ids, ids])
        if len(self._ids) > 2 * _KEPT + self._runs.copied:
            self._ids = self._ids[-_KEPT - self._runs.copied :].copy()

    def take(self, ids: Ids, logits: Floats, temperatures: Floats, position: int) -> Detour | None:
        """Adds ids to the text; returns what is added in their place if they copy.

        Args:
            ids: drawn, [steps].
            logits: those they were drawn from, [steps, vocabulary].
            temperatures: at which they were drawn, [steps].
            position: of the first in the text's random numbers.
        """
        known = self._ids[max(0, len(self._ids) - self._runs.copied) :]
        text = self._symbols[np.concatenate([known, ids])]
        end = self._runs.first(text, len(known))
        if end is None:
            self.read(ids)
            return None
        step = end - len(known)
        allowed = np.flatnonzero(~self._runs.following(text[:end], self._symbols))
        other = ids[:0]
        if len(allowed):
            chosen = self._choose(logits[step][allowed], float(temperatures[step]), position + step)
            other = allowed[[chosen]]
        detour = Detour(np.concatenate([ids[:step], other]), not len(allowed))
        self.read(detour.ids)
        return detour

    def _choose(self, logits: Floats, temperature: float, position: int) -> int:
        seeds = np.array([self._options.seed], np.uint64)
        draw = float(uniforms(seeds, np.array([position], np.uint64), 1)[0, 0])
        return choose(logits, temperature, draw, self._options.top_k, self._options.top_p)

    def last(self, later: int) -> tuple[int, ...]:
        """Returns the ids that count for what comes next, if so many are left out at the end."""
        end = len(self._ids) - later
        return tuple(self._ids[max(0, end - self._runs.copied) : end].tolist())
