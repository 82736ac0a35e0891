"""How large a network a text, a time and a machine allow, and what it takes to train it.

Only arithmetic: measurements come in as numbers. Knows no torch, so the server estimates with the
same code that the worker plans with.
"""

import math
from dataclasses import replace
from typing import Any

from models.config import GATES, NetworkConfig
from models.ngram_table import (
    KEY_BYTES,
    LARGE,
    list_bytes,
    lists_per_row,
    split_lengths,
)
from models.options import MAX_BUCKETS, MAX_COUNTED, TrainingOptions
from models.styles import distinct

HIDDEN_SIZES = (64, 96, 128, 192, 256, 384, 512, 768, 1024)

DEFAULT_SECONDS = 1800.0
"""Seconds that ``auto`` plans with where no option limits the run."""

MAX_AUTO_EPOCHS = 60.0
"""Most passes over the text that ``auto`` plans; early stopping ends training before."""

CHARACTERS_PER_PARAMETER = 6.0
"""Characters that a network should read for each of its parameters.

At 180 s on tinyshakespeare, the largest size that gets there ended best (docs/log.md).
"""

PARAMETERS_PER_CHARACTER = 3.5
"""Parameters that a text can feed at most, as in the essay: 3.5 M for 1 MB, with dropout."""

PARAMETERS_BESIDE_COUNTS, SHORT = 1.5, 1 << 19
"""The same beside n-gram features, of a text of fewer characters and few symbols.

What is common in it is counted, so a larger network learns what is not by heart: of 198 kB of tunes
2×128 loses 1.49 nats, 2×192 1.52 and 2×256 1.61 (docs/log.md).
"""

EMBEDDING_FROM = 1000
"""Vocabulary size from which ``auto`` embeds: 1-of-k input costs time for each symbol."""

NGRAM_ORDERS = 16
"""Longest context that ``auto`` counts."""

NGRAM_BYTES = 16_000_000
"""Most bytes of an n-gram table that ``auto`` makes: a checkpoint stays quick to load and send."""

COUNTING_BYTES = 600
"""Peak memory of counting for each character of a random text twice; of English 130, of code 80."""

TABLE_BYTES = 8
"""Peak memory of making an n-gram table for each of its bytes: its rows are fp32 at first."""

DEFAULT_BATCH = (32, 32)
WIDE_BATCH, WIDE_MULTIPLE = (64, 128), 8
"""Batch size and sequence length on a CPU, and on a GPU, whose kernels take rows in multiples.

Where time is short, twice the updates are worth more than gradients twice as long (docs/log.md).
"""

FULLER_BATCH = (64, 32)
"""Batch size and sequence length on a CPU that reads a text a few times only.

Where it reads these faster, what it reads more is worth more than twice the updates (docs/log.md).
"""

PROCESS_BYTES = 350 << 20
"""Of a training process before there is a network: measured, with torch and ONNX Runtime."""

TRAINED_BYTES, PUBLISHED_BYTES = 20, 48
"""For each parameter: itself, its average, its gradient and moments; and, between two steps, a copy
of these to save, one of the average to publish, and what decoders pack of them to tell what int8
costs."""


def as_large_as(options: TrainingOptions, config: NetworkConfig) -> TrainingOptions:
    """Returns options that ask for a network of the kind and sizes of another."""
    return replace(
        options,
        network=config.kind,
        num_layers=config.num_layers,
        hidden_size=config.hidden_size,
        embedding_size=config.embedding_size,
    )


def time_budget(options: TrainingOptions) -> float:
    """Seconds to plan with."""
    return DEFAULT_SECONDS if options.max_seconds is None else options.max_seconds


def training_characters(options: TrainingOptions, characters: int) -> int:
    """The number of a text's characters that are trained on."""
    return max(2, round(characters * (1 - options.validation_fraction)))


def asked_characters(options: TrainingOptions, characters: int, per_step: int) -> float:
    """Characters after which the options end the run, time aside.

    Args:
        options: with the preset's.
        characters: that are trained on.
        per_step: characters of a step.
    """
    epochs = MAX_AUTO_EPOCHS if options.max_epochs is None else options.max_epochs
    steps = math.inf if options.max_steps is None else options.max_steps
    return float(min(epochs * characters, steps * per_step))


def asked_batch(options: TrainingOptions, default: tuple[int, int]) -> tuple[int, int]:
    """Batch size and sequence length as the options have them, else the default's."""
    return options.batch_size or default[0], options.sequence_length or default[1]


def batch(
    options: TrainingOptions,
    characters: int,
    default: tuple[int, int] = DEFAULT_BATCH,
    multiple: int = 1,
) -> tuple[int, int]:
    """Batch size and sequence length, shrunk so that a small text still fills a batch twice.

    Args:
        options: with the preset's.
        characters: that are trained on.
        default: where the options leave them open.
        multiple: of rows, to which a batch is shrunk that has more.
    """
    batch_size, length = asked_batch(options, default)
    if batch_size * length <= characters // 2:
        return batch_size, length
    length = max(2, min(length, characters // 8))
    rows = max(1, min(batch_size, characters // (2 * length)))
    return rows - rows % multiple if rows > multiple else rows, length


def ngram_table(
    options: TrainingOptions,
    vocabulary_size: int,
    characters: int,
    memory: int | None = None,
    *,
    is_list: bool = False,
) -> dict[str, Any]:
    """The hyperparameters of the n-gram table: zeros without one.

    Args:
        options: with the preset's.
        vocabulary_size: symbols of the text.
        characters: that are trained on.
        memory: that counting may take, besides the process, in bytes; unlimited if not given.
        is_list: whether the text is a list.
    """
    orders = NGRAM_ORDERS if options.ngram_orders is None else options.ngram_orders
    counted = min(characters, MAX_COUNTED)
    with_row, lengths = split_lengths(orders, vocabulary_size, 0 if is_list else counted)
    orders = max([with_row, *lengths])
    buckets = options.ngram_buckets
    bucket = bucket_bytes(vocabulary_size, lists_per_row(counted) if lengths else 0)
    if buckets is None:
        buckets = min(characters, MAX_BUCKETS, NGRAM_BYTES // bucket)
    if memory is not None:
        half = max(0, memory - PROCESS_BYTES) // 2
        buckets = min(buckets, half // (TABLE_BYTES * bucket))
        counted = min(counted, half // COUNTING_BYTES)
    if not (orders and buckets and counted):
        orders = buckets = counted = 0
    return {"ngram_orders": orders, "ngram_buckets": buckets, "ngram_characters": counted}


def bucket_bytes(vocabulary_size: int, lists: int) -> int:
    """Returns the bytes of an n-gram table for each row, with so many lists that may go with it."""
    return KEY_BYTES + vocabulary_size + lists * list_bytes(vocabulary_size)


def network(options: TrainingOptions, vocabulary_size: int, hidden_size: int) -> NetworkConfig:
    """The network that the options ask for, with as many cells a layer."""
    embedding_size = options.embedding_size
    if embedding_size is None:
        embedding_size = min(256, hidden_size) if vocabulary_size >= EMBEDDING_FROM else 0
    return NetworkConfig(
        vocabulary_size=vocabulary_size,
        kind=options.network or "lstm",
        num_layers=options.num_layers or 2,
        hidden_size=hidden_size,
        embedding_size=embedding_size,
        dropout=options.dropout or 0.0,
        styles=distinct(options.parts),
    )


def largest_network(
    options: TrainingOptions, vocabulary_size: int, characters: int, per_step: int, work: float
) -> NetworkConfig:
    """The network asked for, or else the largest that reads enough characters in the time.

    Args:
        options: with the preset's.
        vocabulary_size: symbols of the text.
        characters: that are trained on.
        per_step: characters of a step.
        work: parameters times characters a second: time grows with the multiplications, which
            are one a parameter.
    """
    if options.hidden_size is not None:
        return network(options, vocabulary_size, options.hidden_size)
    asked = asked_characters(options, characters, per_step)
    is_counted = options.ngram_orders != 0 and characters < SHORT and vocabulary_size < LARGE
    most = PARAMETERS_BESIDE_COUNTS if is_counted else PARAMETERS_PER_CHARACTER
    best = network(options, vocabulary_size, HIDDEN_SIZES[0])
    for hidden_size in HIDDEN_SIZES[1:]:
        config = network(options, vocabulary_size, hidden_size)
        parameters = config.parameters()
        read = min(time_budget(options) * work / parameters, asked)
        if parameters > most * characters:
            break
        if read < CHARACTERS_PER_PARAMETER * parameters:
            break
        best = config
    return best


def estimated_seconds(
    options: TrainingOptions, vocabulary_size: int, characters: int, work: float
) -> float:
    """About how many seconds training takes on a machine that does so much work.

    Args:
        options: with the preset's.
        vocabulary_size, characters: of the text.
        work: parameters times characters a second.
    """
    config, asked = _forecast(options, vocabulary_size, characters, work)
    only_timed = options.max_epochs is None and options.max_steps is None
    if only_timed and options.max_seconds is not None:
        return options.max_seconds
    seconds = asked * config.parameters() / work
    if options.is_untimed or options.max_seconds is not None:
        return min(time_budget(options), seconds)
    return seconds


def outlook(
    options: TrainingOptions, vocabulary_size: int, characters: int, work: float
) -> tuple[NetworkConfig, float]:
    """The network that ``auto`` would plan, and about how often it reads the text in its time.

    Args:
        options, vocabulary_size, characters, work: as for ``estimated_seconds``.
    """
    config, asked = _forecast(options, vocabulary_size, characters, work)
    read = min(asked, time_budget(options) * work / config.parameters())
    return config, read / training_characters(options, characters)


def _forecast(
    options: TrainingOptions, vocabulary_size: int, characters: int, work: float
) -> tuple[NetworkConfig, float]:
    """The network, and the characters after which the options end the run, time aside."""
    characters = training_characters(options, characters)
    batch_size, sequence_length = batch(options, characters)
    per_step = batch_size * sequence_length
    config = largest_network(options, vocabulary_size, characters, per_step, work)
    return config, asked_characters(options, characters, per_step)


def training_bytes(config: NetworkConfig, batch_size: int, sequence_length: int) -> int:
    """About how many bytes of memory training takes at its peak.

    Args:
        config: of the network.
        batch_size, sequence_length: of a step, all of whose activations are kept.
    """
    # Gates, states, what comes out and its dropout, with gradients (measured: docs/log.md).
    layer = 4 * config.hidden_size * (2 * GATES[config.kind] + 4)
    # Logits, their softmax, and the gradients of both; 1-of-k as fp32 and as bf16.
    vocabulary = config.vocabulary_size * (16 if config.embedding_size else 22)
    activations = batch_size * sequence_length * (config.num_layers * layer + vocabulary)
    parameters = config.parameters()
    return PROCESS_BYTES + max(
        TRAINED_BYTES * parameters + activations, PUBLISHED_BYTES * parameters
    )


def memory_refusal(
    config: NetworkConfig, batch_size: int, sequence_length: int, available: int
) -> str | None:
    """Why a training does not fit into so many bytes, as a sentence's end; None if it does."""
    needed = training_bytes(config, batch_size, sequence_length)
    if needed <= available:
        return None
    return (
        f"is too large: {config.num_layers}×{config.hidden_size} cells over "
        f"{config.vocabulary_size:,} symbols, in batches of {batch_size}×{sequence_length}, need "
        f"about {_size(needed)} of memory, and the machine has {_size(available)}. Choose a "
        "smaller hidden_size, batch_size or sequence_length, or fewer layers"
    )


def _size(count: float) -> str:
    return f"{count / 2**30:,.1f} GiB"
