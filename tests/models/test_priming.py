"""A text whose prime is known begins behind it, and is the same text, bit for bit."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest

from models.arrays import Floats, Ids
from models.checkpoints.format import Checkpoint
from models.decoding.batch import Batch
from models.decoding.decoder import Decoder, RowDecoder
from models.decoding.graph import Precision
from models.decoding.ngram_decoder import NGramDecoder
from models.decoding.priming import Priming
from models.decoding.rows import Choices, Rows
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream
from models.ngram import NGram
from models.text.copies import Runs
from models.text.vocab import Vocabulary
from tests.toys import ALPHABET, BYTES, toy_checkpoint, toy_decoder, wordy

PRIME = "the quick fox jumps over the lazy dog and sleeps\n" * 3
CORPUS = ALPHABET.symbols[wordy(len(ALPHABET), 4000)]


class Recorder:
    """A decoder that tells how many rows and steps it was asked for, and how many were forced."""

    def __init__(self, decoder: RowDecoder) -> None:
        self._decoder = decoder
        self.spare_rows = decoder.spare_rows
        self.start, self.check = decoder.start, decoder.check
        self.calls: list[tuple[int, int]] = []
        self.read = 0

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, choices: Choices
    ) -> tuple[Ids, Floats, Rows]:
        self.calls.append(forced.shape)
        self.read += int((forced >= 0).sum())
        return self._decoder.advance(rows, forced, uniforms, choices)


@dataclass
class Known:
    """Remembers every prime, and counts the beginnings that it knows: all, or so many ids."""

    rows: dict[bytes, Rows]
    most: int | None = None

    def priming(self, prime: Ids) -> Priming:
        count = len(prime) if self.most is None else self.most
        rows = self.rows.get(prime[:count].tobytes())
        remember = partial(self.rows.__setitem__, prime.tobytes())
        return Priming(prime.tobytes(), remember, count if rows else 0, rows)


WAYS: list[dict[str, Any]] = [
    {},
    {"top_k": 3, "top_p": 0.9},
    {"stop": ("e\n", "of"), "keep_state": True},
    {"temperatures": (0.2, 0.9, 3.0), "keep_state": True},
    {"probabilities": 4},
    {"probabilities": 2, "tell_prime": True},
    {"copied": 3, "keep_state": True},
]


def streams(vocabulary: Vocabulary, prime: Ids, known: Known | None) -> list[Stream]:
    """One of each way."""
    made = []
    for seed, way in enumerate(WAYS):
        more = dict(way)
        copied = more.pop("copied", None)
        options = SampleOptions(
            seed,
            more.pop("temperatures", (0.8,)),
            60 + seed,
            more.pop("top_k", 0),
            more.pop("top_p", 0.0),
            more.pop("stop", ()),
        )
        more["uncopied"] = Runs(CORPUS, copied) if copied else None
        priming = known.priming(prime) if known else None
        made.append(Stream(vocabulary, prime, options, priming=priming, **more))
    return made


def told(decoder: RowDecoder, written: list[Stream], steps: int) -> list[Any]:
    """All that is known of each text once all have ended."""
    batch = Batch(decoder)
    said: dict[Stream, list[Any]] = {one: [] for one in written}
    texts = dict.fromkeys(written, "")
    while active := [one for one in written if one.finish_reason is None]:
        for one, piece in zip(active, batch.tick(active, steps)[0], strict=True):
            texts[one] += piece.text
            said[one] += piece.characters
    ends = [one.end_state for one in written]
    return [
        (
            texts[one],
            said[one],
            one.told_prime,
            one.finish_reason,
            one.detours,
            end and (end.position, end.pending, end.unsaid, end.begun, end.before),
            end and [end.rows.ids.tobytes(), *(part.tobytes() for part in end.rows.state)],
        )
        for one, end in zip(written, ends, strict=True)
    ]


MODELS: dict[str, Callable[[], Checkpoint]] = {
    "lstm": toy_checkpoint,
    "gru": lambda: toy_checkpoint("gru"),
    "counted": lambda: toy_checkpoint(orders=5),
    "bytes": lambda: toy_checkpoint(vocabulary=BYTES),
    "ngram": toy_checkpoint,
}


def model(name: str, precision: Precision = "exact") -> tuple[RowDecoder, Vocabulary, Ids]:
    """A model, its symbols, and a prime that it knows."""
    checkpoint = MODELS[name]()
    vocabulary = checkpoint.vocabulary
    text = "Aあ\n" * 50 if vocabulary is BYTES else PRIME
    decoder: RowDecoder = toy_decoder(checkpoint, precision)
    if name == "ngram":
        decoder = NGramDecoder(
            NGram.fit(wordy(len(vocabulary), 4000).astype("u1"), len(vocabulary), 3)
        )
    return decoder, vocabulary, vocabulary.encode(text)


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, "exact") for name in MODELS), ("lstm", "fast"), ("counted", "fast")],
)
def test_a_known_prime_changes_no_bit(name: str, precision: Precision) -> None:
    decoder, vocabulary, prime = model(name, precision)
    expected = told(decoder, streams(vocabulary, prime, None), 16)
    known = Known({})
    # Unknown, so that one reads it for all but those whose prime is told; in ticks of any length.
    for steps in (1, 7, 64):
        recorder = Recorder(decoder)
        assert told(recorder, streams(vocabulary, prime, Known({})), steps) == expected
    assert told(decoder, streams(vocabulary, prime, known), 16) == expected
    # Known: all of it, and its beginning.
    for beginning in (1, len(prime) // 2):
        told(decoder, streams(vocabulary, prime[:beginning], known), 16)
    for most in (None, 1, len(prime) // 2):
        for steps in (1, 16, 1000):
            assert told(decoder, streams(vocabulary, prime, Known(known.rows, most)), steps) == (
                expected
            )


def test_a_known_prime_is_not_read_again() -> None:
    decoder, vocabulary, prime = model("lstm")
    known = Known({})
    read = []
    for most in (None, None, 0):
        recorder = Recorder(decoder)
        one = Stream(
            vocabulary, prime, SampleOptions(1), priming=Known(known.rows, most).priming(prime)
        )
        told(recorder, [one], 1000)
        read.append(recorder.read)
    assert read == [len(prime), 0, len(prime)]


def test_of_many_who_bring_the_same_prime_one_reads_it() -> None:
    decoder, vocabulary, prime = model("lstm")
    recorder = Recorder(decoder)
    other = prime[:-1]
    known = Known({})
    many = [
        Stream(vocabulary, ids, SampleOptions(seed), priming=known.priming(ids))
        for seed, ids in enumerate([prime, other, prime, other, prime])
    ]
    plain = [Stream(vocabulary, one.ahead, one.options) for one in many]
    assert told(recorder, many, 40) == told(decoder, plain, 40)
    assert recorder.read == len(prime) + len(other)
    assert max(rows for _, rows in recorder.calls) == 5


def test_whoever_waited_reads_on_its_own_if_the_reader_leaves() -> None:
    decoder, vocabulary, prime = model("lstm")
    known = Known({})
    first, second, third = (
        Stream(vocabulary, prime, SampleOptions(seed), priming=known.priming(prime))
        for seed in range(3)
    )
    expected = told(
        decoder, [Stream(vocabulary, prime, SampleOptions(seed)) for seed in (1, 2)], 40
    )
    recorder = Recorder(decoder)
    batch = Batch(recorder)
    for steps in (20, 20):
        # In any order.
        batch.tick(
            [third, second, first] if len(first.ahead) < len(prime) else [first, second], steps
        )
    assert [len(one.ahead) for one in (first, second, third)] == [
        len(prime) - 40,
        *[len(prime)] * 2,
    ]
    assert told(recorder, [second, third], 40) == expected
    assert recorder.read == 40 + len(prime)


def test_what_is_remembered_cannot_be_changed() -> None:
    decoder, vocabulary, prime = model("counted")
    known = Known({})
    told(decoder, streams(vocabulary, prime, known), 16)
    [rows] = known.rows.values()
    assert rows.ids.tolist() == [prime[-1]]
    assert not rows.ids.flags.writeable
    assert not any(part.flags.writeable for part in rows.state)


def test_a_row_that_fails_remembers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, vocabulary, prime = model("lstm")
    assert isinstance(decoder, Decoder)
    known = Known({})
    broken, waiting = (
        Stream(vocabulary, prime, SampleOptions(seed), priming=known.priming(prime))
        for seed in range(2)
    )
    monkeypatch.setattr(broken, "take", lambda ids, logits: 1 / 0)
    expected = told(decoder, [Stream(vocabulary, prime, SampleOptions(1))], 16)
    written = told(decoder, [broken, waiting], 1000)
    assert broken.finish_reason == "error"
    assert written[1:] == expected
    assert np.isfinite(known.rows[prime.tobytes()].state[0]).all()
