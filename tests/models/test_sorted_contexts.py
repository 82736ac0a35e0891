"""Positions are sorted by context, then by id; contexts that occur once are left out."""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from models.ngram_table import hashes
from models.training.sorted_contexts import Pairs, sort_beside


def sorted_pairs(ids: np.ndarray, size: int, lengths: list[int]) -> list[Pairs | None]:
    with ThreadPoolExecutor(1) as beside:
        return [each.result() for each in sort_beside(beside, ids, size, lengths)]


@pytest.mark.parametrize("seed", range(3))
def test_pairs_are_those_of_dictionaries(seed: int) -> None:
    ids = np.random.default_rng(seed).integers(0, 4, size=300)
    lengths = [1, 3, 5]
    for length, pairs in zip(lengths, sorted_pairs(ids, 4, lengths), strict=True):
        assert pairs is not None
        found: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        keys = hashes(ids, [length], 4)[:, 0]
        for at in range(1, len(ids)):
            found[int(keys[at - 1])][int(ids[at])].append(at)
        expected = {
            key: {id_: sorted(at) for id_, at in after.items()}
            for key, after in found.items()
            if sum(map(len, after.values())) > 1
        }
        told: dict[int, dict[int, list[int]]] = defaultdict(dict)
        for pair, context in enumerate(pairs.of.tolist()):
            begin = int(pairs.starts[pair])
            at = pairs.at[begin : begin + int(pairs.occurrences[pair])].tolist()
            told[int(pairs.keys[context])][int(ids[at[0]])] = at
        assert told == expected
        assert pairs.first.tolist() == [pairs.of.tolist().index(c) for c in range(len(pairs.keys))]
        assert pairs.sums(pairs.occurrences).sum() == len(pairs.at)
        assert (
            pairs.spread(np.arange(len(pairs.of)))
            == np.repeat(np.arange(len(pairs.of)), pairs.occurrences)
        ).all()


def test_lengths_without_repetition_have_no_pairs() -> None:
    assert sorted_pairs(np.arange(9), 9, [1, 2]) == [None, None]
