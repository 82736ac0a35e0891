"""What one text is of the ids that were taken for it."""

from dataclasses import replace

import numpy as np
import pytest

from models.config import NetworkConfig
from models.decoding.batch import Batch
from models.decoding.characters import Piece, Reading
from models.decoding.ngram_decoder import NGramDecoder
from models.decoding.rows import Rows
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream, StreamState
from models.ngram import NGram
from tests.networks import VOCABULARY, decoder_of, run, slowly, stream, trained_like, warm
from tests.toys import ALPHABET, BYTES, babble, toy_checkpoint, toy_decoder

HOT = (1.5, 0.0, 0.4)


def ended(decoder: object, one: Stream, steps: int = 7) -> str:
    batch, text = Batch(decoder), ""  # type: ignore[arg-type]
    while one.finish_reason is None:
        text += batch.tick([one], steps)[0][0].text
    return text


@pytest.mark.parametrize("steps", [1, 3, 64])
def test_overlapping_stops_end_a_text_at_the_same_place_in_any_ticks(steps: int) -> None:
    """In one tick both stops are there, in others only the one that is complete first."""
    decoder = toy_decoder(toy_checkpoint())

    def written(length: int, *stops: str) -> tuple[str, str | None]:
        one = Stream(ALPHABET, ALPHABET.encode(""), SampleOptions(8, 5.0, length, stop=stops))
        return ended(decoder, one, steps), one.finish_reason

    whole, _ = written(100)
    inner, outer = whole[51:53], whole[50:56]
    at = whole.find(inner)
    assert written(100, outer, inner) == (whole[:at], "stop")
    # One that would be complete only beyond the length is none.
    assert written(53, whole[50:56]) == (whole[:53], "length")
    assert written(56, whole[50:56]) == (whole[: whole.find(outer)], "stop")


@pytest.mark.parametrize("top_k", [0, 5])
@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_temperatures_are_gone_through_in_equal_parts(precision: str, top_k: int) -> None:
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 2, 24))
    options = SampleOptions(3, HOT, 100, top_k)
    expected = slowly(network, "abc", options) if precision == "exact" else None
    texts = [
        run(
            decoder_of(network, "exact" if precision == "exact" else "fast"),
            [stream("abc", options), *(stream("", SampleOptions(s, 0.7, 90)) for s in others)],
            steps,
        )[0]
        for steps, others in ((7, ()), (1, (1, 2)), (64, (5,)), (1000, ()))
    ]
    assert len(set(texts)) == 1 and expected in (None, texts[0])
    # The parts end after 33 and 66 characters: until then it is the text of the first only.
    first = SampleOptions(3, HOT[0], 100, top_k)
    decoder = decoder_of(network, "exact" if precision == "exact" else "fast")
    [hot] = run(decoder, [stream("abc", first)])
    assert texts[0][:34] == hot[:34] and texts[0] != hot


def test_neighbours_of_changing_temperatures_stay_what_they_are() -> None:
    network = trained_like(NetworkConfig(len(VOCABULARY), "gru", 1, 24))
    decoder = decoder_of(network)
    plain = SampleOptions(4, 1.0, 80)
    [alone] = run(decoder, [stream("x", plain)])
    _, beside = run(decoder, [stream("", SampleOptions(1, HOT, 60)), stream("x", plain)])
    assert beside == alone


def test_an_ngram_model_goes_through_temperatures_too() -> None:
    decoder = NGramDecoder(NGram.fit(babble(5000), len(ALPHABET), max_order=4))
    texts = [
        ended(decoder, Stream(ALPHABET, ALPHABET.encode("a"), SampleOptions(2, HOT, 90)), steps)
        for steps in (1, 8, 200)
    ]
    assert len(set(texts)) == 1
    hot = ended(decoder, Stream(ALPHABET, ALPHABET.encode("a"), SampleOptions(2, 1.5, 90)))
    assert texts[0][:30] == hot[:30] and texts[0] != hot


@pytest.mark.parametrize("said", [1, 17, 40, 71, 89])
def test_a_text_that_was_broken_off_goes_on_in_the_same_part(said: int) -> None:
    decoder = toy_decoder(toy_checkpoint())
    options = SampleOptions(5, HOT, 90)

    def begun(**more: object) -> Stream:
        return Stream(ALPHABET, ALPHABET.encode("b"), options, keep_state=True, **more)  # type: ignore[arg-type]

    whole = ended(decoder, begun())
    one, batch, text = begun(), Batch(decoder), ""
    while len(text) < said:
        text += batch.tick([one], 1)[0][0].text
    one.break_off("shutdown")
    while one.finish_reason is None:
        batch.tick([one], 5)
    assert one.end_state and one.end_state.begun == (said, said)
    rest = SampleOptions(5, HOT, 90 - said)
    on = Stream(ALPHABET, ALPHABET.encode(""), rest, begin=one.end_state)
    assert text + ended(decoder, on) == whole
    # A text that is complete says nothing of its parts: the next one goes through its own.
    complete = begun()
    ended(decoder, complete)
    assert complete.end_state and complete.end_state.begun == (0, 0)


@pytest.mark.parametrize("begun", [(-1, 0), (0, 1 << 63)])
def test_a_state_has_sound_counts(begun: tuple[int, int]) -> None:
    row = Rows(np.array([1]), (np.zeros((1, 1, 3), np.float32),))
    with pytest.raises(ValueError, match="begun must be from 0"):
        StreamState(row, 0, 0, begun=begun)


@pytest.mark.parametrize("steps", [1, 5, 64])
def test_a_prime_is_told_with_what_followed_from_it(steps: int) -> None:
    """As a text that had been written is told: by a network, and by counts."""
    counts = NGram.fit(babble(3000) % len(BYTES), len(BYTES), max_order=3)
    prime = BYTES.encode("AあA\n" * 9)
    for decoder in (toy_decoder(toy_checkpoint(vocabulary=BYTES)), NGramDecoder(counts)):
        one = Stream(BYTES, prime, SampleOptions(1, length=4), probabilities=2, tell_prime=True)
        assert len(ended(decoder, one, steps)) == 4
        expected = Piece()
        _, logits, _ = decoder.advance(
            decoder.start(np.array([BYTES.start_id])),
            prime[:, None],
            np.zeros((len(prime), 1), np.float32),
            replace(warm(1), tell=np.array([True])),
        )
        Reading(BYTES, 2).read(expected, prime, logits[:, 0])
        assert one.told_prime == expected and expected.text == "AあA\n" * 9
    follows = counts.next_distribution([BYTES.start_id])[prime[0]]
    assert expected.characters[0].probability == pytest.approx(follows, rel=1e-5)


def test_a_text_may_be_nothing_but_a_prime() -> None:
    decoder = toy_decoder(toy_checkpoint())
    prime, nothing = ALPHABET.encode("abc"), SampleOptions(1, length=0)
    one = Stream(ALPHABET, prime, nothing, probabilities=1, tell_prime=True)
    assert ended(decoder, one) == "" and one.finish_reason == "length"
    assert one.told_prime.text == "abc" and one.characters == 0
