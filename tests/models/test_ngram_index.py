"""The index counts what a dictionary counts, of every context of every length."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from numpy.typing import NDArray

from models.ngram_index import ContextIndex

Followers = dict[tuple[int, ...], Counter[int]]


def naively(ids: list[int], length: int) -> Followers:
    """What followed each context of a length; the text is read as a ring."""
    found: Followers = defaultdict(Counter)
    for place, id_ in enumerate(ids):
        context = tuple(ids[(place - length + step) % len(ids)] for step in range(length))
        found[context][id_] += 1
    return found


def some_text(seed: int) -> tuple[NDArray[np.uint8], int]:
    random = np.random.default_rng(seed)
    used = int(random.integers(1, 5))
    return random.integers(0, used, size=random.integers(1, 200)).astype(np.uint8), used


@pytest.mark.parametrize("seed", range(15))
def test_a_contexts_run_holds_what_followed_it(seed: int) -> None:
    ids, used = some_text(seed)
    order = seed % 7
    index = ContextIndex.of(ids, used, order)
    assert sorted(index.rows.tolist()) == sorted(ids.tolist())
    for length in range(order + 1):
        for context, followers in naively(ids.tolist(), length).items():
            first, last = index.read(context)[:, length]
            assert Counter(index.rows[first:last].tolist()) == followers
            raw = index.followers(length, first, last, raw=True)
            assert Counter(raw.tolist()) == followers


@pytest.mark.parametrize("seed", range(15))
def test_a_lower_order_counts_what_stands_before(seed: int) -> None:
    """Of a context and its follower: how many distinct characters stand before both."""
    ids, used = some_text(seed)
    order = 1 + seed % 6
    index = ContextIndex.of(ids, used, order)
    for length in range(order):
        longer = naively(ids.tolist(), length + 1)
        for context in naively(ids.tolist(), length):
            first, last = index.read(context)[:, length]
            counted = index.followers(length, first, last, raw=False)
            before: Counter[int] = Counter()
            for other, followers in longer.items():
                if other[1:] == context:
                    before.update(followers.keys())
            assert Counter(counted.tolist()) == before


@pytest.mark.parametrize("seed", range(15))
def test_pairs_are_counted_for_the_discounts(seed: int) -> None:
    ids, used = some_text(seed)
    order = seed % 6
    index = ContextIndex.of(ids, used, order)
    for length in range(order + 1):
        _, counts = index.pairs(length, raw=True)
        expected = [n for seen in naively(ids.tolist(), length).values() for n in seen.values()]
        assert sorted(counts.tolist()) == sorted(expected)


def test_a_context_that_was_never_seen_has_an_empty_run() -> None:
    index = ContextIndex.of(np.array([0, 1, 0, 1, 2], np.uint8), 4, 3)
    first, last = index.read([3, 0])
    assert (first < last).tolist() == [True, True, False, False]
    assert (index.extend(index.read([1]), 0) == index.read([1, 0])).all()


@pytest.mark.parametrize("seed", range(15))
def test_a_lower_order_is_as_if_sorted_less_deep(seed: int) -> None:
    ids, used = some_text(seed)
    deep = ContextIndex.of(ids, used, 8)
    for order in range(8):
        lower = deep.with_order(order)
        assert lower.order == order
        np.testing.assert_array_equal(lower.rows, ContextIndex.of(ids, used, order).rows)


@pytest.mark.parametrize("seed", range(10))
def test_runs_along_a_text_are_those_of_its_contexts(seed: int) -> None:
    ids, used = some_text(seed)
    index = ContextIndex.of(ids, used, 4)
    text = np.random.default_rng(100 + seed).integers(0, used, size=40).astype(np.uint8)
    for length, (at, first, last, next_first, next_last) in enumerate(index.runs_along(text)):
        for place, *ends in zip(at, first, last, next_first, next_last, strict=True):
            context = text[place - length : place].tolist()
            assert index.read(context)[:, length].tolist() == ends[:2]
            follower = int(text[place])
            held = index.rows[ends[0] : ends[1]].tolist()
            assert held.count(follower) == ends[3] - ends[2]
