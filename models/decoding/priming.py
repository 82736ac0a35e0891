"""What is known of a prime before a text begins: rows that have read it, or its beginning.

Knows no decoder and nobody who remembers.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from models.decoding.rows import Rows


@dataclass(frozen=True, slots=True)
class Priming:
    """What is known of one prime.

    Attributes:
        key: equal for primes that lead to equal rows.
        remember: gets a row that has read all of it, which nobody changes.
        count: number of ids at its beginning that ``rows`` have read.
        rows: one row; None if nothing is known.
    """

    key: Hashable
    remember: Callable[[Rows], object]
    count: int = 0
    rows: Rows | None = None
