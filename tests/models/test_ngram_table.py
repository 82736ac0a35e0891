"""A table finds the longest context that it knows, and no other."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.arrays import Ids
from models.ngram_table import (
    KEY_BYTES,
    LOAD,
    PLACES,
    STEP,
    NGramTable,
    codes,
    highest_order,
    lookup_constants,
)

Context = tuple[int, ...]


def key_of(context: Context, vocabulary: int) -> int:
    """The last id in the lowest place."""
    return sum((id_ + 1) * (vocabulary + 1) ** i for i, id_ in enumerate(reversed(context)))


def table_of(contexts: Iterable[Context], vocabulary: int, orders: int) -> NGramTable:
    """Each context's row tells it from others; 255 is that of no context."""
    contexts = list(contexts)
    by_length = [[c for c in contexts if len(c) == n + 1] for n in range(orders)]
    keys = [np.array([key_of(c, vocabulary) for c in same], np.int64) for same in by_length]
    rows = np.zeros((len(contexts), vocabulary), np.uint8)
    for number, context in enumerate(c for same in by_length for c in same):
        rows[number] = row_of(context)
    return NGramTable.of(vocabulary, keys, rows, np.full(vocabulary, 255, np.uint8))


def row_of(context: Context) -> int:
    return sum((i + 3) * (id_ + 1) for i, id_ in enumerate(context)) % 255


def some_contexts(ids: Ids, orders: int, share: float, rng: np.random.Generator) -> set[Context]:
    found = {
        tuple(ids[i - n : i].tolist()) for n in range(1, orders + 1) for i in range(n, len(ids) + 1)
    }
    return {context for context in sorted(found) if rng.random() < share}


@pytest.mark.parametrize(
    ("vocabulary", "orders"), [(2, 12), (3, 8), (27, 8), (256, 6), (5000, 4), (65_536, 2)]
)
def test_the_longest_known_context_is_found(vocabulary: int, orders: int) -> None:
    """As by looking each one up in a set."""
    rng = np.random.default_rng(vocabulary)
    # Few ids, so that contexts recur.
    alphabet = rng.choice(vocabulary, size=min(vocabulary, 5), replace=False)
    ids = rng.choice(alphabet, size=600)
    known = some_contexts(ids, orders, 0.4, rng)
    table = table_of(known, vocabulary, orders)
    other = rng.choice(alphabet, size=600)
    buckets = table.find(codes(other, vocabulary, orders))
    lengths = set()
    for i in range(len(other)):
        ends = (tuple(other[max(0, i + 1 - n) : i + 1].tolist()) for n in range(orders, 0, -1))
        longest = next((context for context in ends if context in known), ())
        assert table.rows[buckets[i], 0] == (row_of(longest) if longest else 255)
        assert (buckets[i] == 0) == (not longest)
        lengths.add(len(longest))
    assert len(lengths) > 2 or vocabulary > 5000


def test_every_key_is_found_where_it_stands() -> None:
    rng = np.random.default_rng(0)
    keys = [np.unique(rng.integers(1, 101 ** (n + 1), size=20_000 * n + 50)) for n in range(3)]
    # Without nothing in between: a digit is an id plus 1.
    keys = [own[all_digits(own, 101, n + 1)] for n, own in enumerate(keys)]
    count = sum(map(len, keys))
    table = NGramTable.of(100, keys, np.zeros((count, 100), np.uint8), np.zeros(100, np.uint8))
    for n, own in enumerate(keys):
        found = table.find(own)
        assert (table.keys[found] == own).all()
        begin = 1 + sum(table.sizes[:n])
        assert (begin <= found).all() and (found < begin + table.sizes[n]).all()
        assert len(own) <= table.sizes[n] <= len(own) / LOAD + 3
    assert np.count_nonzero(table.keys >= 0) == count
    assert len(table.keys) == len(table.rows) == 1 + sum(table.sizes)


def all_digits(keys: Ids, base: int, length: int) -> NDArray[np.bool_]:
    full: NDArray[np.bool_] = np.all(
        [keys // base**place % base > 0 for place in range(length)], axis=0
    )
    return full


def test_few_keys_have_room_however_they_clash() -> None:
    """With as many buckets as keys, some cannot be placed: a table must have more then."""
    for count in (1, 3, 5, 7, 9, 11):
        for seed in range(60):
            keys = np.random.default_rng(seed).choice(1000, size=count, replace=False) + 1
            rows = np.zeros((count, 1000), np.uint8)
            table = NGramTable.of(1000, [keys], rows, rows[0])
            assert (table.keys[table.find(keys)] == keys).all()


def test_equal_contexts_are_an_equal_table() -> None:
    keys = np.random.default_rng(1).permutation(5000) + 1
    rows = (np.arange(5000)[:, None] % 251).astype(np.uint8) * np.ones(5000, np.uint8)
    first, again = (NGramTable.of(5000, [keys.copy()], rows, rows[0]) for _ in range(2))
    assert first.keys.tobytes() == again.keys.tobytes()
    assert first.rows.tobytes() == again.rows.tobytes()
    assert (first.rows[first.find(keys), 0] == np.arange(5000) % 251).all()


def test_a_table_knows_whether_its_keys_are_in_place() -> None:
    rng = np.random.default_rng(3)
    keys = [np.arange(1, 65), rng.choice(np.arange(66, 4000), 300, replace=False)]
    rows = rng.integers(0, 256, size=(364, 64)).astype(np.uint8)
    table = NGramTable.of(64, keys, rows, rows[0])
    assert table.is_sound()
    filled, empty = np.flatnonzero(table.keys >= 0), np.flatnonzero(table.keys < 0)
    second = filled[filled > table.sizes[0]][0]
    for bucket, key in (
        (0, 5),
        (filled[0], -2),
        (filled[0], 65),
        (filled[0], 1 << 62),
        (second, 65**2),
        (empty[1], table.keys[filled[0]]),
        (empty[-1], 1 << 40),
    ):
        changed = table.keys.copy()
        changed[bucket] = key
        assert not replace(table, keys=changed).is_sound()
    for wrong in (np.roll(table.keys, 1), table.keys[::-1].copy()):
        assert not replace(table, keys=wrong).is_sound()
    # The same key in two of its places: which row is meant?
    one = NGramTable((9,), np.full(10, -1), np.zeros((10, 64), np.uint8))
    places = [at for at in range(1, 10) if replace(one, keys=only(7, at)).is_sound()]
    assert 1 < len(places) <= PLACES
    twice = only(7, places[0])
    twice[places[1]] = 7
    assert not replace(one, keys=twice).is_sound()
    assert one.is_sound()


def only(key: int, bucket: int) -> Ids:
    keys = np.full(10, -1)
    keys[bucket] = key
    return keys


def test_lengths_without_contexts_have_none_found() -> None:
    table = table_of({(1,), (2, 1, 0)}, 3, 4)
    assert len(table.sizes) == 4
    found = table.find(codes(np.array([2, 1, 0, 1, 0]), 3, 4))
    assert [bucket > 0 for bucket in found] == [False, True, True, True, False]
    # After 2 1 0 the longest is that; (1,) after others.
    assert table.rows[found, 0].tolist() == [255, *map(row_of, [(1,), (2, 1, 0), (1,)]), 255]
    nothing = NGramTable.of(3, [], np.zeros((0, 3), np.uint8), np.ones(3, np.uint8))
    assert nothing.orders == 0
    assert nothing.find(np.array([[0, 5], [7, 63]])).tolist() == [[0, 0], [0, 0]]
    assert nothing.log_probabilities(np.array([0])).tolist() == [[-STEP] * 3]


def test_codes_pack_what_was_read_last() -> None:
    ids = np.array([2, 0, 1, 1])
    assert codes(ids, 3, 1).tolist() == [3, 1, 2, 2]
    assert codes(ids, 3, 3).tolist() == [key_of(c, 3) for c in [(2,), (2, 0), (2, 0, 1), (0, 1, 1)]]
    # Shorter than a context, and nothing at all.
    assert codes(ids[:1], 3, 9).tolist() == [3]
    assert codes(ids[:0], 3, 9).tolist() == []
    # -1 is nothing, and columns have nothing to do with each other.
    columns = codes(np.array([[-1, 2], [0, 2]], np.int8), 3, 2)
    assert columns.tolist() == [[0, 3], [1, 3 * 4 + 3]]


@pytest.mark.parametrize("vocabulary", [1, 2, 65, 256, 65_536])
def test_the_longest_context_and_an_id_after_it_fit_into_a_number(vocabulary: int) -> None:
    order = highest_order(vocabulary)
    base = vocabulary + 1
    assert base ** (order + 1) < 1 << 63 <= base ** (order + 2)
    packed = codes(np.full(order, vocabulary - 1), vocabulary, order)
    assert packed[-1] == base**order - 1


def test_products_of_hashes_may_wrap_around() -> None:
    """A bucket is never negative."""
    moduli, multipliers, counts, offsets = lookup_constants(65_536, (1000, 999))
    keys = np.array([[65_537**2 - 1], [1], [(1 << 32) - 5]]) % moduli
    places = (keys * multipliers) % counts + offsets
    assert (places[:, :3] >= 1).all() and (places[:, :3] <= 1000).all()
    assert (places[:, 3:] >= 1001).all() and (places[:, 3:] <= 1999).all()


def test_a_step_is_exact_in_every_precision() -> None:
    rows = np.arange(256, dtype=np.uint8)[None].repeat(2, 0)
    table = NGramTable((1,), np.array([-1, -1]), rows)
    found = table.log_probabilities(np.array([0, 1]))
    assert found.dtype == np.float32
    assert (found == -np.arange(256) / 16).all()
    assert (found.astype(np.float16) == found).all()
    assert table.keys.itemsize == KEY_BYTES
