"""The n-gram baseline: what counting alone learns from the same text (Goldberg 2015).

The model is interpolated modified Kneser-Ney over characters. Chen & Goodman, "An empirical study
of smoothing techniques for language modeling", 1998, is the source of every formula.

How the counts are held. The characters of the text, which is read as a ring, are sorted by what
stands before them, nearest first, ``order`` characters deep: these are the rows. Then each
context up to that length is a run of rows, the characters in the run are what followed it, and the
run of the context made longer by its follower is found by counting equal characters further up
(the last-to-first map of Burrows & Wheeler 1994). So one array of a byte per character is all the
counts of all orders, and it is all that is saved; the rest is worked out from it. Rows that the
order does not tell apart are sorted by character: the array is a function of the counts alone.
Somebody who has the file of a high order has, in effect, the text.

Knows numpy; no torch, no vocabulary, no job.
"""

import json
import math
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save as to_safetensors

from models.arrays import AnyIds, Doubles
from models.config import MAX_VOCABULARY
from models.decoding.sampling import SampleOptions, choose, uniforms
from models.files import CheckpointError, write_durably

MAX_ORDER = 32

FILE_LIMIT = 16 << 20
"""Bytes of rows that a model may have: what is counted is the tail of the text that fits."""

BYTES_PER_CHARACTER = 36
"""Memory that fitting uses at its highest for each character counted; a model keeps 7 of them."""

_MAX_HEADER = 4096
_BLOCK = 1 << 20
_CACHE_BYTES = 32 << 20
_CACHED_RUN = 1024
"""Runs of so many rows are smoothed once and remembered; shorter ones are quickly counted."""

_FALLBACK_DISCOUNTS = (0.0, 0.5, 1.0, 1.5)
"""KenLM's, for an order with too few counts to estimate them (a short text, order 0)."""

RowIds = NDArray[np.int32]


class NGram:
    """A smoothed n-gram model of characters.

    An order is the length of the longest context, so order 0 counts single characters.

    Args:
        rows: the sorted characters, shape [characters]; see the module's text.
        vocabulary_size: number of distinct ids.
        order: how deep the rows are sorted.
        of_characters: length of the text whose tail was counted, if it is not the whole.
    """

    def __init__(
        self, rows: AnyIds, vocabulary_size: int, order: int, of_characters: int | None = None
    ) -> None:
        self.rows = rows
        self.vocabulary_size = vocabulary_size
        self.order = order
        self.of_characters = len(rows) if of_characters is None else of_characters
        counts = np.bincount(rows, minlength=vocabulary_size)
        # Rows whose context ends in id w are _starts[w] up to _starts[w + 1]; the j-th row is the
        # place to which the row _origins[j] is mapped.
        self._starts = np.concatenate(([0], np.cumsum(counts)))
        self._origins: RowIds = np.argsort(rows, kind="stable").astype(np.int32)
        self._depths = _depths(rows, self._origins, self._starts, order)
        self._follower_depths = np.empty_like(self._depths)
        self._follower_depths[self._origins] = self._depths
        self._discounts = self._estimate_discounts()
        # Of a context that was seen once: what its one follower leaves to shorter ones.
        self._single_discounts = np.append(self._discounts[:-1, 0, 1], self._discounts[-1, 1, 1])
        self._cache: dict[tuple[int, int], Doubles] = {}

    @classmethod
    def fit(
        cls,
        ids: AnyIds,
        vocabulary_size: int,
        max_order: int = 20,
        memory_limit: int = 576 << 20,
    ) -> "NGram":
        """Counts the tail of a text that memory and file size allow, which is 16 M characters.

        Args:
            ids: the training part, shape [characters].
            max_order: 0 to 32.
            memory_limit: bytes that this may use. ``losses`` stays below it too, but for up to
                100 MB for the text it measures.

        Raises:
            ValueError: there is nothing to count, or an argument is out of its range.
        """
        if not 0 <= max_order <= MAX_ORDER:
            raise ValueError(f"max_order must be from 0 to {MAX_ORDER}")
        if not 1 <= vocabulary_size <= MAX_VOCABULARY:
            raise ValueError(f"vocabulary_size must be from 1 to {MAX_VOCABULARY}")
        dtype = _id_type(vocabulary_size)
        limit = min(memory_limit // BYTES_PER_CHARACTER, FILE_LIMIT // dtype.itemsize)
        if len(ids) == 0 or limit < 1:
            raise ValueError("no text to count, or no memory to count it in")
        tail = np.asarray(ids[max(0, len(ids) - limit) :])
        if tail.max() >= vocabulary_size:
            raise ValueError("an id is not in the vocabulary")
        rows = _sort_by_context(tail.astype(dtype), vocabulary_size, max_order)
        return cls(rows, vocabulary_size, max_order, len(ids))

    @property
    def characters(self) -> int:
        """How many characters were counted, the text's last ones."""
        return len(self.rows)

    def with_order(self, order: int) -> "NGram":
        """The model of a lower order: as if fitted with it.

        Raises:
            ValueError: the order is not from 0 to this one's.
        """
        if not 0 <= order <= self.order:
            raise ValueError(f"order must be from 0 to {self.order}")
        if order == self.order:
            return self
        runs = np.cumsum(self._depths <= order, dtype=np.int32)
        keys = _joined(runs, self.vocabulary_size, self.rows)
        del runs
        keys.sort()
        keys %= self.vocabulary_size
        rows = keys.astype(self.rows.dtype)
        del keys
        return NGram(rows, self.vocabulary_size, order, self.of_characters)

    def with_best_order(self, validation: AnyIds) -> tuple["NGram", float]:
        """The model of the order with the lowest loss on a text, and that loss."""
        losses = self.losses(validation)
        best = int(np.argmin(losses))
        return self.with_order(best), float(losses[best])

    def loss(self, ids: AnyIds) -> float:
        """Mean cross-entropy over a text, in nats per character; see ``losses``."""
        return float(self.losses(ids)[-1])

    def losses(self, ids: AnyIds) -> Doubles:
        """Mean cross-entropy over a text of the model of each order up to this one.

        The first character is only read, as in ``training.evaluate``, and contexts begin anew
        every 2²⁰ characters.

        Args:
            ids: shape [characters], at least 2.

        Returns:
            Nats per character, shape [order + 1].

        Raises:
            ValueError: the text is too short.
        """
        if len(ids) < 2:
            raise ValueError("a loss needs a character and its successor")
        total = np.zeros(self.order + 1)
        for begin in range(0, len(ids) - 1, _BLOCK):
            total -= self._log_likelihoods(np.asarray(ids[begin : begin + _BLOCK + 1]))
        return total / (len(ids) - 1)

    def next_distribution(self, context: Sequence[int] | NDArray[np.integer[Any]]) -> Doubles:
        """Probabilities of the next id after a context of any length, shape [vocabulary]."""
        return self.distribution(self.read(context)).copy()

    def generate(
        self, start_id: int, prime: NDArray[np.int64], options: SampleOptions
    ) -> Iterator[int]:
        """Yields the chosen ids one by one, as ``sampling.generate`` does for a network."""
        seeds = np.array([options.seed], dtype=np.uint64)
        runs = self.read([start_id, *prime.tolist()])
        for begin in range(0, options.length, 256):
            steps = min(256, options.length - begin)
            draws = uniforms(seeds, np.array([begin], dtype=np.uint64), steps)[:, 0]
            for uniform in draws.tolist():
                logits = np.log(self.distribution(runs)).astype(np.float32)
                chosen = choose(logits, options.temperature, uniform, options.top_k, options.top_p)
                yield chosen
                runs = self.extend(runs, chosen)

    def save(self, path: Path) -> None:
        """Writes the model to a file of at most 16 MiB and a header."""
        write_durably(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> "NGram":
        """Reads a model, trusting nothing in the file.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            raise CheckpointError(f"{path.name} is missing") from None
        with os.fdopen(descriptor, "rb") as file:
            return cls.from_bytes(file.read(FILE_LIMIT + 8 + _MAX_HEADER + 1))

    def to_bytes(self) -> bytes:
        """The file: safetensors with one tensor, ``rows``, and the sizes as metadata."""
        sizes = {
            "format": 1,
            "vocabulary_size": self.vocabulary_size,
            "order": self.order,
            "of_characters": self.of_characters,
        }
        # One entry: safetensors writes several in any order, and equal models have equal bytes.
        return to_safetensors({"rows": self.rows}, {"ngram": json.dumps(sizes)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "NGram":
        """The model of such a file. Any rows make a sound model, so it is sizes that are checked.

        Raises:
            CheckpointError: saying what is wrong.
        """
        header, header_bytes = _read_header(data)
        if len(data) > FILE_LIMIT + header_bytes:
            raise CheckpointError("the n-gram model is larger than one may be")
        sizes = _parse(header.pop("__metadata__", {}).get("ngram"))
        if sizes.get("format") != 1:
            raise CheckpointError("the n-gram model is of a format that this version doesn't read")
        vocabulary_size = _size(sizes, "vocabulary_size", 1, MAX_VOCABULARY)
        order = _size(sizes, "order", 0, MAX_ORDER)
        dtype = _id_type(vocabulary_size)
        length = (len(data) - header_bytes) // dtype.itemsize
        name = "U8" if dtype.itemsize == 1 else "U16"
        declared = {k: (v.get("dtype"), v.get("shape")) for k, v in header.items()}
        if length < 1 or declared != {"rows": (name, [length])}:
            raise CheckpointError("the n-gram model does not hold the rows that its header says")
        try:
            rows: AnyIds = parse_safetensors(data)["rows"]
        except SafetensorError as error:
            raise CheckpointError(f"the n-gram model: {error}") from None
        if rows.max() >= vocabulary_size:
            raise CheckpointError("the n-gram model holds an id that is not in its vocabulary")
        of_characters = _size(sizes, "of_characters", len(rows), 1 << 53)
        return cls(rows, vocabulary_size, order, of_characters)

    def _pairs(self, order: int, *, raw: bool) -> tuple[RowIds, RowIds]:
        """Every context of a length with each of its followers, and the count of each.

        The count of the highest order is how often the pair occurs; that of a lower one, how many
        distinct characters stand before it (Kneser & Ney).

        Returns:
            The places to which the pairs' first rows are mapped, and the counts; [pairs] each.
        """
        places = np.flatnonzero(self._depths <= order + 1).astype(np.int32)
        if raw:
            counts = places.copy()
            end = len(self.rows)
        else:
            longer = np.cumsum(self._depths <= order + 2, dtype=np.int32)
            counts = longer[places]
            end = int(longer[-1]) + 1
        np.subtract(counts[1:], counts[:-1], out=counts[:-1])
        counts[-1] = end - counts[-1]
        return places, counts

    def _estimate_discounts(self) -> Doubles:
        """Discounts of counts 0, 1, 2 and more, lower orders' and highest order's.

        Returns:
            Shape [order + 1, 2, 4]; [:, 1] is for when that order is the highest.
        """
        discounts = np.zeros((self.order + 1, 2, 4))
        for order in range(self.order + 1):
            for raw in (False, True):
                if raw or order < self.order:
                    _, counts = self._pairs(order, raw=raw)
                    discounts[order, int(raw)] = _discounts(counts)
        return discounts

    def _backoff_sums(self, order: int, *, raw: bool) -> Doubles:
        """Sums of the discounts in all rows before each, shape [characters + 1].

        What a run of rows gives to the lower order is the difference at its ends.
        """
        places, counts = self._pairs(order, raw=raw)
        taken = self._discounts[order, int(raw)].astype(np.float32)[np.minimum(counts, 3)]
        del counts
        weights = np.zeros(len(self.rows), dtype=np.float32)
        weights[self._origins[places]] = taken
        del places, taken
        sums = np.zeros(len(self.rows) + 1)
        np.cumsum(weights, out=sums[1:])
        return sums

    def _log_likelihoods(self, ids: AnyIds) -> Doubles:
        """Log-probability of a text without its first character, for each order."""
        result = np.empty(self.order + 1)
        lower = np.full(len(ids), 1 / self.vocabulary_size)
        for order, (at, first, last, next_first, next_last) in enumerate(self._runs_along(ids)):
            discounts = self._discounts[order]
            highest = lower.copy()
            if len(at):
                sums = self._backoff_sums(order, raw=True)
                counts = next_last - next_first
                kept = counts - discounts[1][np.minimum(counts, 3)]
                share = (sums[last] - sums[first]) * lower[at]
                highest[at] = (kept + share) / (last - first)
                del sums
            result[order] = np.log(highest[1:]).sum()
            if len(at) and order < self.order:
                sums = self._backoff_sums(order, raw=False)
                share = (sums[last] - sums[first]) * lower[at]
                del sums
                longer = _counts_before(self._depths <= order + 2)
                counts = longer[next_last] - longer[next_first]
                kept = counts - discounts[0][np.minimum(counts, 3)]
                longer = _counts_before(self._follower_depths <= order + 2)
                lower[at] = (kept + share) / (longer[last] - longer[first])
                del longer
        return result

    def _runs_along(
        self, ids: AnyIds
    ) -> Iterator[tuple[NDArray[np.intp], RowIds, RowIds, RowIds, RowIds]]:
        """For each order: the places in a text whose context of that length was seen, the ends of
        the contexts' runs, and those of the runs of the contexts with the character that follows.
        """
        at = np.arange(len(ids))
        first = np.zeros(len(ids), dtype=np.int32)
        last = np.full(len(ids), len(self.rows), dtype=np.int32)
        for _ in range(self.order + 1):
            next_first, next_last = self._follow(ids[at], first, last)
            yield at, first, last, next_first, next_last
            seen = (next_first < next_last) & (at + 1 < len(ids))
            at, first, last = at[seen] + 1, next_first[seen], next_last[seen]

    def _follow(self, ids: AnyIds, first: RowIds, last: RowIds) -> tuple[RowIds, RowIds]:
        """Runs of many contexts, each made longer by the id at its place."""
        next_first, next_last = np.empty_like(first), np.empty_like(last)
        by_id = np.argsort(ids, kind="stable")
        end = 0
        for id_, count in enumerate(np.bincount(ids).tolist()):
            if count:
                group = by_id[end : end + count]
                end += count
                low = int(self._starts[id_])
                origins = self._origins[low : int(self._starts[id_ + 1])]
                next_first[group] = np.searchsorted(origins, first[group]) + low
                next_last[group] = np.searchsorted(origins, last[group]) + low
        return next_first, next_last

    def read(self, context: Sequence[int] | NDArray[np.integer[Any]]) -> RowIds:
        """Ends of the runs of a context's last 0, 1, … order characters, shape [2, order + 1].

        A context that was never seen has an empty run.
        """
        runs = np.zeros((2, self.order + 1), dtype=np.int32)
        runs[1, 0] = len(self.rows)
        for id_ in context[max(0, len(context) - self.order) :]:
            runs = self.extend(runs, int(id_))
        return runs

    def extend(self, runs: RowIds, id_: int) -> RowIds:
        """The ends of the runs, as ``read`` gives them, once one more id was read."""
        low = int(self._starts[id_])
        origins = self._origins[low : int(self._starts[id_ + 1])]
        extended = np.empty_like(runs)
        extended[:, 0] = 0, len(self.rows)
        extended[:, 1:] = np.searchsorted(origins, runs[:, :-1]) + low
        return extended

    def distribution(self, runs: RowIds) -> Doubles:
        """Probabilities of the next id, [vocabulary], after what ``read`` gave; not to be changed.

        Interpolates from order 0, or the longest remembered context, to the longest seen.
        """
        firsts, lasts = runs.tolist()
        seen = sum(a < b for a, b in zip(firsts, lasts, strict=True))
        probabilities = np.full(self.vocabulary_size, 1 / self.vocabulary_size)
        begin = 0
        for order in reversed(range(seen)):
            remembered = self._cache.get((order, firsts[order]))
            if remembered is not None:
                probabilities, begin = remembered, order + 1
                break
        for order in range(begin, seen):
            first, last = firsts[order], lasts[order]
            if last - first == 1:
                # All longer contexts have this one row: one factor says what they leave over.
                left = float(self._single_discounts[order:seen].prod())
                probabilities = left * probabilities
                probabilities[self.rows[first]] += 1 - left
                break
            probabilities = self._smooth(order, first, last, probabilities)
            if last - first >= _CACHED_RUN:
                self._remember(order, first, probabilities)
        return probabilities

    def _smooth(self, order: int, first: int, last: int, lower: Doubles) -> Doubles:
        ids = self.rows[first:last]
        raw = order == self.order
        if not raw:
            ids = ids[self._follower_depths[first:last] <= order + 2]
        counts = np.bincount(ids, minlength=self.vocabulary_size)
        discounts = self._discounts[order, int(raw)][np.minimum(counts, 3)]
        smoothed: Doubles = (counts - discounts + discounts.sum() * lower) / len(ids)
        return smoothed

    def _remember(self, order: int, first: int, probabilities: Doubles) -> None:
        if (len(self._cache) + 1) * probabilities.nbytes > _CACHE_BYTES:
            self._cache.clear()
        self._cache[order, first] = probabilities


def _id_type(vocabulary_size: int) -> np.dtype[Any]:
    return np.dtype("u1") if vocabulary_size <= 256 else np.dtype("<u2")


def _sort_by_context(ids: AnyIds, vocabulary_size: int, order: int) -> AnyIds:
    """The characters of a ring sorted by what stands before them, ``order`` deep, then by id.

    Ranks of contexts are doubled in depth at each round (Manber & Myers 1990), from as many
    characters as fit 63 bits.
    """
    depth = min(order, int(63 / math.log2(max(2, vocabulary_size)) - 1e-9))
    ranks = _ranks(_recent(ids, vocabulary_size, depth))
    while depth < order:
        further = min(depth, order - depth)
        ranks = _ranks(_joined(ranks, len(ids), np.roll(ranks, further)))
        depth += further
    keys = _joined(ranks, vocabulary_size, ids)
    keys.sort()
    keys %= vocabulary_size
    return keys.astype(ids.dtype)


def _recent(ids: AnyIds, vocabulary_size: int, depth: int) -> NDArray[np.int64]:
    """The ids before each place as one number, the nearest being its first digit."""
    keys = np.zeros(len(ids), dtype=np.int64)
    for distance in range(1, depth + 1):
        keys *= vocabulary_size
        keys += np.roll(ids, distance)
    return keys


def _joined(
    high: NDArray[np.signedinteger[Any]], base: int, low: NDArray[np.integer[Any]]
) -> NDArray[np.int64]:
    keys = high.astype(np.int64)
    keys *= base
    keys += low
    return keys


def _ranks(keys: NDArray[np.int64]) -> RowIds:
    """The rank of each key among the distinct ones, from 0."""
    by_key = np.argsort(keys)
    keys = keys[by_key]
    changes = np.zeros(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=changes[1:])
    ranks = np.empty(len(keys), dtype=np.int32)
    ranks[by_key] = np.cumsum(changes, dtype=np.int32)
    return ranks


def _depths(
    rows: AnyIds, origins: RowIds, starts: NDArray[np.int64], order: int
) -> NDArray[np.uint8]:
    """For each row, the least length at which its context differs from that of the row before.

    Those longer than ``order + 1``, which is as deep as the rows tell, are given as
    ``order + 2``. A row's context of one more character begins anew just if the row that maps to
    it is the first with its character in the run of its own context (Beller et al. 2013).
    """
    total = len(rows)
    depths = np.full(total, order + 2, dtype=np.uint8)
    # The row above with the same character; none has −1.
    above = np.empty(total, dtype=np.int32)
    above[1:] = origins[:-1]
    begins = starts[:-1][np.diff(starts) > 0]
    above[begins] = -1
    depths[begins] = 1
    depths[0] = 0
    numbers = np.arange(total, dtype=np.int32)
    for depth in range(1, order + 1):
        run_starts = np.where(depths <= depth, numbers, 0)
        np.maximum.accumulate(run_starts, out=run_starts)
        new = run_starts[origins] > above
        new &= depths > depth + 1
        depths[new] = depth + 1
    return depths


def _discounts(counts: RowIds) -> Doubles:
    """What is taken off counts of 0, 1, 2 and more, shape [4] (Chen & Goodman 1998, eq. 26).

    They are kept above 0, so every probability is, and multiples of 2⁻²⁰, so that sums of them
    are exact and ``losses`` and ``next_distribution`` agree.
    """
    n = [int(np.count_nonzero(counts == count)) for count in range(5)]
    discounts = list(_FALLBACK_DISCOUNTS)
    for count in (1, 2, 3):
        if n[1] and n[count] and n[count + 1]:
            y = n[1] / (n[1] + 2 * n[2])
            estimate = count - (count + 1) * y * n[count + 1] / n[count]
            discounts[count] = min(max(estimate, 0.01), count - 0.001)
    return np.round(np.array(discounts) * 2**20) / 2**20


def _counts_before(flags: NDArray[np.bool_]) -> RowIds:
    """How many flags are set before each place, shape [places + 1]."""
    counts = np.zeros(len(flags) + 1, dtype=np.int32)
    np.cumsum(flags, out=counts[1:])
    return counts


def _read_header(data: bytes) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, an object of objects, and where it ends."""
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else _MAX_HEADER + 1
    if length > min(_MAX_HEADER, len(data) - 8):
        raise CheckpointError("the n-gram model is truncated or has no sound header")
    header = _parse(data[8 : 8 + length])
    if not all(isinstance(entry, dict) for entry in header.values()):
        raise CheckpointError("the n-gram model has no sound header")
    return header, 8 + length


def _parse(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise CheckpointError("the n-gram model has no sound header")
    return value


def _size(sizes: dict[str, Any], name: str, low: int, high: int) -> int:
    value = sizes.get(name)
    if type(value) is not int or not low <= value <= high:
        raise CheckpointError(f"the n-gram model's {name} is not from {low} to {high}")
    return value
