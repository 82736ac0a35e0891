"""What one row raises ends that row only, and no row makes a tick long."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.arrays import Floats, Ids
from models.decoding.batch import Batch
from models.decoding.decoder import Decoder
from models.decoding.rows import Choices, Rows
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream, StreamState
from models.decoding.trail import APART
from tests.toys import ALPHABET, toy_checkpoint, toy_decoder

# Rows that fail


def told(decoder: Decoder, streams: list[Stream], steps: int) -> list[tuple[str, Any]]:
    """The text of each stream, and how it ended."""
    batch, texts = Batch(decoder), dict.fromkeys(streams, "")
    while running := [stream for stream in streams if stream.finish_reason is None]:
        for one, piece in zip(running, batch.tick(running, steps)[0], strict=True):
            texts[one] += piece.text
    return [(texts[stream], stream.finish_reason) for stream in streams]


def references(keep_state: bool = True) -> list[Stream]:
    """Eight texts of every kind: primed, filtered, greedy, continued, with stops, with guesses."""
    prime = ALPHABET.encode
    begin = Stream(ALPHABET, prime("begin"), SampleOptions(50, length=9), keep_state=True)
    told(toy_decoder(toy_checkpoint()), [begin], 4)
    options = SampleOptions(seed=1, length=150)
    change = dataclasses.replace
    return [
        Stream(ALPHABET, prime("a"), options, keep_state=keep_state),
        Stream(ALPHABET, prime("a long prime " * 9), change(options, seed=2)),
        Stream(ALPHABET, prime(""), change(options, seed=3, top_k=3), keep_state=keep_state),
        Stream(ALPHABET, prime("q"), change(options, temperature=0.0)),
        Stream(ALPHABET, prime(""), change(options, seed=5), begin=begin.end_state),
        Stream(ALPHABET, prime("z"), change(options, seed=6, stop=("e", "qu")), keep_state=True),
        Stream(ALPHABET, prime("z"), change(options, seed=7), probabilities=3),
        Stream(ALPHABET, prime("z"), change(options, seed=(1 << 63) - 1, top_p=0.5)),
    ]


class Poison(Stream):
    """A stream in which one thing raises from some character on, past every check."""

    def __init__(self, what: str, after: int, error: type[Exception] = OverflowError) -> None:
        # A stop at some time, so that it has a state to replay too.
        options = SampleOptions(seed=99, length=100, stop=("e",) if what == "replay" else ())
        super().__init__(ALPHABET, ALPHABET.encode("abc"), options, keep_state=True)
        self._what, self._after, self._error = what, after, error

    def __getattribute__(self, name: str) -> Any:
        get = super().__getattribute__
        if name == get("__dict__").get("_what") and get("_chosen") >= get("_after"):
            raise get("_error")("a poisoned row")
        return get(name)


def wrong_rows(change: Callable[[Rows], Rows]) -> Callable[[], Stream]:
    """A stream whose rows are not those of its model, past every check."""

    def made() -> Stream:
        stream = Stream(ALPHABET, ALPHABET.encode("abc"), SampleOptions(length=50))
        stream.rows = change(toy_decoder(toy_checkpoint()).start(np.array([1])))
        return stream

    return made


def wrong_prime() -> Stream:
    stream = Stream(ALPHABET, ALPHABET.encode("abc"), SampleOptions(length=50))
    stream.ahead = np.array([1, 1 << 70], object)
    return stream


PARTS = [
    "steps_left",
    "position",
    "forced",
    "options",
    "take",
    "mark",
    "replay",
    "_say",
    "_reading",
]
POISONS: list[Callable[[], Stream]] = [
    *(lambda part=part, after=after: Poison(part, after) for part in PARTS for after in (0, 40)),
    lambda: Poison("take", 20, MemoryError),
    wrong_prime,
    wrong_rows(lambda rows: Rows(rows.ids, rows.state[:1])),
    wrong_rows(lambda rows: Rows(rows.ids, tuple(part[:, :, :5] for part in rows.state))),
    wrong_rows(lambda rows: Rows(rows.ids, tuple(part.repeat(2, axis=1) for part in rows.state))),
    wrong_rows(lambda rows: Rows(rows.ids.repeat(3), rows.state)),
    wrong_rows(lambda rows: Rows(rows.ids, tuple(part.astype(complex) for part in rows.state))),
]


@pytest.mark.parametrize("steps", [3, 64])
def test_what_a_row_raises_ends_that_row_only(steps: int) -> None:
    """Whatever raises, and whenever: the others are bit for bit what they are alone."""
    decoder = toy_decoder(toy_checkpoint())
    alone = [told(decoder, [one], 50)[0] for one in references()]
    ends = [reference for reference in references() if reference.keep_state]
    told(decoder, ends, 50)
    for make in POISONS:
        poisons, beside = [make(), make()], references()
        mixed = [*beside[:3], poisons[0], *beside[3:7], poisons[1], *beside[7:]]
        results = dict(zip(mixed, told(decoder, mixed, steps), strict=True))
        for poison in poisons:
            assert poison.finish_reason == "error" and poison.error is not None
            assert poison.end_state is None
        assert [results[one] for one in beside] == alone
        for one, end in zip((one for one in beside if one.keep_state), ends, strict=True):
            assert_same_state(one.end_state, end.end_state)


def assert_same_state(one: StreamState | None, other: StreamState | None) -> None:
    assert one and other
    assert (one.position, one.seed, one.unsaid) == (other.position, other.seed, other.unsaid)
    for part, expected in zip(one.rows.state, other.rows.state, strict=True):
        np.testing.assert_array_equal(part, expected)


class Failing(Decoder):
    """A decoder that fails while it is told to, and counts what it is asked for."""

    def __init__(self) -> None:
        checkpoint = toy_checkpoint()
        super().__init__(checkpoint.config, checkpoint.weights)
        self.fails: Callable[[int], bool] = lambda rows: False
        self.calls: list[tuple[int, int]] = []

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, choices: Choices
    ) -> tuple[Ids, Floats, Rows]:
        steps, count = forced.shape
        self.calls.append((steps, count))
        if self.fails(count):
            raise MemoryError
        return super().advance(rows, forced, uniforms, choices)


def test_a_decoder_short_of_memory_advances_fewer_rows_at_once() -> None:
    decoder = Failing()
    alone = [told(decoder, [one], 50)[0] for one in references()]
    decoder.fails = lambda rows: rows > 3
    assert told(decoder, references(), 16) == alone


def test_a_decoder_that_fails_ends_all_its_rows_once() -> None:
    decoder = Failing()
    streams = references()
    batch = Batch(decoder)
    begun = [piece.text for piece in batch.tick(streams, 5)[0]]
    decoder.fails = lambda rows: True
    decoder.calls.clear()
    pieces, taken = batch.tick(streams, 5)
    assert [piece.text for piece in pieces] == [""] * 8 and taken > 0
    assert {stream.finish_reason for stream in streams} == {"error"}
    assert all(isinstance(stream.error, MemoryError) for stream in streams)
    assert len(decoder.calls) == 2 * 8 - 1
    decoder.fails = lambda rows: False
    again = references()
    assert [piece.text for piece in batch.tick(again, 5)[0]] == begun


def test_a_row_that_pauses_while_another_fails_loses_nothing() -> None:
    decoder = toy_decoder(toy_checkpoint())
    [(whole, _)] = told(decoder, references()[:1], 50)
    paused, batch = references()[0], Batch(decoder)
    text = batch.tick([paused, Poison("take", 5)], 10)[0][0].text
    batch.tick([Poison("take", 0)], 10)
    batch.tick([Poison("position", 0), Poison("forced", 0)], 10)
    while paused.finish_reason is None:
        text += batch.tick([paused], 10)[0][0].text
    assert text == whole


# Ends that must be replayed


class Repeating(Failing):
    """A decoder of one letter, whose texts look like the beginning of a stop all the time."""

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, choices: Choices
    ) -> tuple[Ids, Floats, Rows]:
        letter = np.where(forced < 0, ALPHABET.encode("a")[0], forced)
        return super().advance(rows, letter, uniforms, choices)


@pytest.mark.parametrize("steps", [1, 16, 1000])
def test_stops_never_make_a_tick_long(steps: int) -> None:
    """Not even where all of a text looks like their beginning: the work of a tick is bounded."""
    decoder = Repeating()
    stops = ("a" * 255 + "b", "a" * 255 + "c", "aa" * 100 + "b", "never")
    hostile = SampleOptions(1, 0.0, 30 * steps + 300, stop=stops)
    streams = [Stream(ALPHABET, ALPHABET.encode(""), hostile, keep_state=True) for _ in range(3)]
    streams.append(Stream(ALPHABET, ALPHABET.encode(""), dataclasses.replace(hostile, length=5)))
    batch, texts = Batch(decoder), [""] * 4
    while running := [stream for stream in streams if stream.finish_reason is None]:
        decoder.calls.clear()
        pieces, _ = batch.tick(running, steps)
        assert sum(count for count, _ in decoder.calls) <= 2 * steps
        assert all(rows <= len(running) for _, rows in decoder.calls)
        for stream, piece in zip(running, pieces, strict=True):
            texts[streams.index(stream)] += piece.text
        for stream in running:
            trail = stream._trail
            assert trail is None or len(trail._anchors) <= 2 + (255 + steps) // APART
    assert texts == ["a" * hostile.length] * 3 + ["a" * 5]
    assert all(stream.end_state and not stream.end_state.unsaid for stream in streams[:3])


@pytest.mark.parametrize("steps", [1, 5, 64, 1000])
def test_a_state_does_not_depend_on_ticks(steps: int) -> None:
    decoder = toy_decoder(toy_checkpoint())

    def ended(steps: int) -> list[Stream]:
        streams = [
            Stream(ALPHABET, ALPHABET.encode("ab" * seed), options, keep_state=True)
            for seed in range(30)
            for options in [SampleOptions(seed, 0.7, 40 + 9 * seed, stop=("zq", "xyz", "ee"))]
        ]
        told(decoder, streams, steps)
        return streams

    for one, other in zip(ended(steps), ended(7), strict=True):
        assert_same_state(one.end_state, other.end_state)


def test_a_state_after_a_prime_has_read_all_of_it() -> None:
    """A text of no characters, in ticks shorter than its prime."""
    decoder = toy_decoder(toy_checkpoint())
    prime, options = ALPHABET.encode("once upon a time " * 30), SampleOptions(4, length=50)
    [(whole, _)] = told(decoder, [Stream(ALPHABET, prime, options)], 50)
    for steps in (1, 8, 1000):
        nothing = dataclasses.replace(options, length=0)
        read = Stream(ALPHABET, prime, nothing, keep_state=True)
        assert told(decoder, [read], steps) == [("", "length")]
        rest = Stream(ALPHABET, prime[:0], options, begin=read.end_state)
        assert told(decoder, [rest], steps) == [(whole, "length")]
