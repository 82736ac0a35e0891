"""A corpus of several texts: which one each id is of, and what is held out of each."""

from pathlib import Path

import numpy as np
import pytest

from models.styles import TextPart
from models.text.cleaning import CorpusError, NotUtf8
from models.text.corpus import PIECE, Corpus, WrongParts, encode, scan, spans_of
from models.text.spans import Spans
from models.text.vocab import Vocabulary

ONE = "One text, wíth marks.\r\n" * 20
OTHER = "\ufeffANOTHER text\n" * 30
PARTS = [TextPart("one", len(ONE.encode())), TextPart("other", len(OTHER.encode()))]
LENGTHS = [len(ONE.replace("\r\n", "\n")), len(OTHER.replace("\ufeff", ""))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "text").write_bytes((ONE + OTHER).encode())
    return tmp_path / "text"


def opened(path: Path, spans: Spans | None, fraction: float = 0.2, **options: bool) -> Corpus:
    vocabulary = scan(path).vocabulary
    encode(path, vocabulary, path.with_name("ids"))
    return Corpus.open(path.with_name("ids"), vocabulary, fraction, styles=spans, **options)


def test_a_position_has_the_style_of_its_part() -> None:
    spans = Spans.of([3, 1, 2], [0, 2, 0])
    assert spans.at(np.arange(6)).tolist() == [0, 0, 0, 2, 0, 0]
    assert spans.at(np.array([[5], [3]])).tolist() == [[0], [2]]
    assert spans.begins.tolist() == [0, 3, 4]


def test_parts_are_counted_as_they_are_encoded(path: Path) -> None:
    """In characters, with one line end each and without byte-order marks."""
    spans = spans_of(path, "characters", PARTS)
    assert spans.ends.tolist() == np.cumsum(LENGTHS).tolist()
    assert spans.styles.tolist() == [0, 1]
    assert (
        spans_of(path, "bytes", PARTS).ends.tolist() == np.cumsum([p.bytes for p in PARTS]).tolist()
    )


def test_the_end_of_each_text_is_held_out(path: Path) -> None:
    corpus = opened(path, spans_of(path, "characters", PARTS))
    texts = ONE.replace("\r\n", "\n"), OTHER.replace("\ufeff", "")
    cuts = [len(text) - round(0.2 * len(text)) for text in texts]
    decode = corpus.vocabulary.decoder().decode
    assert decode(corpus.train) == "".join(t[:cut] for t, cut in zip(texts, cuts, strict=True))
    assert decode(corpus.validation) == "".join(t[cut:] for t, cut in zip(texts, cuts, strict=True))
    assert corpus.styles and corpus.validation_styles
    assert corpus.styles.ends.tolist() == np.cumsum(cuts).tolist()
    assert corpus.validation_styles.ends[-1] == len(corpus.validation)


def test_less_of_what_is_held_out_is_less_of_each(path: Path) -> None:
    corpus = opened(path, spans_of(path, "characters", PARTS), 0.4)
    ids, spans = corpus.beginning(100)
    assert spans and corpus.validation_styles
    decode = corpus.vocabulary.decoder().decode
    first = int(spans.ends[0])
    assert 98 <= len(ids) == spans.ends[-1] <= 100
    whole = decode(corpus.validation)
    begin = int(corpus.validation_styles.ends[0])
    assert decode(ids) == whole[:first] + whole[begin : begin + len(ids) - first]
    assert first / len(ids) == pytest.approx(begin / len(whole), abs=0.02)
    for everything, styles in (corpus.beginning(10**6), corpus.held_out(10**6)):
        assert len(everything) == len(whole)
        assert styles is corpus.validation_styles


def test_a_network_is_judged_on_all_of_each_text() -> None:
    lengths = [5 * PIECE, 15 * PIECE]
    ids = np.arange(sum(lengths), dtype=np.uint32)
    vocabulary = Vocabulary("bytes", list(range(256)))
    corpus = Corpus(vocabulary, ids[:1], ids, Spans.of([1], [0]), Spans.of(lengths, [0, 1]))
    judged, spans = corpus.held_out(8 * PIECE)
    assert spans and spans.styles.tolist() == [0, 1]
    parts = np.split(judged, spans.ends[:-1])
    assert [len(part) for part in parts] == [2 * PIECE, 6 * PIECE]
    for part, text in zip(parts, np.split(ids, [lengths[0]]), strict=True):
        assert (part[0], part[-1]) == (text[0], text[-1])
        seams = np.flatnonzero(np.diff(part) != 1) + 1
        assert seams.tolist() == list(range(PIECE, len(part), PIECE))
        assert np.ptp(np.diff(part)[seams - 1]) <= 1


def test_lines_of_a_list_stay_in_their_style(tmp_path: Path) -> None:
    elves, dwarves = ("".join(f"{c}{n}\n" for n in range(60)) for c in "ed")
    path = tmp_path / "text"
    path.write_text(elves + dwarves)
    parts = [TextPart("elf", len(elves)), TextPart("dwarf", len(dwarves))]
    corpus = opened(path, spans_of(path, "characters", parts), shuffle_lines=True)
    assert corpus.styles and corpus.validation_styles
    for ids, spans in (
        (corpus.train, corpus.styles),
        (corpus.validation, corpus.validation_styles),
    ):
        text = corpus.vocabulary.decoder().decode(ids)
        cut = int(spans.ends[0])
        assert {line[0] for line in text[:cut].splitlines()} == {"e"}
        assert {line[0] for line in text[cut:].splitlines()} == {"d"}
        assert text[:cut].endswith("\n")


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((-1, 0), f"parts of {sum(part.bytes for part in PARTS)} bytes together"),
        ((-1, 1), "begin a line"),
        ((16 * 24, -16 * 24), "at least 100 characters: number 2 has"),
    ],
)
def test_parts_that_are_not_the_texts_are_refused(
    sizes: tuple[int, int], words: str, path: Path
) -> None:
    parts = [TextPart(style, size + more) for (style, size), more in zip(PARTS, sizes, strict=True)]
    with pytest.raises(WrongParts) as caught:
        spans_of(path, "characters", parts)
    assert words in str(caught.value), caught.value


def test_what_is_no_text_is_told_where(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"line\n" * 40 + b"\xff\n" * 100)
    with pytest.raises(NotUtf8) as caught:
        spans_of(path, "characters", [TextPart("a", 200), TextPart("b", 200)])
    assert caught.value.offset == 200


def test_styles_of_another_text_are_refused(path: Path) -> None:
    with pytest.raises(CorpusError, match="another text"):
        opened(path, Spans.of([10, 20], [0, 1]))
