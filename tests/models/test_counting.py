"""What is counted is what a slow twin counts, and no position knows its own fold."""

import math
import re
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import ngram_table
from models.arrays import AnyInts, Floats, Ids
from models.ngram import NGram
from models.ngram_table import KEY_BYTES, STEP, NGramTable, Rows, hashes
from models.sizing import COUNTING_BYTES, TABLE_BYTES
from models.training import counting
from models.training.counting import count
from models.training.folds import FOLDS
from models.training.ngram_features import NGramFeatures
from tests.toys import babble

Context = tuple[int, ...]
"""The nearest id first; −1 is nothing."""

Level = dict[Context, Counter[int]]
"""How often what followed."""

NEWLINE = 0


class Twin:
    """Interpolated modified Kneser-Ney over dictionaries.

    Contexts of up to ``orders`` ids are kept if they recur and gain more than ``least`` nats.
    """

    def __init__(
        self, ids: Sequence[int], vocabulary: int, orders: int, least: float, *, lines: bool
    ) -> None:
        self.ids = ids
        self.size = vocabulary
        self.orders = orders
        self.lines = lines
        self.every = range(len(ids))
        self.counts = self.counted(self.every)
        self.discounts = [self.estimated(level) for level in self.counts]
        self.kept = self.worth(least)
        self.outside: dict[int, list[Level]] = {}

    def context(self, position: int) -> Context:
        found: list[int] = []
        for distance in range(1, self.orders + 1):
            begun = self.lines and NEWLINE in found
            found.append(
                self.ids[position - distance] if position >= distance and not begun else -1
            )
        return tuple(found)

    def counted(self, positions: Iterable[int]) -> list[Level]:
        """The counts of Kneser & Ney at each length."""
        raw = Counter((self.context(p), self.ids[p]) for p in positions)
        levels = []
        pairs = raw
        for length in range(self.orders, -1, -1):
            level: Level = defaultdict(Counter)
            for (context, id_), number in pairs.items():
                level[context][id_] += number
            levels.append(level)
            shorter: Counter[tuple[Context, int]] = Counter()
            occurs: Counter[tuple[Context, int]] = Counter()
            for (context, id_), number in raw.items():
                occurs[context[:length], id_] += number
            for (context, id_), number in occurs.items():
                shorter[context[:-1], id_] += number if context and context[-1] < 0 else 1
            pairs = shorter
        return levels[::-1]

    def estimated(self, level: Level) -> list[float]:
        numbers = [number for after in level.values() for number in after.values()]
        n = [numbers.count(k) for k in range(5)]
        found = [0.0, 0.5, 1.0, 1.5]
        for k in (1, 2, 3):
            if n[1] and n[k] and n[k + 1]:
                estimate = k - (k + 1) * n[1] / (n[1] + 2 * n[2]) * n[k + 1] / n[k]
                found[k] = min(max(estimate, 0.01), k - 0.001)
        return found

    def probability(
        self,
        context: Context,
        id_: int,
        counts: list[Level],
        kept: set[Context],
    ) -> float:
        probability = 1 / self.size
        for length in range(len(context) + 1):
            after = counts[length].get(context[:length])
            if after is None or (length and context[:length] not in kept):
                continue
            discounts = [self.discounts[length][min(number, 3)] for number in after.values()]
            own = after.get(id_, 0)
            own_discount = self.discounts[length][min(own, 3)] if own else 0.0
            left = sum(discounts) * probability
            probability = (own - own_discount + left) / sum(after.values())
        return probability

    def worth(self, least: float) -> set[Context]:
        kept: set[Context] = set()
        for length in range(1, self.orders + 1):
            gains: defaultdict[Context, float] = defaultdict(float)
            occurs: Counter[Context] = Counter()
            for position in self.every:
                context = self.context(position)[:length]
                with_it = self.probability(
                    context, self.ids[position], self.counts, kept | {context}
                )
                without = self.probability(context[:-1], self.ids[position], self.counts, kept)
                gains[context] += math.log(with_it / without)
                occurs[context] += 1
            kept |= {
                context
                for context, gain in gains.items()
                if gain > least and occurs[context] > 1 and context[-1] >= 0
            }
        return kept

    def longest(self, position: int) -> Context:
        context = self.context(position)
        ends = (context[:length] for length in range(self.orders, 0, -1))
        return next((end for end in ends if end in self.kept), ())

    def unseen(self, position: int) -> float:
        """The probability of what follows, by the text without the position's fold."""
        length = len(self.ids)
        fold = position * FOLDS // length
        others = [p for p in self.every if p * FOLDS // length != fold]
        if fold not in self.outside:
            self.outside[fold] = self.counted(others)
        return self.probability(
            self.context(position), self.ids[position], self.outside[fold], self.kept
        )


def contexts_of(features: NGramFeatures) -> set[Context]:
    """Those of the text that have a row."""
    table, ids = features.table, features.ids.astype(np.int64)
    found: set[Context] = set()
    for index, length in enumerate(table.lengths[: len(table.sizes)]):
        keys = hashes(ids, [length], table.vocabulary_size)[..., 0]
        for at in np.flatnonzero(table.numbers(index, keys)).tolist():
            found.add(tuple(ids[max(0, at + 1 - length) : at + 1][::-1].tolist()))
    assert len(found) == rows_of(table) - 1
    return found


def rows_of(table: NGramTable) -> int:
    """How many there are, with that of no context."""
    return 1 + int(np.count_nonzero(table.keys[: 1 + sum(table.sizes)] != -1))


def expected(features: NGramFeatures) -> Floats:
    """The probability that each position's row has for what follows."""
    positions = np.arange(len(features.rows))
    logits = features.log_probabilities(positions).astype(np.float64)
    shares = np.exp(logits)
    own = shares[positions, features.ids[: len(positions)]]
    return np.asarray(own / shares.sum(axis=1), np.float32)


def both(features: NGramFeatures) -> Ids:
    """The row and the list of each position."""
    lists = np.zeros_like(features.rows) if features.lists is None else features.lists
    return np.stack([features.rows, lists], axis=-1).astype(np.int64)


def some_text(length: int, vocabulary: int, seed: int) -> Ids:
    """Words of few letters with a few noisy ones, so that contexts of all lengths recur."""
    rng = np.random.default_rng(seed)
    words = [rng.integers(0, vocabulary, size=rng.integers(1, 6)) for _ in range(8)]
    text = np.concatenate([words[i] for i in rng.integers(0, 8, size=length)])[:length]
    noisy = rng.random(length) < 0.1
    text[noisy] = rng.integers(0, vocabulary, size=int(noisy.sum()))
    return text


TEXTS = [
    (some_text(500, 5, 0), 5, 4, False),
    (some_text(400, 3, 1), 3, 6, False),
    (some_text(500, 6, 2), 6, 4, True),
    (some_text(300, 40, 3), 40, 2, True),
    (np.zeros(40, np.int64), 1, 3, False),
    (np.array([1, 0]), 2, 3, False),
    (np.array([0, 0, 1, 1, 0, 0]), 2, 3, True),
]


@pytest.mark.parametrize(("ids", "vocabulary", "orders", "lines"), TEXTS)
def test_it_counts_as_dictionaries_do(ids: Ids, vocabulary: int, orders: int, lines: bool) -> None:
    twin = Twin(ids.tolist(), vocabulary, orders, counting.LEAST_GAIN, lines=lines)
    found = count(ids.astype(np.uint8), vocabulary, orders, 5000, NEWLINE if lines else None)
    assert contexts_of(found) == twin.kept
    rows = found.table.log_probabilities(both(found))
    for position in range(len(ids)):
        row = [
            math.log(twin.probability(twin.longest(position), id_, twin.counts, twin.kept))
            for id_ in range(vocabulary)
        ]
        # Nothing is less likely than a byte can say.
        assert np.abs(rows[position] - np.maximum(row, -255 * STEP)).max() <= STEP / 2 + 1e-4


@pytest.mark.parametrize(("ids", "vocabulary", "orders", "lines"), TEXTS)
def test_no_position_knows_its_own_fold(
    ids: Ids, vocabulary: int, orders: int, lines: bool
) -> None:
    """Its probability is that of the text without the fold, by contexts that the table has."""
    twin = Twin(ids.tolist(), vocabulary, orders, counting.LEAST_GAIN, lines=lines)
    found = count(ids.astype(np.uint8), vocabulary, orders, 5000, NEWLINE if lines else None)
    if vocabulary == 1:
        return
    told = expected(found)
    for position in range(len(ids)):
        true = min(max(twin.unseen(position), 1e-8), 1 - 1e-4)
        odds = math.log(true / (1 - true))
        assert math.log(told[position] / (1 - told[position])) == pytest.approx(odds, abs=0.02)


@pytest.mark.parametrize("newline", [None, NEWLINE])
def test_a_position_has_the_row_that_a_reader_would_look_up(newline: int | None) -> None:
    ids = babble(30_000)
    found = count(ids, 29, 16, 3000, newline, lists_from=0)
    table = found.table
    shown, looked_up = both(found)[1:], table.find(table.hashes(ids[:-1]))
    assert (shown[:, 0] == looked_up[:, 0]).all()
    # A list is not shown where only the position's own fold makes it worth one.
    same = shown[:, 1] == looked_up[:, 1]
    assert same.mean() > 0.8
    assert (looked_up[~same, 1] > 0).all()
    assert (both(found)[0] == 0).all()
    assert (found.lists is None) == (newline is not None)
    assert len(found.rows) == len(found.answers) == len(ids)


def test_all_contexts_together_are_the_model_that_counts_beside_networks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counting, "LEAST_GAIN", -math.inf)
    ids, order = babble(8000), 5
    found = count(ids, 29, order, 1 << 20)
    model = NGram.fit(ids, 29, order)
    contexts = contexts_of(found)
    occurs = Counter(
        tuple(ids[p - n : p][::-1].tolist()) for n in range(1, 6) for p in range(n, len(ids))
    )
    assert contexts == {context for context, number in occurs.items() if number > 1}
    # The other model reads the text as a ring, so it knows one more id after the end.
    compared = [context for context in sorted(contexts) if context[0] != ids[-1]]
    assert len(compared) > 1000
    for context in compared:
        ids_read = np.array(context[::-1])
        table = found.table
        told = table.log_probabilities(table.find(table.hashes(ids_read))[-1:])[0]
        true = np.log(model.next_distribution(ids_read))
        assert np.abs(told - np.maximum(true, -255 * STEP)).max() <= STEP / 2 + 0.005


def test_rows_are_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    exact: list[Floats] = []
    rounded = counting._rounded

    def spied(rows: Floats) -> Rows:
        exact.append(rows.copy())
        return rounded(rows)

    monkeypatch.setattr(counting, "_rounded", spied)
    found = count(babble(30_000), 29, 8, 3000)
    (rows,) = exact
    assert len(rows) == 1 + len(contexts_of(found)) > 1000
    assert np.abs(rows.sum(axis=1, dtype=np.float64) - 1).max() < 1e-5
    assert rows.min() > 0
    likely = rows > math.exp(-255 * STEP)
    told = np.exp(-STEP * rounded(rows).astype(np.float64))
    assert np.abs(np.log(told / rows))[likely].max() <= STEP / 2 + 1e-5


def test_no_context_reaches_beyond_the_line_before() -> None:
    """A list's lines have nothing to do with each other; here each tells the next."""
    lines = [[1, 2], [3, 4], [5, 6]] * 60
    ids = np.array([id_ for line in lines for id_ in [*line, NEWLINE]])
    within = contexts_of(count(ids, 7, 6, 1000, NEWLINE))
    across = contexts_of(count(ids, 7, 6, 1000))
    assert (NEWLINE,) not in across or (2, 1, NEWLINE) in within
    for context in within:
        assert NEWLINE not in context[:-1]
    assert any(NEWLINE in context[:-1] for context in across)


@pytest.mark.parametrize("most", [1, 2, 7, 8, 9, 20, 100, 999, 5000])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_table_has_no_more_buckets_than_asked(most: int, seed: int) -> None:
    found = count(babble(20_000, seed), 29, 8, most)
    assert sum(found.table.sizes) <= most
    if most >= 100:
        assert len(contexts_of(found)) > 0.7 * most


def test_what_gains_most_is_kept() -> None:
    few, many = (contexts_of(count(babble(20_000), 29, 8, most)) for most in (200, 4000))
    # Context by context, for what one gains depends on others.
    assert len(few & many) > 0.95 * len(few)


def test_a_context_that_gains_nothing_has_no_row() -> None:
    ids = np.random.default_rng(0).integers(0, 4, size=20_000)
    assert len(contexts_of(count(ids, 4, 8, 1 << 16))) < 1500


def test_a_longer_text_has_more_lists_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def lists() -> int:
        return sum(count(babble(20_000), 29, 16, 60, lists_from=0).table.long_sizes)

    assert 60 < lists() <= 120
    monkeypatch.setattr(ngram_table, "MORE_LISTS_FROM", 20_000)
    assert 120 < lists() <= 240


def test_equal_texts_are_counted_equally() -> None:
    ids = babble(20_000)
    first, again = (count(of, 29, 16, 2000, lists_from=0) for of in (ids, ids.astype(np.uint16)))
    assert first.table.sizes == again.table.sizes
    assert first.table.long_sizes == again.table.long_sizes
    for name, tensor in first.table.tensors().items():
        assert tensor.tobytes() == again.table.tensors()[name].tobytes()
    assert first.answers.tobytes() == again.answers.tobytes()
    assert both(first).tobytes() == both(again).tobytes()


def test_the_page_that_explains_it_counts_the_same() -> None:
    """The example's rows, by other means; and no target is in its own."""
    page = (Path(__file__).parents[2] / "docs" / "how-it-works.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    shown: dict[str, Any] = {}
    exec(compile(code, "how-it-works.md", "exec"), shown)
    ids, k, folds = some_text(120, 5, 0), 5, 4
    pairs = list(pairwise(ids.tolist()))
    cut = np.array_split(np.arange(len(pairs)), folds)
    found = shown["unseen"](ids, k, folds)
    for at, (before, target) in enumerate(pairs):
        (fold,) = (part for part in cut if at in part)
        others = [pair for number, pair in enumerate(pairs) if number not in fold]
        for id_ in range(k):
            among = others if id_ == target else pairs
            follows = [after for context, after in among if context == before]
            share = (follows.count(id_) + 1) / (len(follows) + k)
            assert found[at, id_] == pytest.approx(math.log(share))
    assert shown["mixed"]([2.0, 0.5], np.ones(5), np.arange(5.0)).tolist() == [2, 2.5, 3, 3.5, 4]


@pytest.mark.parametrize("lists_from", [0, 1 << 30])
@pytest.mark.parametrize("times", [1, 2])
def test_counting_needs_bounded_memory(lists_from: int, times: int) -> None:
    """Of a random text, which has the most distinct contexts; twice, the most that occur again."""
    random = np.random.default_rng(0).integers(0, 64, size=300_000 // times)
    ids: AnyInts = np.tile(random, times).astype(np.uint8)
    buckets = 20_000
    tracemalloc.start()
    try:
        count(ids, 64, 16, buckets, lists_from=lists_from)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < COUNTING_BYTES * len(ids) + TABLE_BYTES * buckets * (KEY_BYTES + 64)
