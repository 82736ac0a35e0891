"""Long contexts get the lists that a slow twin gives them."""

import math
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from models.arrays import Doubles, Ids
from models.ngram import estimated_discounts
from models.ngram_table import FOLLOWERS, STEP, hashes
from models.training import long_contexts
from models.training.folds import folds_of
from models.training.long_contexts import (
    Counted,
    CountedLength,
    count_lengths,
    count_long,
)
from models.training.sorted_contexts import sort_beside

Context = tuple[int, ...]
LENGTHS = [2, 3, 5]
SIZE = 12


def some_text(length: int, seed: int) -> Ids:
    """Phrases of a few ids, so that contexts recur, with some noise."""
    rng = np.random.default_rng(seed)
    phrases = [rng.integers(0, SIZE, size=rng.integers(2, 9)) for _ in range(9)]
    text = np.concatenate([phrases[i] for i in rng.zipf(1.3, size=length) % 9])[:length]
    noisy = rng.random(length) < 0.05
    text[noisy] = rng.integers(0, SIZE, size=int(noisy.sum()))
    return text


def known(ids: Ids, seed: int) -> Counted:
    """As if contexts of one id had rows, and the other folds said something of each position."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(SIZE), size=SIZE + 1)
    rows = np.clip(np.rint(-np.log(shares) / STEP), 0, 255).astype(np.uint8)
    before = np.concatenate([[SIZE], ids[:-1]]).astype(np.int32)
    expected = rng.uniform(0.02, 0.6, size=len(ids)).astype(np.float32)
    return Counted(ids, folds_of(len(ids)), expected, rows, before)


def counted_lengths(counted: Counted, size: int = SIZE) -> list[CountedLength]:
    with ThreadPoolExecutor(1) as beside:
        pairs = sort_beside(beside, counted.ids, size, LENGTHS)
        return list(count_lengths(pairs, counted.folds))


@dataclass
class TwinList:
    context: Context
    whole: dict[int, float] = field(default_factory=dict)
    others: float = 1.0
    boosts: dict[int, int] = field(default_factory=dict)


class Twin:
    """Counts over dictionaries, as ``CountedLength`` and ``_Choice`` say."""

    def __init__(self, counted: Counted) -> None:
        self.counted = counted
        self.ids = counted.ids.tolist()
        self.expected = counted.expected.astype(np.float64)
        self.told = self.expected.copy()
        self.shown: dict[int, TwinList] = {}
        self.lists: dict[int, TwinList] = {}
        # As many as have a context that occurs twice.
        self.lengths = [n for n in LENGTHS if self.repeated(n)]
        for index, length in enumerate(self.lengths):
            self.choose(length, self.lengths[index + 1 :])

    def context(self, position: int, length: int) -> Context:
        padded = [-1] * length + self.ids
        return tuple(padded[position : position + length])

    def repeated(self, length: int) -> set[Context]:
        occurs = Counter(self.context(p, length) for p in range(1, len(self.ids)))
        return {context for context, number in occurs.items() if number > 1}

    def units(self, length: int, longer: list[int]) -> list[tuple[Context, int, int]]:
        """The context, the id and the fold of each thing that counts."""
        every = range(1, len(self.ids))
        folds = self.counted.folds.tolist()
        if not longer:
            return [(self.context(p, length), self.ids[p], folds[p]) for p in every]
        known = self.repeated(longer[0])
        seen: set[tuple[Context, int, int]] = set()
        units = []
        for p in every:
            further = self.context(p, longer[0]), self.ids[p], folds[p]
            if further[0] in known:
                if further in seen:
                    continue
                seen.add(further)
            units.append((self.context(p, length), self.ids[p], folds[p]))
        return units

    def choose(self, length: int, longer: list[int]) -> None:
        known = self.repeated(length)
        units = [unit for unit in self.units(length, longer) if unit[0] in known]
        counts: dict[Context, Counter[int]] = defaultdict(Counter)
        inside: dict[tuple[Context, int], Counter[int]] = defaultdict(Counter)
        for context, id_, fold in units:
            counts[context][id_] += 1
            inside[context, fold][id_] += 1
        numbers = np.array([n for after in counts.values() for n in after.values()])
        discounts = estimated_discounts(numbers)
        told: dict[int, float] = {}
        parts: dict[int, tuple[float, float]] = {}
        gains: dict[Context, list[tuple[int, float]]] = defaultdict(list)
        hopes: dict[Context, float] = defaultdict(float)
        followers = {c: sorted(a, key=lambda i: (-a[i], i))[:FOLLOWERS] for c, a in counts.items()}
        for p in range(1, len(self.ids)):
            context = self.context(p, length)
            if context in known:
                seen = self.shares(counts[context], discounts, followers[context])
                own = seen.get(self.ids[p], 0.0) / self.expected[p] + 1 - sum(seen.values())
                hopes[context] += math.log(own)
                after = counts[context].copy()
                after.subtract(inside[context, int(self.counted.folds[p])])
                shares = self.shares(+after, discounts, followers[context])
                left = 1 - sum(shares.values())
                parts[p] = shares.get(self.ids[p], 0.0), left
                told[p] = parts[p][0] + left * self.expected[p]
                gain = math.log(told[p] / self.expected[p])
                gains[context].append((int(self.counted.folds[p]), gain))
        for context, gained in gains.items():
            if hopes[context] <= long_contexts.LEAST_GAIN:
                continue
            made = None
            if self.is_worth([gain for _, gain in gained]):
                seen = self.shares(counts[context], discounts, followers[context])
                made = self.listed(context, seen)
            for p in range(1, len(self.ids)):
                if self.context(p, length) != context:
                    continue
                fold = int(self.counted.folds[p])
                if made:
                    self.lists[p], self.expected[p] = made, told[p]
                if self.is_worth([gain for other, gain in gained if other != fold]):
                    self.told[p] = parts[p][0] + parts[p][1] * self.told[p]
                    if made:
                        self.shown[p] = made

    @staticmethod
    def is_worth(gained: list[float]) -> bool:
        deviation = math.sqrt(sum(gain * gain for gain in gained))
        return sum(gained) > long_contexts.LEAST_GAIN + long_contexts.DEVIATIONS * deviation

    @staticmethod
    def shares(after: Counter[int], discounts: Doubles, among: list[int]) -> dict[int, float]:
        total = sum(after.values())
        return {i: (after[i] - discounts[min(after[i], 3)]) / total for i in among if after[i]}

    def listed(self, context: Context, own: dict[int, float]) -> TwinList:
        position = next(
            p for p in range(1, len(self.ids)) if self.context(p, len(context)) == context
        )
        below = self.lists.get(position, TwinList(()))
        row = np.exp(-STEP * self.counted.rows[context[-1]].astype(float))
        before = {i: below.whole.get(i, row[i] * below.others) for i in own}
        left = 1 - sum(own.values())
        whole = {i: share + left * before[i] for i, share in own.items()}
        others = left * max(1 - sum(before.values()), 1e-4)
        others_in_row = max(1 - sum(row[i] for i in own), 1e-4)
        boosts = {
            i: min(255, max(0, round(math.log(whole[i] / others * others_in_row / row[i]) / STEP)))
            for i in own
        }
        return TwinList(context, whole, others / others_in_row, boosts)


@pytest.mark.parametrize("seed", range(4))
def test_lists_are_those_of_dictionaries(seed: int) -> None:
    ids = some_text(500, seed)
    counted = known(ids, seed)
    twin = Twin(counted)
    found = count_long(counted, counted_lengths(counted), 10_000)
    assert len({made.context for made in twin.lists.values()}) > 10
    keys = np.concatenate(found.keys).tolist()
    assert len(set(keys)) == len(keys) == len(found.lists[0])
    for position in range(len(ids)):
        number = int(found.numbers[position]) - 1
        made = twin.lists.get(position)
        assert (number >= 0) == (made is not None), position
        assert found.expected[position] == pytest.approx(twin.told[position], rel=1e-4)
        shown = twin.shown.get(position)
        assert (found.shown[position] > 0) == (shown is not None), position
        if shown:
            other = int(found.shown[position]) - 1
            assert keys[other] == hashes(np.array(shown.context), [len(shown.context)], SIZE)[-1, 0]
        if made:
            context = np.array(made.context)
            assert keys[number] == hashes(context, [len(context)], SIZE)[-1, 0]
            followers, boosts = (values[number].tolist() for values in found.lists)
            told: Counter[int] = Counter()
            for id_, boost in zip(followers, boosts, strict=True):
                told[id_] += boost
            for id_, boost in made.boosts.items():
                # It may be between two.
                assert abs(told[id_] - boost) <= 1
            assert sum(boosts) == sum(told[id_] for id_ in made.boosts)


@pytest.mark.parametrize("most", [0, 1, 2, 9, 30])
def test_there_are_no_more_lists_than_asked(most: int) -> None:
    ids = some_text(2000, 0)
    counted = known(ids, 0)
    lengths = counted_lengths(counted)
    every = count_long(counted, lengths, 10_000)
    found = count_long(counted, lengths, most)
    assert most // 2 <= len(found.lists[0]) <= most < len(every.lists[0])
    assert set(np.concatenate([np.zeros(0, int), *found.keys])) <= set(np.concatenate(every.keys))


def test_a_text_without_repetition_has_no_lists() -> None:
    ids = np.arange(40)
    counted = Counted(
        ids,
        folds_of(40),
        np.full(40, 0.1, np.float32),
        np.zeros((1, 40), np.uint8),
        np.zeros(40, np.int32),
    )
    assert counted_lengths(counted, 40) == []
    found = count_long(counted, [], 10)
    assert found.keys == []
    assert not found.numbers.any()
    assert found.expected.tolist() == counted.expected.tolist()


def test_what_seems_to_predict_by_chance_rarely_gets_a_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of random ids, after each context some follow more often than others."""
    ids = np.random.default_rng(0).integers(0, SIZE, size=4000)
    counted = Counted(
        ids,
        folds_of(len(ids)),
        np.full(len(ids), 1 / SIZE, np.float32),
        np.full((1, SIZE), round(math.log(SIZE) / STEP), np.uint8),
        np.zeros(len(ids), np.int32),
    )
    lengths = counted_lengths(counted)
    found = len(count_long(counted, lengths, 10_000).lists[0])
    monkeypatch.setattr(long_contexts, "DEVIATIONS", 0.0)
    hasty = len(count_long(counted, lengths, 10_000).lists[0])
    assert found < 0.05 * sum(len(length.pairs.first) for length in lengths)
    assert found < 0.7 * hasty


def test_no_fold_is_shown_a_list_for_what_it_gained_there() -> None:
    """What lists seem to gain for the folds is what they gain in other text."""
    ids = some_text(20_000, 0)
    train, other = ids[:16_000], ids[16_000:]
    counted = known(train, 0)
    counted.expected[:] = 1 / SIZE
    lengths = counted_lengths(counted)
    found = count_long(counted, lengths, 10_000)
    gained = float(np.log(found.expected * SIZE).mean())
    # In text that was not counted, with the shares of the whole.
    told = 0.0
    twin: dict[int, tuple[dict[int, float], float]] = {}
    for length in lengths:
        left = 1 - length.pairs.sums(length.shares)
        chosen = set(np.concatenate(found.keys).tolist())
        for pair, context in enumerate(length.pairs.of.tolist()):
            key = int(length.pairs.keys[context])
            if key in chosen:
                id_ = int(train[length.pairs.at[length.pairs.starts[pair]]])
                twin.setdefault(key, ({}, float(left[context])))[0][id_] = float(
                    length.shares[pair]
                )
    keys = hashes(other, LENGTHS, SIZE)
    for at in range(len(other) - 1):
        probability = 1 / SIZE
        for key in keys[at].tolist():
            if key in twin:
                shares, left_over = twin[key]
                probability = shares.get(int(other[at + 1]), 0.0) + left_over * probability
        told += math.log(probability * SIZE)
    assert gained == pytest.approx(told / (len(other) - 1), abs=0.03)
