"""A text never copies more than it may, whatever ticks it is written in and beside whom."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from models.decoding.batch import Batch
from models.decoding.decoder import RowDecoder
from models.decoding.ngram_decoder import NGramDecoder
from models.decoding.sampling import SampleOptions, choose, uniforms
from models.decoding.stream import Stream
from models.ngram import NGram
from models.text.copies import Runs
from models.text.vocab import Vocabulary
from tests.toys import babble, toy_checkpoint, toy_decoder

IDS = babble(6000)
LETTERS = Vocabulary("characters", [0x0A, 0x20, 0x2E, *range(0x61, 0x7B)])
AS_BYTES = Vocabulary("bytes", LETTERS.symbols.tolist())
TEXT = LETTERS.decoder().decode(IDS.astype(np.int64))
CORPUS = LETTERS.symbols[IDS]
COUNTS = NGram.fit(IDS, len(LETTERS), max_order=12)
"""Counts of so long contexts repeat their text for long stretches."""


def copies(text: str, prime: str, copied: int) -> list[str]:
    """The runs of a text that are too long, those that end in its prime apart."""
    whole = prime + text
    ends = range(max(len(prime), copied), len(whole))
    runs = [whole[end - copied : end + 1] for end in ends]
    return [run for run in runs if run in TEXT]


def a_stream(prime: str, options: SampleOptions, copied: int | None, **more: Any) -> Stream:
    runs = None if copied is None else Runs(CORPUS, copied)
    return Stream(LETTERS, LETTERS.encode(prime), options, uncopied=runs, **more)


def written(decoder: RowDecoder, streams: Sequence[Stream], steps: int) -> list[str]:
    batch, texts = Batch(decoder), dict.fromkeys(streams, "")
    while active := [stream for stream in streams if stream.finish_reason is None]:
        for stream, piece in zip(active, batch.tick(active, steps)[0], strict=True):
            texts[stream] += piece.text
    return list(texts.values())


def slowly(prime: str, options: SampleOptions, copied: int) -> tuple[str, int]:
    """The obvious way: an id at a time, from those that do not copy."""
    history, text, detours = [LETTERS.start_id, *LETTERS.encode(prime).tolist()], "", 0
    draws = uniforms(np.array([options.seed], np.uint64), np.array([0], np.uint64), options.length)
    for draw in draws[:, 0].tolist():
        logits = np.log(COUNTS.next_distribution(history)).astype(np.float32)
        how = (options.temperatures[0], draw, options.top_k, options.top_p)
        chosen, end = choose(logits, *how), (prime + text)[-copied:]

        def copy(id_: int, end: str = end) -> bool:
            return len(end) == copied and end + chr(LETTERS.symbols[id_]) in TEXT

        if copy(chosen):
            allowed = np.array([id_ for id_ in range(len(LETTERS)) if not copy(id_)])
            chosen, detours = int(allowed[choose(logits[allowed], *how)]), detours + 1
        history.append(chosen)
        text += chr(LETTERS.symbols[chosen])
    return text, detours


@pytest.mark.parametrize(
    "options",
    [
        SampleOptions(1, 0.5, 120),
        SampleOptions(2, 0.0, 80),
        SampleOptions(3, 0.8, 100, top_k=5),
        SampleOptions(4, 1.0, 100, top_p=0.7),
    ],
)
@pytest.mark.parametrize("copied", [6, 15])
def test_as_the_obvious_way_writes_it(options: SampleOptions, copied: int) -> None:
    prime = TEXT[100:130]
    expected, detours = slowly(prime, options, copied)
    assert detours and not copies(expected, prime, copied)
    decoder = NGramDecoder(COUNTS)
    [free] = written(decoder, [a_stream(prime, options, None)], 64)
    assert copies(free, prime, copied)
    alone = written(decoder, [a_stream("", SampleOptions(9, 1.0, 50), None)], 50)
    for steps in (1, 7, 64, 1000):
        one = a_stream(prime, options, copied)
        beside = [a_stream("", SampleOptions(9, 1.0, 50), None) for _ in range(steps % 3)]
        text, *others = written(decoder, [one, *beside], steps)
        assert (text, one.detours) == (expected, detours)
        assert others == alone * len(beside)


def test_where_nothing_is_copied_the_text_is_what_it_was() -> None:
    decoder, options = NGramDecoder(COUNTS), SampleOptions(5, 1.0, 300)
    one = a_stream("", options, 200)
    assert written(decoder, [one], 64) == written(decoder, [a_stream("", options, None)], 64)
    assert one.detours == 0


@pytest.mark.parametrize("steps", [1, 9, 64])
def test_it_goes_on_from_its_states_as_one_text(steps: int) -> None:
    """From the end of a text, and from where a server broke it off."""
    decoder = NGramDecoder(COUNTS)
    whole, detours = slowly("a", SampleOptions(7, 0.5, 190), 10)
    for end in (1, 55, 121):
        first = a_stream("a", SampleOptions(7, 0.5, end), 10, keep_state=True)
        [text] = written(decoder, [first], steps)
        assert first.end_state and text == whole[:end]
        rest = a_stream("", SampleOptions(7, 0.5, 190 - end), 10, begin=first.end_state)
        assert text + written(decoder, [rest], steps)[0] == whole
        assert first.detours + rest.detours == detours
    broken, batch, said = a_stream("a", SampleOptions(7, 0.5, 190), 10, keep_state=True), None, ""
    batch = Batch(decoder)
    while len(said) < 90:
        said += batch.tick([broken], steps)[0][0].text
    broken.break_off("shutdown")
    while broken.finish_reason is None:
        batch.tick([broken], steps)
    assert broken.end_state and said == whole[: len(said)]
    rest = a_stream("", SampleOptions(7, 0.5, 190 - len(said)), 10, begin=broken.end_state)
    assert said + written(decoder, [rest], steps)[0] == whole


def test_probabilities_are_those_of_the_ids_that_were_taken() -> None:
    decoder, options = NGramDecoder(COUNTS), SampleOptions(1, 0.5, 200)
    batch, pieces = Batch(decoder), []
    one = a_stream("", options, 8, probabilities=1)
    while one.finish_reason is None:
        pieces.append(batch.tick([one], 32)[0][0])
    characters = [character for piece in pieces for character in piece.characters]
    text = "".join(piece.text for piece in pieces)
    assert "".join(one.char for one in characters) == text == slowly("", options, 8)[0]
    history = [LETTERS.start_id]
    for character, id_ in zip(characters, LETTERS.encode(text).tolist(), strict=True):
        expected = COUNTS.next_distribution(history)[id_]
        assert character.probability == pytest.approx(expected, rel=1e-4)
        history.append(id_)


def test_a_stride_is_short_where_detours_are_frequent_and_grows_again() -> None:
    decoder, seen = NGramDecoder(COUNTS), []
    one = a_stream("a", SampleOptions(7, 0.3, 400), 8)
    batch = Batch(decoder)
    assert one.is_guarded and one.stride == 1 + 1024
    while one.finish_reason is None:
        taken, reread = one.characters, one.backed_up
        batch.tick([one], one.stride)
        seen.append((one.backed_up, one.stride))
        assert one.characters > taken or not reread
    assert min(stride for backed_up, stride in seen if backed_up) < 64
    # All that was taken in a tick with a detour is read again in the next one, and some more.
    assert len(seen) < 400 and one.characters == 400


@pytest.mark.parametrize("keep_state", [False, True])
def test_where_everything_copies_the_text_ends(keep_state: bool) -> None:
    """All pairs of two letters are in the corpus."""
    both = Vocabulary("characters", [0x0A, 0x61])
    corpus = np.array([0x61, 0x61, 0x0A, 0x0A, 0x61])
    decoder = toy_decoder(toy_checkpoint(vocabulary=both))
    prime, options = both.encode("a"), SampleOptions(1, 1.0, 50, stop=("\n\n\n",))
    runs = Runs(corpus, 1)
    one = Stream(both, prime, options, keep_state=keep_state, uncopied=runs)
    [text] = written(decoder, [one], 7)
    assert (one.finish_reason, text, one.detours) == ("copied", "", 0)
    assert (one.end_state is not None) == keep_state


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("vocabulary", [LETTERS, AS_BYTES])
def test_a_networks_rows_go_back_to_where_the_detour_is(
    precision: Any, vocabulary: Vocabulary
) -> None:
    """What it wrote is its own corpus, which it must not write again; bit for bit in any ticks."""
    decoder = toy_decoder(toy_checkpoint(vocabulary=vocabulary), precision)
    options = SampleOptions(3, 0.8, 240, top_k=3)
    nothing = vocabulary.encode("")
    [free] = written(decoder, [Stream(vocabulary, nothing, options)], 64)
    runs = Runs(vocabulary.symbols[vocabulary.encode(free)], 12)
    found = set()
    for steps, others in ((1, 0), (8, 3), (64, 1), (300, 0)):
        one = Stream(vocabulary, nothing, options, uncopied=runs, keep_state=True)
        beside = [Stream(vocabulary, nothing, SampleOptions(s, 1.0, 99)) for s in range(others)]
        text = written(decoder, [*beside, one], steps)[-1]
        assert one.detours and one.end_state
        state = b"".join(part.tobytes() for part in one.end_state.rows.state)
        found.add((text, one.detours, state, one.end_state.before))
        ids = vocabulary.encode(text)
        assert runs.first(vocabulary.symbols[ids], 0) is None
    assert len(found) == 1 and text[:12] == free[:12] and text != free
