"""A table finds the longest context that it knows, and no other."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.arrays import Ids
from models.ngram_table import (
    CHOICES,
    FOLLOWERS,
    FURTHER,
    KEY_BYTES,
    LOAD,
    STEP,
    WINDOW,
    Keys,
    Lists,
    NGramTable,
    context_lengths,
    each_hash,
    hashes,
    highest_order,
    last_hashes,
    lookup_constants,
    split_lengths,
)

Context = tuple[int, ...]


def keys_of(contexts: list[Context], length: int, vocabulary: int) -> Ids:
    """The keys of contexts of one length, the last id last."""
    ids = np.array(contexts, np.int64).reshape(-1, length).T
    return hashes(ids, [length], vocabulary)[-1, :, 0] if length else np.zeros(0, np.int64)


def table_of(contexts: Iterable[Context], vocabulary: int, rows: int, lists: int) -> NGramTable:
    """Each context's row or list tells it from others; 255 is that of no context."""
    by_length: dict[int, list[Context]] = {length: [] for length in context_lengths(rows, lists)}
    for context in contexts:
        by_length[len(context)].append(context)
    keys = [keys_of(same, length, vocabulary) for length, same in by_length.items()]
    short = [c for length, same in by_length.items() if length <= rows for c in same]
    long = [c for length, same in by_length.items() if length > rows for c in same]
    every_row = np.zeros((1 + len(short), vocabulary), np.uint8)
    every_row[0] = 255
    for number, context in enumerate(short, 1):
        every_row[number] = row_of(context)
    return NGramTable.of(keys[:rows], every_row, keys[rows:], lists_of(long, vocabulary))


def lists_of(contexts: list[Context], vocabulary: int) -> Lists:
    followers = np.zeros((len(contexts), FOLLOWERS), np.uint16)
    boosts = np.zeros((len(contexts), FOLLOWERS), np.uint8)
    for number, context in enumerate(contexts):
        followers[number, 0] = row_of(context) % vocabulary
        boosts[number, 0] = row_of(context)
    return followers, boosts


def without_lists(keys: list[Ids], rows: NDArray[np.uint8]) -> NGramTable:
    return NGramTable.of(keys, np.concatenate([np.full((1, rows.shape[1]), 255, np.uint8), rows]))


def row_of(context: Context) -> int:
    return sum((i + 3) * (id_ + 1) for i, id_ in enumerate(context)) % 255


def some_contexts(
    ids: Ids, lengths: Sequence[int], share: float, rng: np.random.Generator
) -> set[Context]:
    found = {tuple(ids[i - n : i].tolist()) for n in lengths for i in range(n, len(ids) + 1)}
    return {context for context in sorted(found) if rng.random() < share}


@pytest.mark.parametrize(
    ("vocabulary", "rows", "lists"),
    [(2, 12, 0), (3, 4, 5), (27, 8, 0), (27, 4, 3), (255, 6, 1), (5000, 2, 5), (65_536, 1, 2)],
)
def test_the_longest_known_context_is_found(vocabulary: int, rows: int, lists: int) -> None:
    """As by looking each one up in a set."""
    rng = np.random.default_rng(vocabulary)
    # Few ids, so that contexts recur.
    alphabet = rng.choice(vocabulary, size=min(vocabulary, 5), replace=False)
    ids = rng.choice(alphabet, size=600)
    lengths = context_lengths(rows, lists)
    known = some_contexts(ids, lengths, 0.4, rng)
    table = table_of(known, vocabulary, rows, lists)
    assert table.lengths == lengths
    assert table.is_sound()
    other = np.concatenate([rng.choice(alphabet, size=300), ids[:300]])
    found = table.find(table.hashes(other))
    told = table.log_probabilities(found)
    seen = set()
    for i in range(len(other)):
        ends = [tuple(other[i + 1 - n : i + 1].tolist()) for n in lengths if n <= i + 1]
        short = [c for c in ends if c in known and len(c) <= rows]
        long = [c for c in ends if c in known and len(c) > rows]
        expected = np.full(vocabulary, row_of(short[-1]) if short else 255) * -STEP
        if long:
            expected[row_of(long[-1]) % vocabulary] += row_of(long[-1]) * STEP
        assert (told[i] == expected).all()
        assert (found[i] > 0).tolist() == [bool(short), bool(long)]
        seen.add(len((long or short or [()])[-1]))
    assert len(seen) > 2 or vocabulary > 5000


def test_followers_of_a_list_are_added_one_by_one() -> None:
    """What is unused is id 0, and id 0 may be a follower, too."""
    lists = np.array([[3, 0, 0, 0, 0, 0]], np.uint16), np.array([[8, 4, 0, 0, 0, 0]], np.uint8)
    keys = hashes(np.array([1, 2, 3]), [1, 2], 5)
    table = NGramTable.of([keys[2:, 0]], np.zeros((2, 5), np.uint8), [keys[2:, 1]], lists)
    found = table.find(table.hashes(np.array([1, 2, 3])))
    assert table.log_probabilities(found)[2].tolist() == [0.25, 0, 0, 0.5, 0]
    assert table.log_probabilities(found)[0].tolist() == [0] * 5


def test_every_key_is_found_where_it_stands() -> None:
    rng = np.random.default_rng(0)
    # Their lower halves, which are kept, are distinct.
    keys = [
        rng.choice(2**31, size=20_000 * n + 50, replace=False) - (n << 40) - 2**30 for n in range(3)
    ]
    count = sum(map(len, keys))
    table = without_lists(keys, np.zeros((count, 100), np.uint8))
    for n, own in enumerate(keys):
        found = table.numbers(n, own)
        assert (table.keys[found] == own.astype(np.int32)).all()
        begin = 1 + sum(table.sizes[:n])
        assert (begin <= found).all() and (found < begin + table.sizes[n]).all()
        assert len(own) <= table.sizes[n] <= len(own) / LOAD + 3
    assert np.count_nonzero(table.keys != -1) == count
    assert len(table.keys) == len(table.rows) == 1 + sum(table.sizes)


def test_of_contexts_with_one_key_the_first_stands() -> None:
    """Two hashes may share their lower halves; what comes after is what it was."""
    keys = [np.array([5, (1 << 40) + 5, 6]), np.array([5, 9])]
    table = without_lists(keys, np.arange(1, 6, dtype=np.uint8)[:, None].repeat(7, 1))
    assert table.is_sound()
    rows = [table.rows[table.numbers(n, own), 0].tolist() for n, own in enumerate(keys)]
    assert rows == [[1, 1, 3], [4, 5]]


def test_few_keys_have_room_however_they_clash() -> None:
    """With as many buckets as keys, some cannot be placed: a table must have more then."""
    for count in (1, 3, 5, 7, 9, 11):
        for seed in range(60):
            keys = np.random.default_rng(seed).choice(1000, size=count, replace=False) + 1
            table = without_lists([keys], np.zeros((count, 1000), np.uint8))
            assert (table.keys[table.numbers(0, keys)] == keys).all()


def test_equal_contexts_are_an_equal_table() -> None:
    keys = np.random.default_rng(1).permutation(5000) + 1
    rows = (np.arange(5000)[:, None] % 251).astype(np.uint8) * np.ones(5000, np.uint8)
    first, again = (without_lists([keys.copy()], rows) for _ in range(2))
    assert first.keys.tobytes() == again.keys.tobytes()
    assert first.rows.tobytes() == again.rows.tobytes()
    assert (first.rows[first.numbers(0, keys), 0] == np.arange(5000) % 251).all()


def test_a_table_knows_whether_its_keys_are_in_place() -> None:
    rng = np.random.default_rng(3)
    keys = [rng.integers(-(2**63), 2**63, size=size) for size in (64, 300, 40)]
    rows = rng.integers(0, 256, size=(365, 64)).astype(np.uint8)
    lists = lists_of([(at,) for at in range(40)], 64)
    table = NGramTable.of(keys[:2], rows, keys[2:], lists)
    assert table.is_sound()
    filled, empty = np.flatnonzero(table.keys != -1), np.flatnonzero(table.keys == -1)
    elsewhere = [
        bucket
        for bucket in empty[1:].tolist()
        if bucket not in places_of(int(table.keys[filled[0]]), table)
    ]
    for bucket, key in ((0, 5), (filled[0], table.keys[filled[1]])):
        changed = table.keys.copy()
        changed[bucket] = key
        assert not replace(table, keys=changed).is_sound()
    moved = table.keys.copy()
    moved[elsewhere[0]] = moved[filled[0]]
    assert not replace(table, keys=moved).is_sound()
    for wrong in (np.roll(table.keys, 1), table.keys[::-1].copy()):
        assert not replace(table, keys=wrong).is_sound()
    # The same key in two of its places: which row is meant?
    nothing = np.zeros((1, FOLLOWERS), np.uint16), np.zeros((1, FOLLOWERS), np.uint8)
    one = NGramTable((9,), (), np.full(10, -1), np.zeros((10, 64), np.uint8), nothing)
    places = [at for at in range(1, 10) if replace(one, keys=only(7, at)).is_sound()]
    assert 1 < len(places) <= CHOICES * WINDOW
    twice = only(7, places[0])
    twice[places[1]] = 7
    assert not replace(one, keys=twice).is_sound()
    assert one.is_sound()
    assert not replace(table, lists=(np.full_like(table.lists[0], 64), table.lists[1])).is_sound()
    not_empty = table.lists[1].copy()
    not_empty[0, 0] = 1
    assert not replace(table, lists=(table.lists[0], not_empty)).is_sound()


def places_of(key: int, table: NGramTable) -> list[int]:
    multipliers, moduli, offsets = lookup_constants([*table.sizes, *table.long_sizes])
    places = ((np.int32(key) * multipliers) % moduli)[:, None] + offsets
    return list(places.reshape(-1).tolist())


def only(key: int, bucket: int) -> Keys:
    keys = np.full(10, -1, np.int32)
    keys[bucket] = key
    return keys


def test_lengths_without_contexts_have_none_found() -> None:
    table = table_of({(1,), (2, 1, 0)}, 3, 4, 0)
    assert len(table.sizes) == 4
    found = table.find(table.hashes(np.array([2, 1, 0, 1, 0])))[:, 0]
    assert [bucket > 0 for bucket in found] == [False, True, True, True, False]
    # After 2 1 0 the longest is that; (1,) after others.
    assert table.rows[found, 0].tolist() == [255, *map(row_of, [(1,), (2, 1, 0), (1,)]), 255]
    nothing = NGramTable.of([], np.ones((1, 3), np.uint8))
    assert nothing.orders == 0
    assert nothing.find(nothing.hashes(np.array([0, 5 % 3]))).tolist() == [[0, 0], [0, 0]]
    assert nothing.log_probabilities(np.zeros((1, 2), int)).tolist() == [[-STEP] * 3]


def test_a_key_is_of_the_ids_read_last_and_of_no_others() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 3, size=400)
    keys = hashes(ids, [1, 2, 5], 3)
    for column, length in enumerate([1, 2, 5]):
        padded = [-1] * length + ids.tolist()
        windows = [tuple(padded[at + 1 : at + 1 + length]) for at in range(len(ids))]
        assert len(set(zip(windows, keys[:, column].tolist(), strict=True))) == len(set(windows))
        assert len(set(keys[:, column].tolist())) == len(set(windows))
    # −1 is nothing, and columns have nothing to do with each other.
    columns = hashes(np.array([[-1, 2], [0, 2]], np.int8), [2], 3)
    assert columns[1, 0] == hashes(np.array([0]), [2], 3)[0]
    assert columns[1, 1] == hashes(np.array([2, 2]), [2], 3)[1]
    assert hashes(ids[:0], [1, 9], 3).shape == (0, 2)
    assert [each[-1] for each in each_hash(ids, [1, 2, 5], 3)] == keys[-1].tolist()
    windows_of_five = np.stack([ids[at : at + 5] for at in range(20)], axis=1)
    assert last_hashes(windows_of_five, [1, 2, 5], 3).tolist() == keys[4:24].tolist()


def test_long_contexts_are_longer_than_those_with_rows() -> None:
    assert context_lengths(4, 5) == (1, 2, 3, 4, 5, 6, 8, 11, 16)
    assert context_lengths(2, 2) == (1, 2, 3, 4)
    assert context_lengths(3, 0) == (1, 2, 3)
    assert list(FURTHER) == sorted(FURTHER)


def test_products_of_hashes_may_wrap_around() -> None:
    """A bucket is never negative."""
    multipliers, moduli, offsets = lookup_constants((1000, 999, 1))
    keys = np.array([[(1 << 31) - 1], [1], [-(1 << 31)], [(1 << 16) - 5]], np.int32)
    places = ((keys * multipliers) % moduli)[..., None] + offsets
    for length, (first, last) in enumerate([(1, 1000), (1001, 1999), (2000, 2000)]):
        own = places[:, CHOICES * length : CHOICES * (length + 1)]
        assert (first <= own).all() and (own <= last).all()


def test_a_step_is_exact_in_every_precision() -> None:
    rows = np.arange(256, dtype=np.uint8)[None].repeat(2, 0)
    table = NGramTable((1,), (), np.array([-1, -1], np.int32), rows, lists_of([(0,)], 256))
    found = table.log_probabilities(np.array([[0, 0], [1, 0]]))
    assert found.dtype == np.float32
    assert (found == -np.arange(256) / 16).all()
    assert (found.astype(np.float16) == found).all()
    assert table.keys.itemsize == KEY_BYTES


@pytest.mark.parametrize("vocabulary", [1, 2, 65, 256, 65_536])
def test_the_longest_context_and_an_id_after_it_fit_into_a_number(vocabulary: int) -> None:
    order = highest_order(vocabulary)
    base = vocabulary + 1
    assert base ** (order + 1) < 1 << 63 <= base ** (order + 2)


def test_long_contexts_of_long_texts_have_lists() -> None:
    assert split_lengths(16, 65, 1 << 21) == (4, [5, 6, 8, 11, 16])
    assert split_lengths(9, 65, 1 << 21) == (4, [5, 6, 8])
    assert split_lengths(3, 65, 1 << 21) == (3, [])
    # A short text, and one whose lines have nothing to do with each other.
    assert split_lengths(16, 65, (1 << 21) - 1) == (8, [])
    assert split_lengths(16, 65, 0) == (8, [])
    # Many ids make rows dear.
    assert split_lengths(16, 2063, 1000) == (2, [3, 4, 6, 9, 14])
    assert split_lengths(16, 2063, 0) == (4, [])
    assert split_lengths(16, 65_536, 1000)[0] == 2
