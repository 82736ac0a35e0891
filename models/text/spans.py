"""Which style each id of a text has. Knows no text and no name of a style."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import Ids


@dataclass(frozen=True, slots=True)
class Spans:
    """Which style each id of a text has: where parts of it end, and the number of each one's style.

    Attributes:
        ends: increasing, the last one is the text's length, [parts].
        styles: [parts].
    """

    ends: Ids
    styles: Ids

    @classmethod
    def of(cls, lengths: Iterable[int], styles: Iterable[int]) -> "Spans":
        """Returns those of parts of such lengths."""
        return cls(np.cumsum(np.fromiter(lengths, np.int64)), np.fromiter(styles, np.int64))

    @property
    def begins(self) -> Ids:
        return np.concatenate([[0], self.ends[:-1]]).astype(np.int64)

    def at(self, positions: NDArray[Any]) -> Ids:
        """Returns the numbers of the styles at positions in the text, of any shape."""
        found: Ids = self.styles[np.searchsorted(self.ends, positions, side="right")]
        return found
