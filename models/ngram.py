"""The n-gram baseline: what counting alone learns from the same text (Goldberg 2015).

The model is interpolated modified Kneser-Ney over characters. Chen & Goodman, "An empirical study
of smoothing techniques for language modeling", 1998, is the source of every formula.

The counts are one array of one byte per character (``models.ngram_index``), and only that array is
saved. The file of a high order contains, in effect, the text.

Knows numpy; no torch, no vocabulary, no job.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save as to_safetensors

from models.arrays import AnyIds, AnyInts, Doubles
from models.config import MAX_VOCABULARY
from models.files import CheckpointError, parse_object, read_tensor_header
from models.ngram_index import ContextIndex, RowIds

MAX_ORDER = 32

FILE_LIMIT = 16 << 20
"""Maximum size of a model's rows in bytes: only the tail of the text that fits is counted."""

BYTES_PER_CHARACTER = 36
"""Peak memory of fitting for each character counted; a model keeps 7 of these bytes."""

_FILE = "the n-gram model"
_MAX_HEADER = 4096
_BLOCK = 1 << 20
_CACHE_BYTES = 32 << 20
_CACHED_RUN = 1024
"""Runs of at least this many rows are smoothed once and cached; shorter ones are fast to count."""

_FALLBACK_DISCOUNTS = (0.0, 0.5, 1.0, 1.5)
"""KenLM's values, for an order with too few counts to estimate them (a short text, order 0)."""


class NGram:
    """A smoothed n-gram model of characters.

    An order is the length of the longest context, so order 0 counts single characters.

    Args:
        index: the counts.
        of_characters: length of the text, if only its tail was counted.
    """

    def __init__(self, index: ContextIndex, of_characters: int | None = None) -> None:
        self.index = index
        self.of_characters = len(index.rows) if of_characters is None else of_characters
        self._discounts = self._estimate_discounts()
        # For a context seen once: the share that its only follower leaves to shorter contexts.
        self._single_discounts = np.append(self._discounts[:-1, 0, 1], self._discounts[-1, 1, 1])
        self._cache: dict[tuple[int, int], Doubles] = {}

    @property
    def order(self) -> int:
        return self.index.order

    @property
    def vocabulary_size(self) -> int:
        return self.index.vocabulary_size

    @property
    def characters(self) -> int:
        """The number of characters counted, which are the text's last ones."""
        return len(self.index.rows)

    @classmethod
    def fit(
        cls,
        ids: AnyIds,
        vocabulary_size: int,
        max_order: int = 20,
        memory_limit: int = 576 << 20,
    ) -> "NGram":
        """Counts as much of a text's tail as memory and file size allow, 16 M characters.

        Args:
            ids: the training part, shape [characters].
            max_order: 0 to 32.
            memory_limit: memory to use in bytes. ``losses`` also stays below it, except for up to
                100 MB for the text it measures.

        Raises:
            ValueError: there is nothing to count, or an argument is out of range.
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
        return cls(ContextIndex.of(tail.astype(dtype), vocabulary_size, max_order), len(ids))

    def with_order(self, order: int) -> "NGram":
        """Returns the model of a lower order, as if it had been fitted with it.

        Raises:
            ValueError: the order is not between 0 and this model's.
        """
        if not 0 <= order <= self.order:
            raise ValueError(f"order must be from 0 to {self.order}")
        if order == self.order:
            return self
        return NGram(self.index.with_order(order), self.of_characters)

    def with_best_order(self, validation: AnyIds) -> tuple["NGram", float]:
        """Returns the model of the order with the lowest loss on a text, and that loss."""
        losses = self.losses(validation)
        best = int(np.argmin(losses))
        return self.with_order(best), float(losses[best])

    def losses(self, ids: AnyIds) -> Doubles:
        """Returns the mean cross-entropy over a text for each order up to this model's.

        The first character is read but not predicted, as in ``trainer.evaluate``, and contexts
        restart every 2²⁰ characters.

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

    def next_distribution(self, context: Sequence[int] | AnyInts) -> Doubles:
        """Returns the probabilities of the next id after a context of any length, [vocabulary]."""
        return self.distribution(self.index.read(context)).copy()

    def distribution(self, runs: RowIds) -> Doubles:
        """Returns the probabilities of the next id, [vocabulary], after a context.

        Args:
            runs: of the context, as ``ContextIndex.read`` returns them.

        Returns:
            An array that may be in the model's cache: do not modify it.
        """
        firsts, lasts = runs.tolist()
        seen = sum(a < b for a, b in zip(firsts, lasts, strict=True))
        probabilities = np.full(self.vocabulary_size, 1 / self.vocabulary_size)
        # Interpolates from order 0, or from the longest cached context, to the longest seen.
        begin = 0
        for order in reversed(range(seen)):
            remembered = self._cache.get((order, firsts[order]))
            if remembered is not None:
                probabilities, begin = remembered, order + 1
                break
        for order in range(begin, seen):
            first, last = firsts[order], lasts[order]
            if last - first == 1:
                # All longer contexts consist of this row: one factor gives what they leave over.
                left = float(self._single_discounts[order:seen].prod())
                probabilities = left * probabilities
                probabilities[self.index.rows[first]] += 1 - left
                break
            probabilities = self._smooth(order, first, last, probabilities)
            if last - first >= _CACHED_RUN:
                self._remember(order, first, probabilities)
        return probabilities

    def _smooth(self, order: int, first: int, last: int, lower: Doubles) -> Doubles:
        raw = order == self.order
        ids = self.index.followers(order, first, last, raw=raw)
        counts = np.bincount(ids, minlength=self.vocabulary_size)
        discounts = self._discounts[order, int(raw)][np.minimum(counts, 3)]
        smoothed: Doubles = (counts - discounts + discounts.sum() * lower) / len(ids)
        return smoothed

    def _remember(self, order: int, first: int, probabilities: Doubles) -> None:
        if (len(self._cache) + 1) * probabilities.nbytes > _CACHE_BYTES:
            self._cache.clear()
        self._cache[order, first] = probabilities

    def _estimate_discounts(self) -> Doubles:
        """Returns the discounts of counts 0, 1, 2 and more, shape [order + 1, 2, 4].

        [:, 1] applies if that order is the highest.
        """
        discounts = np.zeros((self.order + 1, 2, 4))
        for order in range(self.order + 1):
            for raw in (False, True):
                if raw or order < self.order:
                    _, counts = self.index.pairs(order, raw=raw)
                    discounts[order, int(raw)] = estimated_discounts(counts)
        return discounts

    def _backoff_sums(self, order: int, *, raw: bool) -> Doubles:
        """Returns the sum of the discounts in all rows before each, shape [characters + 1].

        A run of rows gives the difference at its ends to the lower order.
        """
        places, counts = self.index.pairs(order, raw=raw)
        taken = self._discounts[order, int(raw)].astype(np.float32)[np.minimum(counts, 3)]
        del counts
        weights = np.zeros(self.characters, dtype=np.float32)
        weights[self.index.origins[places]] = taken
        del places, taken
        sums = np.zeros(self.characters + 1)
        np.cumsum(weights, out=sums[1:])
        return sums

    def _log_likelihoods(self, ids: AnyIds) -> Doubles:
        """Returns the log-probability of a text without its first character, for each order."""
        result = np.empty(self.order + 1)
        lower = np.full(len(ids), 1 / self.vocabulary_size)
        for order, (at, first, last, next_first, next_last) in enumerate(
            self.index.runs_along(ids)
        ):
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
                longer = self.index.pairs_before(order)
                counts = longer[next_last] - longer[next_first]
                kept = counts - discounts[0][np.minimum(counts, 3)]
                longer = self.index.followers_before(order)
                lower[at] = (kept + share) / (longer[last] - longer[first])
                del longer
        return result

    def to_bytes(self) -> bytes:
        """Returns the file: safetensors with one tensor, ``rows``, and the sizes as metadata."""
        sizes = {
            "format": 1,
            "vocabulary_size": self.vocabulary_size,
            "order": self.order,
            "of_characters": self.of_characters,
        }
        # One entry: safetensors writes several in any order, but equal models need equal bytes.
        return to_safetensors({"rows": self.index.rows}, {"ngram": json.dumps(sizes)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "NGram":
        """Reads a model's file. Any rows make a valid model, so only the sizes are checked.

        Raises:
            CheckpointError: the file is damaged; the message says how.
        """
        header = read_tensor_header(data, _FILE, _MAX_HEADER)
        if len(data) > FILE_LIMIT + header.size:
            raise CheckpointError("the n-gram model is too large")
        sizes = parse_object(str(header.metadata.get("ngram")).encode(), _FILE)
        if sizes.get("format") != 1:
            raise CheckpointError("the n-gram model has a format that this version does not read")
        vocabulary_size = _size(sizes, "vocabulary_size", 1, MAX_VOCABULARY)
        order = _size(sizes, "order", 0, MAX_ORDER)
        dtype = _id_type(vocabulary_size)
        length = (len(data) - header.size) // dtype.itemsize
        name = "U8" if dtype.itemsize == 1 else "U16"
        if length < 1 or header.tensors != {"rows": (name, [length])}:
            raise CheckpointError("the n-gram model does not contain the rows that it declares")
        try:
            rows: AnyIds = parse_safetensors(data)["rows"]
        except SafetensorError as error:
            raise CheckpointError(f"the n-gram model: {error}") from None
        if rows.max() >= vocabulary_size:
            raise CheckpointError("the n-gram model contains an id that is not in its vocabulary")
        of_characters = _size(sizes, "of_characters", len(rows), 1 << 53)
        return cls(ContextIndex(rows, vocabulary_size, order), of_characters)


def _id_type(vocabulary_size: int) -> np.dtype[Any]:
    return np.dtype("u1") if vocabulary_size <= 256 else np.dtype("<u2")


def estimated_discounts(counts: AnyInts) -> Doubles:
    """Returns the discounts of counts 0, 1, 2 and more, shape [4] (Chen & Goodman 1998, eq. 26).

    They are above 0, so every probability is, and multiples of 2⁻²⁰, so that their sums are exact
    and ``losses`` and ``next_distribution`` agree.
    """
    n = [int(np.count_nonzero(counts == count)) for count in range(5)]
    discounts = list(_FALLBACK_DISCOUNTS)
    for count in (1, 2, 3):
        if n[1] and n[count] and n[count + 1]:
            y = n[1] / (n[1] + 2 * n[2])
            estimate = count - (count + 1) * y * n[count + 1] / n[count]
            discounts[count] = min(max(estimate, 0.01), count - 0.001)
    return np.round(np.array(discounts) * 2**20) / 2**20


def _size(sizes: dict[str, Any], name: str, low: int, high: int) -> int:
    value = sizes.get(name)
    if type(value) is not int or not low <= value <= high:
        raise CheckpointError(f"the n-gram model's {name} is not between {low} and {high}")
    return value
