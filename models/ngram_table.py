"""The n-gram features of a network: what followed the ids that were read last, by counting.

A context is the last n ids, for several lengths n; its key is a hash of them. The contexts worth
keeping are in the table. A short one has a row: the log-probabilities of every id that may follow,
in steps of ``STEP`` nats. A long one has few followers, so it has a list: the ids that followed
most, and what is to be added to the row of the longest short context for each of them.

Keys, of 32 bits, stand in a hash table by cuckoo hashing (Pagh & Rodler 2004) with two choices of
two neighbouring buckets (Lehman & Panigrahy 2009), so looking a key up compares four numbers, and a
graph does it for the contexts of all lengths at once. Contexts of one length have buckets of their
own, after those of the next shorter one, so the longest context found is the last bucket that
matches. Bucket 0 is for no context at all.

Knows numpy; no text and no network.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyInts, Floats, Ids

STEP = 1 / 16
"""Nats between two log-probabilities: a power of two, so that products with it are exact."""

KEY_BYTES = 4
"""Of the lower half of a hash. One unknown context in 20,000 is taken for one of 200,000 that are
known, which tells in no loss; with eight bytes there would be room for a fifth fewer."""

FOLLOWERS = 6
"""Ids in a list: a long context rarely has more that matter (docs/log.md)."""

LISTS_PER_ROW, MORE_LISTS_PER_ROW = 2, 4
"""Lists for which there is room beside each row: at 100 symbols a list takes a quarter of one."""

MORE_LISTS_FROM = 1 << 23
"""Characters of a text that has more of them.

It has more long contexts that are worth it: 16 MB of LaTeX lost 0.755 instead of 0.760 nats by the
table alone, 6 MB of kernel source 1.259 instead of 1.255 (docs/log.md).
"""

FURTHER = (1, 2, 4, 7, 12)
"""Lengths of the contexts with lists, less that of the longest with rows."""

NGRAM_KEYS, NGRAM_ROWS = "ngram.hashes", "ngram.rows"
"""Names of the table's tensors in a checkpoint: int32 and uint8."""

NGRAM_FOLLOWERS, NGRAM_BOOSTS = "ngram.followers", "ngram.boosts"
"""Names of those of the lists: as ``id_type`` says, and uint8."""

CHOICES, WINDOW = 2, 2
"""Hashes of a key, and neighbouring buckets in which it may stand by each: memory is read once for
both."""

MULTIPLIERS = np.array([0x7F4A7C15, 0x1CE4E5B9], dtype=np.int32)
"""Odd factors of the keys, one for each choice; products wrap around at 32 bits."""

LOAD = 0.92
"""Share of the buckets that are filled. So many places allow 0.965 (Lehman & Panigrahy 2009)."""

NOTHING = -1
"""In place of an id: none was read so long ago."""

LISTS_FROM = 1 << 21
"""Characters of a text whose long contexts have lists.

In a shorter one they do not occur often enough to be told from chance, and it is read again and
again: 198 kB of tunes lost 1.78 nats with lists, 1.72 with rows for up to 8 ids, 1.1 MB of plays
after 180 s 1.396 and 1.376 (docs/log.md).
"""

LARGE = 256
"""Vocabulary size from which rows are dear: then even short contexts have lists."""

LONGEST_WITH_ROW, LONGEST_IF_ALL, LONGEST_IF_LARGE = 4, 8, 2
"""Most ids in a context with a row: beside lists, without any, and of a large vocabulary."""

BASE = 0x27D4EB2F165667C5
"""Odd base of the polynomial hash, modulo 2^64."""

EMPTY = -1
"""In place of a key: none stands there."""

_ROUNDS = 500

Keys = NDArray[np.int32]
Rows = NDArray[np.uint8]
Lists = tuple[NDArray[np.uint8] | NDArray[np.uint16], NDArray[np.uint8]]
"""Followers, and what is added to their log-probabilities, in units of ``STEP``; [lists,
FOLLOWERS] each. Where a context has fewer, there is id 0 with nothing to add."""


def context_lengths(rows: int, lists: int) -> tuple[int, ...]:
    """Returns the numbers of ids in contexts: of ``rows`` lengths with rows, then of others."""
    return (*range(1, rows + 1), *(rows + further for further in FURTHER[:lists]))


def id_type(vocabulary_size: int) -> "np.dtype[Any]":
    """Returns the type of ids in lists."""
    return np.dtype(np.uint8 if vocabulary_size <= 256 else np.uint16)


def list_bytes(vocabulary_size: int) -> int:
    """Returns the bytes of a bucket with a list: each follower has an id and what is added."""
    return KEY_BYTES + FOLLOWERS * (id_type(vocabulary_size).itemsize + 1)


def lists_per_row(characters: int) -> int:
    """Returns for how many lists there is room beside each row, in a text that has any."""
    return MORE_LISTS_PER_ROW if characters >= MORE_LISTS_FROM else LISTS_PER_ROW


def split_lengths(
    orders: int, vocabulary_size: int, characters: int, lists_from: int = LISTS_FROM
) -> tuple[int, list[int]]:
    """Returns the most ids in a context with a row, and the lengths of contexts with lists.

    Args:
        orders: the most ids in a context.
        vocabulary_size: number of distinct ids.
        characters: of the text, 0 if its lines have nothing to do with each other.
        lists_from: characters of a text whose long contexts have lists.
    """
    is_large = vocabulary_size >= LARGE and characters > 0
    has_lists = is_large or characters >= max(1, lists_from)
    most = LONGEST_IF_LARGE if is_large else LONGEST_WITH_ROW if has_lists else LONGEST_IF_ALL
    with_row = min(orders, most, highest_order(vocabulary_size))
    lengths = [with_row + further for further in FURTHER] if has_lists else []
    return with_row, [length for length in lengths if length <= orders]


def highest_order(vocabulary_size: int) -> int:
    """Returns the most ids in a context so that it, and an id after it, fit into 63 bits."""
    order = 0
    while (vocabulary_size + 1) ** (order + 2) < 1 << 63:
        order += 1
    return order


@dataclass(frozen=True, slots=True)
class NGramTable:
    """Log-probabilities by context.

    Attributes:
        sizes: numbers of buckets with rows, for contexts of 1, 2, … ids.
        long_sizes: numbers of buckets with lists, for contexts longer by ``FURTHER``.
        keys: of the contexts, −1 in an empty bucket, [buckets].
        rows: log-probabilities in units of −``STEP``, that of no context first, [rows, vocabulary].
        lists: an empty one first.
    """

    sizes: tuple[int, ...]
    long_sizes: tuple[int, ...]
    keys: Keys
    rows: Rows
    lists: Lists

    @property
    def vocabulary_size(self) -> int:
        return int(self.rows.shape[1])

    @property
    def lengths(self) -> tuple[int, ...]:
        return context_lengths(len(self.sizes), len(self.long_sizes))

    @property
    def orders(self) -> int:
        """The most ids in a context."""
        return max(self.lengths, default=0)

    @classmethod
    def of(
        cls,
        keys: Sequence[Ids],
        rows: Rows,
        long_keys: Sequence[Ids] = (),
        lists: Lists | None = None,
    ) -> "NGramTable":
        """Places contexts in buckets. Of several with the same key the first stands for all.

        Args:
            keys: hashes of the contexts of 1, 2, … ids, [contexts].
            rows: that of no context, then theirs in the same order, [1 + contexts, vocabulary].
            long_keys: of the contexts that are longer by ``FURTHER``.
            lists: theirs in the same order.
        """
        every = [own.astype(np.int32) for own in (*keys, *long_keys)]
        placed = [_placed(own) for own in every]
        short, long = placed[: len(keys)], placed[len(keys) :]
        # Where no key stands, the index is −1: that of what is appended.
        standing = [
            np.append(own, np.int32(EMPTY))[at] for own, at in zip(every, placed, strict=True)
        ]
        followers, boosts = lists or (np.zeros((0, FOLLOWERS)), np.zeros((0, FOLLOWERS)))
        of_rows = np.concatenate([[0], _numbers(short, map(len, keys), 1)])
        of_lists = np.concatenate([[EMPTY], _numbers(long, map(len, long_keys), 0)])
        of_ids = id_type(rows.shape[1])
        return cls(
            tuple(len(at) for at in short),
            tuple(len(at) for at in long),
            np.concatenate([np.array([EMPTY], np.int32), *standing]),
            _spread(rows, of_rows, np.uint8),
            (_spread(followers, of_lists, of_ids), _spread(boosts, of_lists, np.uint8)),
        )

    @classmethod
    def in_weights(
        cls,
        sizes: tuple[int, ...],
        long_sizes: tuple[int, ...],
        weights: Mapping[str, NDArray[Any]],
    ) -> "NGramTable | None":
        """Returns the table among a checkpoint's tensors; None if there is none."""
        if not sizes:
            return None
        rows = weights[NGRAM_ROWS]
        lists = _no_lists(rows.shape[1])
        if long_sizes:
            lists = weights[NGRAM_FOLLOWERS], weights[NGRAM_BOOSTS]
        return cls(sizes, long_sizes, weights[NGRAM_KEYS], rows, lists)

    def placed_anew(self) -> "NGramTable":
        """Returns the same with keys of 32 bits where they had 64, and stood elsewhere."""
        keys: list[Ids] = []
        at = []
        begin = 1
        for size in (*self.sizes, *self.long_sizes):
            own = self.keys[begin : begin + size].astype(np.int64)
            standing = np.flatnonzero(own != EMPTY)
            keys.append(own[standing])
            at.append(begin + standing)
            begin += size
        count = len(self.sizes)
        rows = np.concatenate([[0], *at[:count]])
        lists = np.concatenate([np.zeros(0, np.int64), *at[count:]]) - sum(self.sizes)
        followers, boosts = (part[lists] for part in self.lists)
        return self.of(keys[:count], self.rows[rows], keys[count:], (followers, boosts))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Returns a checkpoint's tensors, as ``in_weights`` takes them."""
        tensors: dict[str, NDArray[Any]] = {NGRAM_KEYS: self.keys, NGRAM_ROWS: self.rows}
        if self.long_sizes:
            tensors[NGRAM_FOLLOWERS], tensors[NGRAM_BOOSTS] = self.lists
        return tensors

    def is_sound(self) -> bool:
        """Whether a look-up finds each key, and only where it stands, and lists are of ids.

        The first list must be empty: it is for no context.
        """
        if self.keys[0] != EMPTY or (self.lists[0] >= self.vocabulary_size).any():
            return False
        if self.lists[1][0].any():
            return False
        begin = 1
        for size in (*self.sizes, *self.long_sizes):
            keys = self.keys[begin : begin + size]
            standing = np.flatnonzero(keys != EMPTY)
            if (_found(self.keys, keys[standing], size, begin) != begin + standing).any():
                return False
            begin += size
        return True

    def hashes(self, ids: AnyInts) -> Ids:
        """Returns the hashes of the contexts at each position, [steps, …, lengths]."""
        return hashes(ids, self.lengths, self.vocabulary_size)

    def find(self, hashes: Ids) -> Ids:
        """Returns the row and the list of the longest known contexts, [steps, …, 2].

        Args:
            hashes: of the contexts of all lengths, [steps, …, lengths].
        """
        found = np.zeros((*hashes.shape[:-1], 2), np.int64)
        # Length by length: places of all at once take 200 bytes for each position.
        for index in range(len(self.lengths)):
            best = found[..., int(index >= len(self.sizes))]
            np.maximum(best, self.numbers(index, hashes[..., index]), out=best)
        return found

    def numbers(self, index: int, hashes: Ids) -> Ids:
        """Returns the rows or lists of contexts of one length, 0 for those that have none.

        Args:
            index: of the length.
            hashes: of any shape.
        """
        sizes = (*self.sizes, *self.long_sizes)
        at = _found(self.keys, hashes.astype(np.int32), sizes[index], 1 + sum(sizes[:index]))
        if index >= len(self.sizes):
            at = np.maximum(at - sum(self.sizes), 0)
        return at

    def log_probabilities(self, found: AnyInts) -> Floats:
        """Returns what follows contexts, in nats, not normalised, [steps, …, vocabulary].

        Args:
            found: rows and lists, as ``find`` returns them, [steps, …, 2].
        """
        logs = self.rows[found[..., 0]] * np.float32(-STEP)
        if self.long_sizes:
            self.add_lists(logs, found[..., 1])
        return logs

    def add_lists(self, logs: Floats, numbers: AnyInts) -> None:
        """Adds lists to log-probabilities in place.

        Args:
            logs: [steps, …, vocabulary].
            numbers: of the lists; 0 is none, [steps, …].
        """
        at = np.flatnonzero(numbers)
        followers, boosts = (part[numbers.reshape(-1)[at]] for part in self.lists)
        rows = logs.reshape(-1, logs.shape[-1])
        added = boosts * np.float32(STEP)
        # Unused followers are all id 0, which may be a follower, too: so one by one.
        for column in range(FOLLOWERS):
            rows[at, followers[:, column]] += added[:, column]


def lookup_constants(sizes: Sequence[int]) -> tuple[Keys, Keys, Keys]:
    """Returns what to look keys up with, for each choice of each length.

    A key times the first, modulo the second, plus each of the third, [choices, WINDOW], is a bucket
    in which it may stand.
    """
    counts = np.array(sizes, np.int32)
    begins = 1 + np.cumsum(counts, dtype=np.int32) - counts
    offsets = begins[:, None] + np.minimum(np.arange(WINDOW, dtype=np.int32), counts[:, None] - 1)
    moduli = np.maximum(1, counts - (WINDOW - 1))
    return (
        np.tile(MULTIPLIERS, len(sizes)),
        np.repeat(moduli, CHOICES),
        np.repeat(offsets, CHOICES, axis=0),
    )


@lru_cache(maxsize=32)
def hash_constants(vocabulary_size: int, length: int) -> tuple[Ids, Ids]:
    """Returns the numbers of ids, that of ``NOTHING`` last, and the factors by age, newest first.

    The hash of a context is the sum of its ids' numbers, each times its factor. It wraps around;
    its lower 32 bits, which are the key, follow from those of numbers and factors. The arrays must
    not be changed.
    """
    # SplitMix64 (Steele, Lea & Flood 2014).
    z = np.arange(1, vocabulary_size + 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    numbers = (z ^ (z >> np.uint64(31))).view(np.int64)
    factors = np.cumprod(np.array([1] + [BASE] * (length - 1), np.int64)[:length])
    return numbers, factors


def hashes(ids: AnyInts, lengths: Sequence[int], vocabulary_size: int) -> Ids:
    """Returns the hashes of the ids up to each position, that one included; [steps, …, lengths].

    Args:
        ids: [steps, …]; before the first there is ``NOTHING``.
        lengths: numbers of ids, ascending.
        vocabulary_size: number of distinct ids.
    """
    every = np.empty((*ids.shape, len(lengths)), np.int64)
    for index, each in enumerate(each_hash(ids, lengths, vocabulary_size)):
        every[..., index] = each
    return every


def last_hashes(ids: AnyInts, lengths: Sequence[int], vocabulary_size: int) -> Ids:
    """Returns the hashes of contexts that end alike: of the last of ``hashes``, [n, lengths].

    Args:
        ids: [longest length, n], the newest last.
        lengths: numbers of ids, ascending.
        vocabulary_size: number of distinct ids.
    """
    numbers, factors = hash_constants(vocabulary_size, len(ids))
    sums = np.cumsum(numbers[ids[::-1]] * factors[:, None], axis=0)
    last: Ids = sums[np.array(lengths, np.int64) - 1].T
    return last


def each_hash(ids: AnyInts, lengths: Sequence[int], vocabulary_size: int) -> Iterator[Ids]:
    """Yields the hashes of one length after the other, [steps, …]; they must not be changed."""
    numbers, factors = hash_constants(vocabulary_size, max(lengths, default=0))
    of_ids = numbers[ids]
    sums = np.zeros_like(of_ids)
    age = 0
    for length in lengths:
        while age < length:
            sums[age:] += of_ids[: max(0, len(ids) - age)] * factors[age]
            sums[:age] += numbers[NOTHING:] * factors[age]
            age += 1
        yield sums


def _found(all_keys: Keys, keys: Keys, size: int, begin: int) -> Ids:
    """Returns the last bucket in which each key stands, 0 if in none."""
    places = _places(keys, size) + begin
    found: Ids = np.where(all_keys[places] == keys[..., None], places, 0).max(axis=-1)
    return found.astype(np.int64, copy=False)


def _places(keys: Keys, size: int) -> Keys:
    """Returns the buckets of so many in which keys may stand, [keys, …, CHOICES * WINDOW]."""
    multipliers, moduli, offsets = lookup_constants([size])
    places: Keys = ((keys[..., None] * multipliers) % moduli)[..., None] + offsets - 1
    return places.reshape(*keys.shape, CHOICES * WINDOW)


def _no_lists(vocabulary_size: int) -> Lists:
    """Returns the empty list, which stands first in any table."""
    return (
        np.zeros((1, FOLLOWERS), id_type(vocabulary_size)),
        np.zeros((1, FOLLOWERS), np.uint8),
    )


def _numbers(placed: Sequence[Ids], counts: Iterable[int], begin: int) -> Ids:
    """Returns what stands in the buckets of all lengths, numbered from ``begin``; −1 if nothing.

    Args:
        placed: index in each bucket of each length, [buckets].
        counts: of what there is of each length.
        begin: number of the first.
    """
    numbers = [np.zeros(0, np.int64)]
    for at, count in zip(placed, counts, strict=True):
        numbers.append(np.where(at < 0, EMPTY, at + begin))
        begin += count
    return np.concatenate(numbers)


def _spread(values: NDArray[Any], numbers: Ids, dtype: Any) -> NDArray[Any]:
    """Returns the values that stand in buckets, zeros where none does, [buckets, …]."""
    spread = np.zeros((len(numbers), values.shape[1]), dtype)
    filled = numbers >= 0
    spread[filled] = values[numbers[filled]]
    return spread


def _placed(keys: Keys) -> Ids:
    """Returns the index of the key in each bucket, −1 where there is none; of equal keys the first.

    All keys without a bucket move at once: each into its next place, from which it drives out what
    stands there. It is the same for the same keys, so equal tables are equal files.
    """
    distinct = np.sort(np.unique(keys, return_index=True)[1])
    # Even, so that the modulus is odd: two choices of a key do not share their lowest bit.
    size = 2 * (int(len(keys) / LOAD) // 2 + 1) if len(distinct) > 1 else 1
    while True:
        places = _places(keys, size)
        buckets = np.full(size, EMPTY, np.int64)
        turns = np.zeros(len(keys), np.int64)
        waiting = distinct
        for _ in range(_ROUNDS):
            if not len(waiting):
                return buckets
            wanted = places[waiting, turns[waiting] % places.shape[1]]
            turns[waiting] += 1
            before = buckets[wanted]
            buckets[wanted] = waiting
            won = buckets[wanted] == waiting
            driven_out = before[won]
            waiting = np.concatenate([waiting[~won], driven_out[driven_out >= 0]])
        size = 2 * (int(size * 1.1) // 2 + 1)
