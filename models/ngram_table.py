"""The n-gram features of a network: what followed the ids that were read last, by counting.

A context is up to ``orders`` ids. It is packed into one integer, a digit for each id in base
``vocabulary_size + 1``, the last id in the lowest place; a digit is the id plus 1, so 0 is nothing,
and a context of any length has a key of its own. The contexts worth keeping have a row each: the
log-probabilities of every id that may follow, in steps of ``STEP`` nats.

Rows stand in a hash table by cuckoo hashing (Pagh & Rodler 2004) with three places for each key
(Fotakis et al. 2005), so looking a key up compares three numbers, and a graph does it for the
contexts of all lengths at once. Contexts of one length have buckets of their own, after those of
the next shorter one, so the longest context found is the last bucket that matches. Bucket 0 is for
no context at all.

Knows numpy; no text and no network.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyInts, Floats, Ids

STEP = 1 / 16
"""Nats between two log-probabilities: a power of two, so that products with it are exact."""

KEY_BYTES = 8

NGRAM_KEYS, NGRAM_ROWS = "ngram.keys", "ngram.rows"
"""Names of the table's tensors in a checkpoint: int64 and uint8."""

PLACES = 3
"""Buckets in which a key may stand."""

MULTIPLIERS = np.array([0x1E3779B97F4A7C15, 0x3F58476D1CE4E5B9, 0x14D049BB133111EB], dtype=np.int64)
"""Odd factors of the hashes, one for each place; products wrap around at 64 bits."""

LOAD = 0.85
"""Share of the buckets that are filled. Three places allow 0.918 at most."""

_EMPTY = -1
_ROUNDS = 500

Rows = NDArray[np.uint8]


def highest_order(vocabulary_size: int) -> int:
    """Returns the most ids in a context so that it, and an id after it, fit into 63 bits."""
    order = 0
    while (vocabulary_size + 1) ** (order + 2) < 1 << 63:
        order += 1
    return order


@dataclass(frozen=True, slots=True)
class NGramTable:
    """Rows of log-probabilities by context.

    Attributes:
        sizes: numbers of buckets, for contexts of 1, 2, … ids.
        keys: of the contexts, −1 in an empty bucket, [buckets].
        rows: log-probabilities in units of −``STEP``, [buckets, vocabulary].
    """

    sizes: tuple[int, ...]
    keys: Ids
    rows: Rows

    @property
    def vocabulary_size(self) -> int:
        return int(self.rows.shape[1])

    @property
    def orders(self) -> int:
        """The most ids in a context."""
        return len(self.sizes)

    @classmethod
    def of(cls, vocabulary_size: int, keys: Sequence[Ids], rows: Rows, root: Rows) -> "NGramTable":
        """Places contexts in buckets.

        Args:
            vocabulary_size: number of distinct ids.
            keys: of the contexts of each length from 1, [contexts].
            rows: theirs, in the same order, [all contexts, vocabulary].
            root: the row for no context, [vocabulary].
        """
        placed = [_placed(own) for own in keys]
        begins = np.cumsum([0, *(len(own) for own in keys)])
        numbers = np.concatenate(
            [np.where(at < 0, at, at + begin) for at, begin in zip(placed, begins, strict=False)]
            or [np.zeros(0, np.int64)]
        )
        filled = numbers >= 0
        all_keys = np.full(len(numbers) + 1, _EMPTY, np.int64)
        all_rows = np.zeros((len(numbers) + 1, vocabulary_size), np.uint8)
        all_rows[0] = root
        all_keys[1:][filled] = np.concatenate([np.zeros(0, np.int64), *keys])[numbers[filled]]
        all_rows[1:][filled] = rows[numbers[filled]]
        return cls(tuple(len(at) for at in placed), all_keys, all_rows)

    @classmethod
    def in_weights(
        cls, sizes: tuple[int, ...], weights: Mapping[str, NDArray[Any]]
    ) -> "NGramTable | None":
        """Returns the table among a checkpoint's tensors; None if there is none."""
        return cls(sizes, weights[NGRAM_KEYS], weights[NGRAM_ROWS]) if sizes else None

    def is_sound(self) -> bool:
        """Whether each key is one that a look-up finds, and finds only where it stands."""
        if self.keys[0] != _EMPTY:
            return False
        for moduli, multipliers, counts, offsets in self._constants():
            modulus, begin = moduli[0], int(offsets[0])
            keys = self.keys[begin : begin + int(counts[0])]
            standing = np.flatnonzero(keys != _EMPTY)
            keys = keys[standing]
            if not ((keys >= 0) & (keys < modulus)).all():
                return False
            if (_found(self.keys, keys, multipliers, counts, offsets) != begin + standing).any():
                return False
        return True

    def find(self, codes: AnyInts) -> Ids:
        """Returns the bucket of the longest known context at the end of each code.

        Args:
            codes: the ids read last, as ``codes`` packs them, of any shape.
        """
        found = np.zeros(codes.shape, np.int64)
        # Length by length: places of all at once take 200 bytes for each code.
        for moduli, multipliers, counts, offsets in self._constants():
            at = _found(self.keys, codes % moduli[0], multipliers, counts, offsets)
            np.maximum(found, at, out=found)
        return found

    def _constants(self) -> Iterator[tuple[Ids, ...]]:
        """Yields what keys are looked up with, length by length."""
        constants = lookup_constants(self.vocabulary_size, self.sizes)
        return zip(*(part.reshape(-1, PLACES) for part in constants), strict=True)

    def log_probabilities(self, buckets: AnyInts) -> Floats:
        """Returns the rows of buckets, in nats, with one more axis of the vocabulary's size."""
        return self.rows[buckets] * np.float32(-STEP)


def lookup_constants(vocabulary_size: int, sizes: Sequence[int]) -> tuple[Ids, Ids, Ids, Ids]:
    """Returns what to look a code up with, one number for each place of each length.

    A code modulo the first is the key; times the second, modulo the third, plus the fourth is a
    bucket in which it may stand.
    """
    base = vocabulary_size + 1
    moduli = np.array([base ** (order + 1) for order in range(len(sizes))], np.int64)
    counts = np.array(sizes, np.int64)
    offsets = 1 + np.cumsum(counts) - counts
    each = [np.repeat(values, PLACES) for values in (moduli, counts, offsets)]
    return each[0], np.tile(MULTIPLIERS, len(sizes)), each[1], each[2]


def _found(all_keys: Ids, keys: Ids, multipliers: Ids, counts: Ids, offsets: Ids) -> Ids:
    """Returns the last bucket in which each key stands, 0 if in none."""
    places = (keys[..., None] * multipliers) % counts + offsets
    found: Ids = np.where(all_keys[places] == keys[..., None], places, 0).max(axis=-1)
    return found


def codes(ids: AnyInts, vocabulary_size: int, orders: int) -> Ids:
    """Returns the code of the ids up to each position, that one included; [steps, …].

    Args:
        ids: [steps, …]; before the first there is nothing. −1 is nothing, too.
        vocabulary_size: number of distinct ids.
        orders: number of ids to pack.
    """
    digits = ids.astype(np.int64) + 1
    packed = digits.copy()
    power = 1
    for distance in range(1, min(orders, len(ids))):
        power *= vocabulary_size + 1
        packed[distance:] += digits[:-distance] * power
    return packed


def _placed(keys: Ids) -> NDArray[np.int64]:
    """Returns the index of the key in each bucket, −1 where there is none.

    All keys without a bucket move at once: each into its next place, from which it drives out what
    stands there. It is the same for the same keys, so equal tables are equal files.
    """
    size = int(len(keys) / LOAD) | 1
    while True:
        places = (keys[:, None] * MULTIPLIERS) % size
        buckets = np.full(size, _EMPTY, np.int64)
        turns = np.zeros(len(keys), np.int64)
        waiting = np.arange(len(keys))
        for _ in range(_ROUNDS):
            if not len(waiting):
                return buckets
            wanted = places[waiting, turns[waiting] % PLACES]
            turns[waiting] += 1
            before = buckets[wanted]
            buckets[wanted] = waiting
            won = buckets[wanted] == waiting
            driven_out = before[won]
            waiting = np.concatenate([waiting[~won], driven_out[driven_out >= 0]])
        size = (int(size * 1.1) + 2) | 1
