"""What a text, a time and a machine allow: sums that the server and the worker share."""

from dataclasses import replace
from typing import Any

import pytest

from models import sizing
from models.config import NetworkConfig
from models.options import NetworkKind, TrainingOptions
from models.presets import with_preset

OPEN = TrainingOptions()
SHAKESPEARE = 1_059_624
"""Characters of tinyshakespeare that are trained on."""
LAPTOP = 5e10
"""Parameters times characters a second."""


def test_a_network_may_be_as_large_as_another() -> None:
    other = NetworkConfig(9, kind="gru", num_layers=3, hidden_size=40, embedding_size=0)
    asked = sizing.as_large_as(TrainingOptions(preset="char-rnn", max_steps=7), other)
    assert (asked.preset, asked.max_steps) == ("char-rnn", 7)
    made = sizing.network(with_preset(asked), 5000, 40)
    assert replace(made, dropout=other.dropout) == replace(other, vocabulary_size=5000)


def test_a_part_is_held_out() -> None:
    assert sizing.training_characters(OPEN, 1000) == 950
    assert sizing.training_characters(TrainingOptions(validation_fraction=0.5), 1001) == 500
    assert sizing.training_characters(OPEN, 1) == 2


def test_time_is_planned_with_where_nobody_says_how_long() -> None:
    assert sizing.time_budget(OPEN) == 1800
    assert sizing.time_budget(TrainingOptions(max_seconds=7.5)) == 7.5


@pytest.mark.parametrize(
    ("options", "characters"),
    [
        (OPEN, 60_000),
        (TrainingOptions(max_epochs=2.5), 2500),
        (TrainingOptions(max_steps=10), 300),
        (TrainingOptions(max_steps=10, max_epochs=0.1), 100),
        (TrainingOptions(max_steps=10**9), 60_000),
    ],
    ids=str,
)
def test_the_first_limit_counts(options: TrainingOptions, characters: float) -> None:
    assert sizing.asked_characters(options, 1000, per_step=30) == characters


# Batches


@pytest.mark.parametrize(
    ("options", "characters", "shape"),
    [
        (OPEN, 100_000, (32, 32)),
        (TrainingOptions(batch_size=100, sequence_length=50), 10_000, (100, 50)),
        (TrainingOptions(batch_size=100), 100_000, (100, 32)),
        # Just twice, and one short of it.
        (OPEN, 2 * 32 * 32, (32, 32)),
        (OPEN, 2 * 32 * 32 - 1, (31, 32)),
        (OPEN, 200, (4, 25)),
        (TrainingOptions(batch_size=100, sequence_length=100), 10_000, (50, 100)),
        (OPEN, 95, (4, 11)),
        (OPEN, 2, (1, 2)),
    ],
)
def test_a_small_text_fills_a_batch_twice(
    options: TrainingOptions, characters: int, shape: tuple[int, int]
) -> None:
    assert sizing.batch(options, characters) == shape
    batch_size, length = shape
    assert characters < 8 or batch_size * length <= characters // 2


def test_a_wide_machine_takes_wide_batches() -> None:
    assert sizing.batch(OPEN, 10**6, sizing.WIDE_BATCH, sizing.WIDE_MULTIPLE) == (64, 128)


@pytest.mark.parametrize(
    ("characters", "shape"), [(15_000, (56, 128)), (2200, (8, 128)), (1000, (4, 125))]
)
def test_a_batch_that_is_shrunk_has_rows_in_multiples(
    characters: int, shape: tuple[int, int]
) -> None:
    assert sizing.batch(OPEN, characters, sizing.WIDE_BATCH, sizing.WIDE_MULTIPLE) == shape
    assert sizing.asked_batch(TrainingOptions(batch_size=7), sizing.WIDE_BATCH) == (7, 128)


# Networks


def test_a_network_is_what_was_asked_for() -> None:
    asked = TrainingOptions(network="gru", num_layers=3, embedding_size=16, dropout=0.25)
    assert sizing.network(asked, 65, 128) == NetworkConfig(65, "gru", 3, 128, 16, 0.25)
    assert sizing.network(OPEN, 65, 128) == NetworkConfig(65, "lstm", 2, 128, 0, 0.0)


@pytest.mark.parametrize(
    ("vocabulary_size", "hidden_size", "embedding_size"),
    [(999, 512, 0), (1000, 512, 256), (1000, 64, 64), (65_536, 1024, 256)],
)
def test_a_large_vocabulary_is_embedded(
    vocabulary_size: int, hidden_size: int, embedding_size: int
) -> None:
    assert sizing.network(OPEN, vocabulary_size, hidden_size).embedding_size == embedding_size
    asked = TrainingOptions(embedding_size=0)
    assert sizing.network(asked, vocabulary_size, hidden_size).embedding_size == 0


def largest(
    options: TrainingOptions = OPEN, characters: int = SHAKESPEARE, work: float = LAPTOP
) -> NetworkConfig:
    return sizing.largest_network(options, 65, characters, per_step=1024, work=work)


def test_a_size_that_was_asked_for_is_kept() -> None:
    assert largest(TrainingOptions(hidden_size=1000), work=1.0).hidden_size == 1000


def test_more_work_time_or_text_allow_a_larger_network() -> None:
    by_work = [largest(work=10.0**exponent).hidden_size for exponent in range(6, 14)]
    seconds = [10.0**exponent for exponent in range(7)]
    by_time = [largest(TrainingOptions(max_seconds=s)).hidden_size for s in seconds]
    texts = [10**exponent for exponent in range(3, 9)]
    by_text = [largest(characters=n, work=1e15).hidden_size for n in texts]
    for sizes in (by_work, by_time, by_text):
        assert sizes == sorted(sizes)
        assert len(set(sizes)) > 3
        assert sizes[0] == sizing.HIDDEN_SIZES[0]
        assert set(sizes) <= set(sizing.HIDDEN_SIZES)


def test_the_largest_is_the_last_that_reads_and_is_fed_enough() -> None:
    """It reads six characters for each parameter, and the next size would not."""
    chosen = largest(TrainingOptions(max_seconds=180))
    place = sizing.HIDDEN_SIZES.index(chosen.hidden_size)
    for hidden_size, fits in ((chosen.hidden_size, True), (sizing.HIDDEN_SIZES[place + 1], False)):
        parameters = sizing.network(OPEN, 65, hidden_size).parameters()
        read = 180 * LAPTOP / parameters
        assert (read >= sizing.CHARACTERS_PER_PARAMETER * parameters) == fits
    endless = largest(work=1e18)
    assert endless.parameters() <= sizing.PARAMETERS_PER_CHARACTER * SHAKESPEARE


def test_beside_counts_a_short_text_feeds_a_smaller_network() -> None:
    """Unless much of the network is symbols."""
    alone = largest(TrainingOptions(ngram_orders=0), characters=200_000, work=1e15)
    beside = largest(characters=200_000, work=1e15)
    assert (beside.hidden_size, alone.hidden_size) == (128, 192)
    assert largest(characters=sizing.SHORT, work=1e15).hidden_size > 192
    symbols = sizing.largest_network(OPEN, 2000, 200_000, per_step=1024, work=1e15)
    assert symbols.parameters() > sizing.PARAMETERS_BESIDE_COUNTS * 200_000


def test_few_passes_allow_a_smaller_network_only() -> None:
    assert largest(TrainingOptions(max_epochs=1), work=1e18).hidden_size < 256
    assert largest(TrainingOptions(max_steps=1), work=1e18).hidden_size == sizing.HIDDEN_SIZES[0]


# Time


def estimated(options: TrainingOptions, work: float = LAPTOP) -> float:
    return sizing.estimated_seconds(options, 65, 100_000, work)


SIZED = TrainingOptions(hidden_size=128, batch_size=10, sequence_length=10)
PARAMETERS = 240_321


def test_time_is_work_over_speed() -> None:
    steps = replace(SIZED, max_steps=50)
    assert estimated(steps) == pytest.approx(50 * 100 * PARAMETERS / LAPTOP)
    assert estimated(steps, 2 * LAPTOP) == pytest.approx(estimated(steps) / 2)
    epochs = replace(SIZED, max_epochs=2)
    assert estimated(epochs) == pytest.approx(2 * 95_000 * PARAMETERS / LAPTOP)


def test_the_seconds_asked_for_are_the_most_it_takes() -> None:
    assert estimated(replace(SIZED, max_seconds=12.5)) == 12.5
    assert estimated(replace(SIZED, max_seconds=12.5, max_steps=10**9)) == 12.5
    short = replace(SIZED, max_steps=50)
    assert estimated(replace(short, max_seconds=1e6)) == estimated(short)


def test_without_a_limit_there_is_one_nevertheless() -> None:
    assert estimated(SIZED, work=1.0) == sizing.DEFAULT_SECONDS
    assert estimated(SIZED) == pytest.approx(60 * 95_000 * PARAMETERS / LAPTOP)
    assert estimated(SIZED) < sizing.DEFAULT_SECONDS


def test_steps_without_seconds_may_take_for_ever() -> None:
    assert estimated(replace(SIZED, max_epochs=1_000_000)) > 10 * sizing.DEFAULT_SECONDS


# N-grams


def ngram_table(vocabulary: int, characters: int, memory: int | None = None, **asked: Any) -> Any:
    found = sizing.ngram_table(TrainingOptions(**asked), vocabulary, characters, memory)
    return tuple(found[f"ngram_{name}"] for name in ("orders", "buckets", "characters"))


def test_a_table_is_as_large_as_was_asked_or_the_text_allows() -> None:
    # With two or four lists of 16 bytes for each row, where there may be lists.
    assert ngram_table(65, 1000) == (8, 1000, 1000)
    assert ngram_table(65, 500_000) == (8, 16_000_000 // 69, 500_000)
    assert ngram_table(65, 1 << 22) == (16, 16_000_000 // 101, 1 << 22)
    assert ngram_table(65, 10**9) == (16, 16_000_000 // 133, 1 << 24)
    assert ngram_table(65, 1000, ngram_orders=3, ngram_buckets=5000) == (3, 5000, 1000)
    assert ngram_table(2063, 1000) == (14, 1000, 1000)
    assert ngram_table(65_536, 10**9) == (14, 16_000_000 // 65_628, 1 << 24)
    for none in ("ngram_orders", "ngram_buckets"):
        assert ngram_table(65, 1000, **{none: 0}) == (0, 0, 0)


def test_counting_takes_at_most_half_of_the_memory() -> None:
    memory = sizing.PROCESS_BYTES + (2 << 30)
    orders, buckets, characters = ngram_table(100, 10**9, memory, ngram_buckets=1 << 22)
    assert orders == 16
    assert characters * sizing.COUNTING_BYTES <= 1 << 30 < (characters + 1) * sizing.COUNTING_BYTES
    bucket = sizing.bucket_bytes(100, 4) * sizing.TABLE_BYTES
    assert buckets * bucket <= 1 << 30 < (buckets + 1) * bucket
    assert ngram_table(100, 1000, memory) == ngram_table(100, 1000)
    for little in (0, sizing.PROCESS_BYTES):
        assert ngram_table(100, 1000, little) == (0, 0, 0)


# Memory


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_memory_grows_with_everything(kind: NetworkKind) -> None:
    config = NetworkConfig(65, kind, 2, 512)
    least = sizing.training_bytes(config, 50, 50)
    assert least > sizing.PROCESS_BYTES + sizing.TRAINED_BYTES * config.parameters()
    for larger in (
        replace(config, hidden_size=1024),
        replace(config, num_layers=4),
        replace(config, vocabulary_size=20_000),
    ):
        assert sizing.training_bytes(larger, 50, 50) > least
    assert sizing.training_bytes(config, 100, 50) == sizing.training_bytes(config, 50, 100) > least


def test_publishing_may_take_more_than_training() -> None:
    config = NetworkConfig(65, "lstm", 2, 1024)
    needed = sizing.training_bytes(config, 1, 2)
    assert needed == sizing.PROCESS_BYTES + sizing.PUBLISHED_BYTES * config.parameters()


def test_what_does_not_fit_is_told_in_words() -> None:
    config = NetworkConfig(1000, "lstm", 3, 2048)
    needed = sizing.training_bytes(config, 64, 128)
    assert sizing.memory_refusal(config, 64, 128, needed) is None
    refusal = sizing.memory_refusal(config, 64, 128, needed - 1)
    assert refusal is not None
    assert "3×2048 cells over 1,000 symbols, in batches of 64×128" in refusal
    assert refusal.count("4.6 GiB") == 2
