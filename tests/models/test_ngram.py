"""The n-gram baseline is the Kneser-Ney that a slow reference counts, whatever text it is given."""

import json
import math
import struct
import subprocess
import sys
import tracemalloc
from collections import Counter, defaultdict

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save

from models import ngram
from models.files import CheckpointError
from models.ngram import BYTES_PER_CHARACTER, NGram
from tests.toys import babble


class Reference:
    """Modified Kneser-Ney by dictionary: slow and obvious.

    Counts go around the text's end, as the model's do.
    """

    def __init__(self, ids: list[int], vocabulary_size: int, order: int) -> None:
        self.vocabulary_size = vocabulary_size
        self.order = order
        followers: list[defaultdict[tuple[int, ...], Counter[int]]] = []
        for length in range(order + 1):
            followers.append(defaultdict(Counter))
            for i, id_ in enumerate(ids):
                context = tuple(ids[(i - length + j) % len(ids)] for j in range(length))
                followers[length][context][id_] += 1
        self.counts = followers[:]
        for length in range(order):
            # How many distinct characters stand before the context and its follower.
            before: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
            for context, seen in followers[length + 1].items():
                before[context[1:]].update(seen.keys())
            self.counts[length] = before
        self.discounts = [self._discounts(level) for level in self.counts]

    @staticmethod
    def _discounts(level: dict[tuple[int, ...], Counter[int]]) -> list[float]:
        n = Counter(count for seen in level.values() for count in seen.values())
        discounts = [0.0, 0.5, 1.0, 1.5]
        for i in (1, 2, 3):
            if n[1] and n[i] and n[i + 1]:
                estimate = i - (i + 1) * n[1] / (n[1] + 2 * n[2]) * n[i + 1] / n[i]
                discounts[i] = min(max(estimate, 0.01), i - 0.001)
        return discounts

    def probability(self, context: tuple[int, ...], id_: int) -> float:
        context = context[max(0, len(context) - self.order) :]
        lower = self.probability(context[1:], id_) if context else 1 / self.vocabulary_size
        seen = self.counts[len(context)].get(context)
        if not seen:
            return lower
        discounts = self.discounts[len(context)]
        left = sum(discounts[min(count, 3)] for count in seen.values())
        kept = seen[id_] - discounts[min(seen[id_], 3)]
        return (kept + left * lower) / seen.total()


@pytest.mark.parametrize("seed", range(25))
def test_it_says_what_a_slow_reference_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    used = int(random.integers(1, 6))
    vocabulary_size = used + int(random.integers(0, 3))
    order = int(random.integers(0, 8))
    ids = random.integers(0, used, size=random.integers(1, 300)).astype(np.uint8)
    reference = Reference(ids.tolist(), vocabulary_size, order)
    model = NGram.fit(ids, vocabulary_size, order)
    for length in [*range(10)] * 3:
        context = tuple(random.integers(0, vocabulary_size, size=length).tolist())
        expected = [reference.probability(context, i) for i in range(vocabulary_size)]
        # The discounts are rounded to multiples of 2⁻²⁰.
        np.testing.assert_allclose(model.next_distribution(context), expected, atol=3e-6)


@pytest.mark.parametrize("vocabulary_size", [29, 300])
def test_probabilities_are_positive_and_sum_to_one(vocabulary_size: int) -> None:
    model = NGram.fit(babble(20_000), vocabulary_size, 12)
    random = np.random.default_rng(1)
    text = babble(1000, seed=2).tolist()
    contexts = [random.integers(0, vocabulary_size, size=n).tolist() for n in range(0, 30, 3)]
    contexts += [text[i : i + 20] for i in range(0, 900, 100)]
    for context in contexts:
        probabilities = model.next_distribution(context)
        assert probabilities.shape == (vocabulary_size,)
        assert (probabilities > 0).all()
        assert probabilities.sum() == pytest.approx(1, abs=1e-9)


def test_what_a_caller_does_to_a_distribution_does_not_reach_the_model() -> None:
    model = NGram.fit(babble(20_000), 29, 5)
    before = model.next_distribution([1]).copy()
    model.next_distribution([1])[:] = 0
    np.testing.assert_array_equal(model.next_distribution([1]), before)


@pytest.mark.parametrize("order", [0, 1, 4, 20])
def test_the_loss_is_that_of_the_distributions(order: int) -> None:
    text = babble(9_000)
    held = text[8_000:8_600]
    model = NGram.fit(text[:8_000], 29, 20)
    lower = model.with_order(order)
    chances = [lower.next_distribution(held[:i])[held[i]] for i in range(1, len(held))]
    expected = -np.log(chances).mean()
    assert model.losses(held)[order] == pytest.approx(expected, abs=1e-12)
    assert lower.losses(held)[-1] == pytest.approx(expected, abs=1e-12)


def test_a_loss_in_blocks_is_nearly_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    text = babble(40_000)
    model = NGram.fit(text[:30_000], 29, 8)
    whole = model.losses(text[30_000:])
    monkeypatch.setattr(ngram, "_BLOCK", 1000)
    np.testing.assert_allclose(model.losses(text[30_000:]), whole, rtol=0.02)


def test_longer_contexts_help_and_never_hurt_much() -> None:
    text = babble(120_000)
    losses = NGram.fit(text[:100_000], 29).losses(text[100_000:])
    assert losses[0] < math.log(29)
    assert losses[2] < losses[1] < losses[0]
    assert losses.min() < 0.7 * losses[0]
    assert losses[-1] < 1.1 * losses.min()


def test_a_lower_order_is_the_model_that_would_have_been_fitted() -> None:
    text = babble(12_000)
    high, low = NGram.fit(text, 29, 20), NGram.fit(text, 29, 4)
    assert high.with_order(4).to_bytes() == low.to_bytes()
    held = babble(500, seed=3)
    np.testing.assert_array_equal(high.losses(held)[:5], low.losses(held))
    best, loss = high.with_best_order(held)
    assert loss == high.losses(held).min() == best.losses(held)[-1]
    with pytest.raises(ValueError, match="order"):
        low.with_order(5)


def test_symbols_that_the_text_lacks_cost_much_but_not_infinitely() -> None:
    model = NGram.fit(np.array([0, 1] * 200, dtype=np.uint8), 4, 6)
    assert 2 < model.losses(np.array([2, 3, 2, 3, 2], dtype=np.uint8))[-1] < 20
    assert model.losses(np.array([0, 1] * 50, dtype=np.uint8))[-1] < 0.1


def test_a_list_in_sixteen_bits_is_counted() -> None:
    ids = np.tile(np.arange(1000, dtype="<u2"), 5)
    model = NGram.fit(ids, 1000, 3)
    assert model.index.rows.dtype == np.dtype("<u2")
    assert int(model.next_distribution([998]).argmax()) == 999
    again = NGram.from_bytes(model.to_bytes())
    np.testing.assert_array_equal(again.next_distribution([7]), model.next_distribution([7]))


def test_nothing_to_count_is_refused() -> None:
    with pytest.raises(ValueError, match="no text"):
        NGram.fit(np.array([], dtype=np.uint8), 2)
    with pytest.raises(ValueError, match="not in the vocabulary"):
        NGram.fit(np.array([0, 5], dtype=np.uint8), 2)
    with pytest.raises(ValueError, match="max_order"):
        NGram.fit(babble(100), 29, 33)
    with pytest.raises(ValueError, match="successor"):
        NGram.fit(babble(100), 29).losses(babble(1))


def test_a_memory_limit_is_kept_by_counting_the_tail() -> None:
    limit = 4 << 20
    text = babble(400_000)
    tracemalloc.start()
    try:
        model = NGram.fit(text, 29, 20, memory_limit=limit)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        model.losses(text[:1000])
        measuring = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert model.characters == limit // BYTES_PER_CHARACTER
    assert model.of_characters == len(text)
    assert peak < limit
    assert measuring < limit
    tail = NGram.fit(text[-model.characters :], 29, 20)
    np.testing.assert_array_equal(model.index.rows, tail.index.rows)


def test_a_file_limit_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngram, "FILE_LIMIT", 5_000)
    data = NGram.fit(babble(20_000), 29).to_bytes()
    assert len(data) < 5_000 + 1_000
    assert NGram.from_bytes(data).characters == 5_000


def test_memory_of_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngram, "_CACHED_RUN", 1)
    monkeypatch.setattr(ngram, "_CACHE_BYTES", 50 * 29 * 8)
    text = babble(30_000)
    model, bounded = NGram.fit(text, 29, 6), NGram.fit(text, 29, 6)
    for end in range(10, 400, 3):
        np.testing.assert_allclose(
            bounded.next_distribution(text[:end]),
            model.with_order(6).next_distribution(text[:end]),
            atol=1e-12,
        )
        assert len(bounded._cache) <= 50


def test_a_saved_model_is_the_same_model() -> None:
    model = NGram.fit(babble(30_000), 40, 9, memory_limit=20_000 * BYTES_PER_CHARACTER)
    loaded = NGram.from_bytes(model.to_bytes())
    assert (loaded.vocabulary_size, loaded.order) == (40, 9)
    assert (loaded.characters, loaded.of_characters) == (20_000, 30_000)
    held = babble(2000, seed=5)
    np.testing.assert_array_equal(loaded.losses(held), model.losses(held))
    np.testing.assert_array_equal(
        loaded.next_distribution(held[:30]), model.next_distribution(held[:30])
    )
    assert loaded.to_bytes() == model.to_bytes()


def test_any_rows_make_a_sound_model() -> None:
    """Whoever forges a file gets a poor model: no crash, no probability that is none."""
    random = np.random.default_rng(6)
    for seed in range(5):
        rows = random.integers(0, 5, size=2000).astype(np.uint8)
        data = bytearray(NGram.fit(babble(2000, seed) % np.uint8(5), 5, 8).to_bytes())
        data[-2000:] = rows.tobytes()
        model = NGram.from_bytes(bytes(data))
        assert np.isfinite(model.losses(rows)).all()
        for end in range(0, 200, 9):
            probabilities = model.next_distribution(rows[:end])
            assert (probabilities > 0).all()
            assert probabilities.sum() == pytest.approx(1, abs=1e-9)


SIZES = {"format": 1, "vocabulary_size": 3, "order": 2, "of_characters": 4}
ROWS = np.array([0, 1, 2, 1], dtype=np.uint8)


def test_the_smallest_file_is_read() -> None:
    assert NGram.from_bytes(save({"rows": ROWS}, {"ngram": json.dumps(SIZES)})).characters == 4


@pytest.mark.parametrize(
    ("rows", "changes", "complaint"),
    [
        (ROWS, {"format": 2}, "format"),
        (ROWS, {"vocabulary_size": 2}, "not in its vocabulary"),
        (ROWS, {"vocabulary_size": 0}, "vocabulary_size"),
        (ROWS, {"vocabulary_size": 65537}, "vocabulary_size"),
        (ROWS, {"vocabulary_size": 257}, "rows"),
        (ROWS, {"vocabulary_size": "3"}, "vocabulary_size"),
        (ROWS, {"order": 33}, "order"),
        (ROWS, {"order": -1}, "order"),
        (ROWS, {"order": True}, "order"),
        (ROWS, {"order": 2.5}, "order"),
        (ROWS, {"more": "9" * 5000}, "header"),
        (ROWS, {"of_characters": 3}, "of_characters"),
        (ROWS.astype(np.int64), {}, "rows"),
        (ROWS.reshape(2, 2), {}, "rows"),
        (ROWS[:0], {}, "rows"),
    ],
)
def test_a_file_that_does_not_add_up_is_refused(
    rows: NDArray[np.integer], changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(CheckpointError, match=complaint):
        NGram.from_bytes(save({"rows": rows}, {"ngram": json.dumps(SIZES | changes)}))


def with_header(header: object) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + ROWS.tobytes()


ENTRY = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}
METADATA = {"ngram": json.dumps(SIZES)}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        b"\xff" * 100,
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 4) + b"nope",
        struct.pack("<Q", 3000) + b"[" * 3000,
        with_header([]),
        with_header({"rows": ENTRY}),
        with_header({"rows": ENTRY, "__metadata__": []}),
        with_header({"rows": ENTRY, "__metadata__": {"ngram": "[" * 2000}}),
        with_header({"rows": [], "__metadata__": METADATA}),
        with_header({"rows": ENTRY, "more": ENTRY, "__metadata__": METADATA}),
        with_header({"rows": ENTRY | {"shape": [1 << 40]}, "__metadata__": METADATA}),
        with_header({"rows": ENTRY | {"shape": None}, "__metadata__": METADATA}),
        with_header({"rows": ENTRY | {"data_offsets": [1, 5]}, "__metadata__": METADATA}),
        with_header({"rows": ENTRY | {"data_offsets": [0, 1 << 70]}, "__metadata__": METADATA}),
        with_header({"rows": ENTRY, "__metadata__": {"ngram": SIZES}}),
        with_header({"rows": ENTRY, "__metadata__": METADATA})[:-1],
        with_header({"rows": ENTRY, "__metadata__": METADATA}) + b"\0",
    ],
)
def test_a_damaged_file_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        NGram.from_bytes(data)


def test_a_file_that_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = NGram.fit(babble(20_000), 29).to_bytes()
    monkeypatch.setattr(ngram, "FILE_LIMIT", 10_000)
    with pytest.raises(CheckpointError, match="too large"):
        NGram.from_bytes(data)


def test_counting_needs_no_torch() -> None:
    check = "import models.ngram, models.text.novelty, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)
