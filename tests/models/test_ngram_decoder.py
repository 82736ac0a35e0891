"""An n-gram model in a decoder's place writes what its counts say, whoever it runs beside."""

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from models.decoding.batch import Batch
from models.decoding.ngram_decoder import NGramDecoder
from models.decoding.rows import Choices, Rows
from models.decoding.sampling import SampleOptions, uniforms
from models.decoding.stream import Stream
from models.ngram import NGram
from tests.toys import ALPHABET, babble, counted_text

LIST = "anna\nbertha\nclara\ndora\nhanna\nberta\nlara\nflora\ndorothea\nhannah\ntheodora\n" * 3
MODEL = NGram.fit(ALPHABET.encode(LIST).astype("u1"), len(ALPHABET), 3)
BABBLE = NGram.fit(babble(30_000), 29, 6)
PRIME = babble(50, seed=4).astype(np.int64)
NOTHING = np.array([], dtype=np.int64)


def written(model: NGram, prime: NDArray[np.int64], options: SampleOptions) -> list[int]:
    """The ids that the decoder chooses after a prime."""
    decoder = NGramDecoder(model)
    forced = np.concatenate([prime, np.full(options.length, -1)])[:, None]
    draws = uniforms(np.array([options.seed], np.uint64), np.array([0], np.uint64), options.length)
    choices = Choices(
        np.array([options.temperature], np.float32),
        np.array([options.top_k]),
        np.array([options.top_p], np.float32),
    )
    uniform = np.concatenate([np.zeros((len(prime), 1), np.float32), draws])
    chosen, _, _ = decoder.advance(decoder.start(np.array([0])), forced, uniform, choices)
    ids: list[int] = chosen[len(prime) :, 0].tolist()
    return ids


@pytest.mark.parametrize(
    "options",
    [
        SampleOptions(seed=11, temperature=0.0, length=300),
        SampleOptions(seed=11, temperature=0.5, length=300),
        SampleOptions(seed=11, temperature=1.0, length=300),
        SampleOptions(seed=12, temperature=2.0, length=300, top_k=3),
        SampleOptions(seed=13, temperature=2.0, length=300, top_p=0.6),
    ],
)
def test_it_writes_what_the_slow_way_writes(options: SampleOptions) -> None:
    fresh = NGram.from_bytes(BABBLE.to_bytes())
    assert written(BABBLE, PRIME, options) == list(counted_text(fresh, 0, PRIME, options))


def test_text_comes_out_the_same_for_a_seed_and_not_for_another() -> None:
    def text(seed: int, temperature: float = 1.0, length: int = 600) -> list[int]:
        return written(BABBLE, PRIME, SampleOptions(seed, temperature, length))

    first = text(7)
    assert len(first) == 600
    assert text(7) == first
    assert text(7, length=300) == first[:300]
    assert text(8) != first
    assert text(7, temperature=0) == text(8, temperature=0)


def test_it_is_sampled_faster_than_it_is_read() -> None:
    model = NGram.fit(babble(200_000), 29)
    began = time.process_time()
    written(model, NOTHING, SampleOptions(length=2_000))
    assert time.process_time() - began < 2


def test_rows_do_not_feel_their_neighbours() -> None:
    """Whoever joins or leaves, and however the ticks fall."""

    def text(seed: int, neighbours: int, steps: int) -> str:
        streams = [
            Stream(ALPHABET, ALPHABET.encode("x" * (s % 5)), SampleOptions(s, 1.0, 200))
            for s in [seed, *range(100, 100 + neighbours)]
        ]
        batch, said = Batch(NGramDecoder(MODEL)), ""
        while streams[0].finish_reason is None:
            running = [stream for stream in streams if stream.finish_reason is None]
            said += batch.tick(running, steps)[0][0].text
        return said

    alone = text(3, 0, 200)
    assert alone == decoded("xxx", SampleOptions(3, 1.0, 200))
    assert text(3, 4, 7) == alone


def test_order_0_needs_no_memory() -> None:
    flat = NGramDecoder(MODEL.with_order(0))
    stream = Stream(ALPHABET, ALPHABET.encode("ab"), SampleOptions(1, 1.0, 30), keep_state=True)
    batch = Batch(flat)
    while stream.finish_reason is None:
        batch.tick([stream], 8)
    assert stream.end_state is not None
    assert stream.end_state.position == 30


def decoded(prime: str, options: SampleOptions) -> str:
    ids = list(counted_text(MODEL, ALPHABET.start_id, ALPHABET.encode(prime), options))
    return ALPHABET.decoder().decode(np.array(ids))


def test_rows_that_it_cannot_have_reached_are_refused() -> None:
    decoder = NGramDecoder(MODEL)
    rows = decoder.start(np.array([3]))
    decoder.check(rows)
    for value in (-2, 1.5, len(ALPHABET), 1e30, np.nan):
        state = rows.state[0].copy()
        state[0, 0, -1] = value
        with pytest.raises(ValueError, match="a state"):
            decoder.check(Rows(rows.ids, (state,)))
    with pytest.raises(ValueError, match="a state"):
        decoder.check(Rows(np.array([len(ALPHABET)]), rows.state))
