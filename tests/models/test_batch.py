"""Streams of one model advance together, and what one says depends on no other."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from models.config import NetworkConfig
from models.decoding.batch import Batch
from models.decoding.characters import Piece
from models.decoding.graph import Precision
from models.decoding.rows import Rows
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream, StreamState
from models.text.vocab import Vocabulary
from tests.networks import VOCABULARY, decoder_of, pieces_of, run, stream, trained_like
from tests.toys import ALPHABET, toy_checkpoint, toy_decoder


def test_neighbours_and_ticks_do_not_matter() -> None:
    """Alone, among forty others, in ticks of 1, 3 or 50 characters: the same text."""
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 2, 32))
    decoder = decoder_of(network)
    primes = ["", "a", "hello world".replace(" ", "\n"), "x" * 60]
    options = [SampleOptions(seed, 0.3 + seed % 5, 20 + 13 * seed) for seed in range(40)]

    def streams() -> list[Stream]:
        return [stream(primes[i % 4], option) for i, option in enumerate(options)]

    alone = [run(decoder, [one])[0] for one in streams()]
    for steps in (1, 3, 50):
        assert run(decoder, streams(), steps) == alone
    assert [len(text) for text in alone] == [option.length for option in options]


def test_a_stream_may_join_late_and_pause() -> None:
    network = trained_like(NetworkConfig(len(VOCABULARY), "gru", 1, 16))
    decoder = decoder_of(network)
    options = [SampleOptions(seed, 1.0, 40) for seed in range(3)]
    alone = [run(decoder, [stream("ab", option)])[0] for option in options]
    first, paused, late = (stream("ab", option) for option in options)
    batch = Batch(decoder)
    texts = {first: "", paused: "", late: ""}
    for active in ([first, paused], [first], [late, first], [late], [paused, late], [first]):
        for one, piece in zip(active, batch.tick(active, 9)[0], strict=True):
            texts[one] += piece.text
    for one in texts:
        while one.finish_reason is None:
            texts[one] += batch.tick([one], 9)[0][0].text
    assert list(texts.values()) == alone


def test_stop_strings_are_never_said() -> None:
    """Not even their beginnings, wherever a tick cuts them; what only looks like one is said."""
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 1, 24))
    decoder = decoder_of(network)
    [whole] = run(decoder, [stream("", SampleOptions(8, 1.0, 400))])
    stops = (whole[200:207], "not to be found", whole[300:302])
    end = min(whole.find(stop) for stop in stops if stop in whole)
    for steps in (1, 3, 1000):
        one = stream("", SampleOptions(8, 1.0, 400, stop=stops))
        assert run(decoder, [one], steps) == [whole[:end]]
        assert one.finish_reason == "stop" and one.characters == end
    almost = stream("", SampleOptions(8, 1.0, 50, stop=(whole[40:50] + "\u3042\n",)))
    assert run(decoder, [almost], 7) == [whole[:50]] and almost.finish_reason == "length"


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("stop", [(), ("a",)])
def test_a_state_goes_on_where_the_text_stopped(
    precision: Precision, stop: tuple[str, ...]
) -> None:
    """With the same seed it is the text that one longer request would have given."""
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 2, 24))
    decoder = decoder_of(network, precision)
    [whole] = run(decoder, [stream("xy", SampleOptions(3, 0.9, 300))])
    text, state, length = "", None, 37
    while len(text) < 150:
        options = SampleOptions(3, 0.9, length, stop=stop if len(text) < 40 else ())
        prime = "xy" if state is None else ""
        one = Stream(VOCABULARY, VOCABULARY.encode(prime), options, keep_state=True, begin=state)
        text += run(decoder, [one, stream("q", options)], 11)[0]
        state = one.end_state
        assert isinstance(state, StreamState)
        if one.finish_reason == "stop":
            stop = ()
    assert whole.startswith(text)
    branch = Stream(VOCABULARY, VOCABULARY.encode(""), SampleOptions(4, 0.9, 50), begin=state)
    assert run(decoder, [branch])[0] != whole[len(text) : len(text) + 50]


def test_states_of_bytes_models_lose_no_byte() -> None:
    vocabulary = Vocabulary("bytes", [0x0A, 0x41, 0x81, 0x82, 0xE3])
    decoder = decoder_of(trained_like(NetworkConfig(len(vocabulary), "lstm", 1, 8)))
    nothing = vocabulary.encode("")
    [whole] = run(decoder, [Stream(vocabulary, nothing, SampleOptions(3, 3.0, 120))])
    text, state = "", None
    while len(text) < 120:
        options = SampleOptions(3, 3.0, 1 + len(text) % 4)
        one = Stream(vocabulary, nothing, options, keep_state=True, begin=state)
        text += run(decoder, [one], 5)[0]
        state = one.end_state
    assert text[:120] == whole


def test_probabilities_are_the_models_own() -> None:
    """Of each character that was said, at temperature 1 whatever it was drawn at."""
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 1, 24))
    options = SampleOptions(6, 0.5, 40)
    one = Stream(VOCABULARY, VOCABULARY.encode("ab"), options, probabilities=3)
    [said] = pieces_of(decoder_of(network), [one], 9)
    text = "".join(piece.text for piece in said)
    characters = [character for piece in said for character in piece.characters]
    assert text == run(decoder_of(network), [stream("ab", options)])[0]
    assert "".join(character.char for character in characters) == text
    ids = torch.from_numpy(VOCABULARY.encode("\nab" + text))
    with torch.no_grad():
        shares = network(ids[:-1, None])[0][2:, 0].softmax(-1)
    for index, character in enumerate(characters):
        expected = shares[index]
        assert character.probability == pytest.approx(float(expected[ids[index + 3]]), rel=1e-4)
        best = expected.topk(3)
        assert [char for char, _ in character.top] == [VOCABULARY.name(i) for i in best.indices]
        assert [p for _, p in character.top] == pytest.approx(best.values.tolist(), rel=1e-4)


def test_bytes_model_writes_whole_characters() -> None:
    """Random bytes: every piece is a sound string, and the length counts characters."""
    vocabulary = Vocabulary("bytes", [0x0A, 0x41, 0x81, 0x82, 0xE3])
    network = trained_like(NetworkConfig(len(vocabulary), "lstm", 1, 8))
    options = SampleOptions(3, 3.0, 200)
    one = Stream(vocabulary, vocabulary.encode(""), options)
    [text] = run(decoder_of(network), [one], 5)
    assert len(text) == 200
    assert "\u3042" in text and "\ufffd" in text
    again = Stream(vocabulary, vocabulary.encode(""), options)
    assert run(decoder_of(network), [again], 1000) == [text]


HOSTILE: list[dict[str, Any]] = [
    {"top_k": 10**30},
    {"top_k": 1 << 63},
    {"top_k": -1},
    {"seed": 1 << 64},
    {"seed": -1},
    {"temperature": 1e-300},
    {"temperature": math.nan},
    {"top_p": math.inf},
    {"length": 10**30},
    {"seed": 1.5},
    {"length": 2.5},
    {"top_k": math.nan},
    {"seed": "1"},
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=str)
def test_a_row_with_a_hostile_option_can_not_reach_a_tick(hostile: dict[str, Any]) -> None:
    """numpy would raise for all rows, and so end the texts of the neighbours."""
    decoder = toy_decoder(toy_checkpoint())
    neighbour = Stream(ALPHABET, ALPHABET.encode("a"), SampleOptions(seed=3, length=40))
    batch, text = Batch(decoder), ""
    while neighbour.finish_reason is None:
        with pytest.raises(ValueError, match=f"{next(iter(hostile))} must be"):
            Stream(ALPHABET, ALPHABET.encode("a"), SampleOptions(**hostile))
        with pytest.raises(ValueError, match=f"{next(iter(hostile))} must be"):
            dataclasses.replace(neighbour.options, **hostile)
        text += batch.tick([neighbour], 16)[0][0].text
    assert len(text) == 40


def test_a_row_at_every_bound_runs_beside_others() -> None:
    """What the options allow, the decoder takes."""
    decoder = toy_decoder(toy_checkpoint())
    extremes = [
        SampleOptions(seed=(1 << 63) - 1, temperature=0.01, length=40, top_k=1 << 20, top_p=1.0),
        SampleOptions(seed=0, temperature=10.0, length=40, top_k=1, top_p=1e-12),
        SampleOptions(temperature=0.0, length=40, stop=("never" * 51,) * 4),
        SampleOptions(length=0),
    ]
    streams = [Stream(ALPHABET, np.array([], np.int64), options) for options in extremes]
    batch, texts = Batch(decoder), [""] * len(streams)
    while running := [index for index, s in enumerate(streams) if s.finish_reason is None]:
        pieces, _ = batch.tick([streams[index] for index in running], 16)
        for index, piece in zip(running, pieces, strict=True):
            texts[index] += piece.text
    assert [stream.finish_reason for stream in streams] == ["length"] * 4
    assert [len(text) for text in texts] == [40, 40, 40, 0]


# What may join


@pytest.mark.parametrize(
    "wrong",
    [
        {"prime": np.array([0, len(ALPHABET)])},
        {"prime": np.array([-1])},
        {"prime": np.array([[1]])},
        {"prime": np.array([1.0])},
        {"probabilities": -1},
        {"probabilities": 1 << 40},
    ],
    ids=str,
)
def test_a_stream_takes_what_its_vocabulary_has(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        sound: dict[str, Any] = {"prime": np.array([1]), "options": SampleOptions()}
        Stream(ALPHABET, **sound | wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"position": -1},
        {"position": 1 << 63},
        {"position": 10**30},
        {"seed": -1},
        {"seed": 1 << 63},
        {"pending": b"\xf0\x9f\x98\x80"},
        {"unsaid": "a" * 17},
        {"rows": Rows(np.array([1, 2]), (np.zeros((1, 2, 3), np.float32),))},
        {"rows": Rows(np.array([1]), (np.full((1, 1, 3), np.nan, np.float32),))},
        {"rows": Rows(np.array([1]), (np.full((1, 1, 3), np.inf, np.float32),))},
    ],
    ids=str,
)
def test_a_state_is_one_that_a_text_can_have(wrong: dict[str, Any]) -> None:
    rows = Rows(np.array([1]), (np.zeros((1, 1, 3), np.float32),))
    sound: dict[str, Any] = {"rows": rows, "position": (1 << 63) - 1, "seed": (1 << 63) - 1}
    StreamState(**sound)
    with pytest.raises(ValueError, match="must"):
        StreamState(**sound | wrong)


def test_more_alternatives_than_symbols_are_all_symbols() -> None:
    stream = Stream(ALPHABET, ALPHABET.encode("a"), SampleOptions(length=1), probabilities=1000)
    batch = Batch(toy_decoder(toy_checkpoint()))
    piece = Piece()
    while stream.finish_reason is None:
        piece = batch.tick([stream], 4)[0][0] or piece
    assert len(piece.characters[0].top) == len(ALPHABET)


@pytest.mark.parametrize("ticks", [1, 2, 5, 30])
@pytest.mark.parametrize("tokens", ["characters", "bytes"])
def test_a_text_that_is_broken_off_continues_where_it_was(tokens: Any, ticks: int) -> None:
    """Beside others, with text held back for a stop, and in the middle of a character."""
    vocabulary = VOCABULARY if tokens == "characters" else Vocabulary("bytes", [*range(256)])
    decoder = decoder_of(trained_like(NetworkConfig(len(vocabulary), "lstm", 2, 24)))

    stops: tuple[str, ...] = ()

    def begun(length: int, begin: StreamState | None = None) -> Stream:
        prime = vocabulary.encode("" if begin else "ab")
        options = SampleOptions(7, 1.0, length, stop=stops)
        return Stream(vocabulary, prime, options, keep_state=True, begin=begin)

    [whole] = run(decoder, [begun(400)])
    # None is ever complete, but some characters begin one.
    stops = tuple(f"{char}\0\0" for char in sorted({*whole}, key=whole.count)[-4:])
    first, other = begun(400), begun(900)
    batch = Batch(decoder)
    said = ""
    for _ in range(ticks):
        said += batch.tick([first, other], 7)[0][0].text
    first.break_off("shutdown")
    while first.finish_reason is None:
        assert not batch.tick([first], 3)[0][0].text
    assert (first.finish_reason, first.characters) == ("shutdown", len(said))
    assert first.end_state is not None
    [rest] = run(decoder, [begun(400 - len(said), first.end_state)])
    assert said + rest == whole


def test_a_text_that_has_not_begun_is_broken_off_without_a_state() -> None:
    decoder = toy_decoder(toy_checkpoint())
    options = SampleOptions(1, 1.0, 100)
    fresh = Stream(ALPHABET, ALPHABET.encode("ab"), options, keep_state=True)
    primed = Stream(ALPHABET, ALPHABET.encode("ab" * 50), options, keep_state=True)
    plain = Stream(ALPHABET, ALPHABET.encode("ab"), options)
    Batch(decoder).tick([primed, plain], 20)
    for one in (fresh, primed, plain):
        one.break_off("shutdown")
        assert (one.finish_reason, one.end_state) == ("shutdown", None)
