"""A scan says what a text is; its ids come back as the text, and a part is held out."""

from pathlib import Path

import numpy as np
import pytest

from models.arrays import AnyIds
from models.config import MAX_VOCABULARY
from models.text.cleaning import CorpusError
from models.text.corpus import PIECE, Corpus, ScanReport, encode, scan
from models.text.vocab import Vocabulary

PROSE = "It was the best of times,\nit was the worst of times.\n" * 4
EVERY_LETTER = [chr(c) for c in range(0xF0000, 0xF0000 + MAX_VOCABULARY)]
"""As many as a vocabulary holds; none ever composes."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "text"


def report(path: Path, data: bytes) -> ScanReport:
    path.write_bytes(data)
    return scan(path).report


def test_a_report_says_what_was_cleaned(path: Path) -> None:
    found = report(path, b"\xef\xbb\xbfone\r\ntwo\rthree\ncafe\xcc\x81\n" * 20)
    assert found.normalised == [
        "byte-order mark stripped",
        "19 byte-order marks at the beginning of lines dropped",
        "20 CRLF line ends converted to LF",
        "20 CR line ends converted to LF",
        "Unicode normalised (NFC)",
    ]
    assert (found.line_ends, found.encoding, found.lines) == ("mixed", "utf-8", 80)


def test_a_clean_text_is_left_alone(path: Path) -> None:
    text = "".join(f"{n} green bottles, hanging on the wall\n" for n in range(1000))
    found = report(path, text.encode())
    assert found.normalised == found.unprintable == found.warnings == []
    assert found.rare == []
    assert (found.bytes, found.characters, found.distinct) == (len(text), len(text), len(set(text)))
    assert (found.line_ends, found.encoding, found.lines) == ("lf", "ascii", 1000)
    assert (report(path, PROSE.replace("\n", "\r\n").encode()).line_ends) == "crlf"
    assert (report(path, PROSE.replace("\n", "-").encode()).line_ends) == "none"


def test_control_characters_are_pointed_out(path: Path) -> None:
    found = report(path, (PROSE + "\0\x1b\ue000\t").encode())
    assert found.unprintable == ["U+0000", "U+001B", "U+E000"]
    assert "U+0000" in found.warnings[0]


def test_bytes_of_any_kind_can_be_trained_on(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 2)
    found = scan(path, "bytes")
    assert (found.report.encoding, found.report.characters, len(found.vocabulary)) == (
        "bytes",
        512,
        256,
    )
    encode(path, found.vocabulary, path.with_name("ids"))
    assert path.with_name("ids").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty: send at least 100"),
        (b"\xef\xbb\xbf", "has 0 characters"),
        (b"ab" * 49 + b"c", "has 99 characters: send at least 100"),
        ("é".encode() * 99, "has 99 characters"),
        (b"a" * 1000, "repeats one character"),
        (
            ("a" + "".join(EVERY_LETTER)).encode(),
            "65537 distinct",
        ),
    ],
    ids=["empty", "only a mark", "small", "small in characters", "uniform", "too varied"],
)
def test_what_nothing_can_be_learned_from_is_refused(data: bytes, reason: str, path: Path) -> None:
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=reason):
        scan(path)


def test_the_smallest_text_and_the_largest_vocabulary_are_taken(path: Path) -> None:
    assert report(path, b"a" * 99 + b"b").characters == 100
    assert report(path, "".join(EVERY_LETTER).encode()).distinct == MAX_VOCABULARY


@pytest.mark.parametrize(("distinct", "width"), [(2, 1), (256, 1), (257, 2), (MAX_VOCABULARY, 2)])
def test_ids_take_as_few_bytes_as_they_need(distinct: int, width: int, path: Path) -> None:
    text = "".join(EVERY_LETTER[:distinct]) * max(1, 100 // distinct)
    path.write_bytes(text.encode())
    vocabulary = scan(path).vocabulary
    encode(path, vocabulary, path.with_name("ids"))
    assert path.with_name("ids").stat().st_size == width * len(text)
    opened = Corpus.open(path.with_name("ids"), vocabulary, 0.5)
    assert vocabulary.decoder().decode(np.concatenate([opened.train, opened.validation])) == text


def test_a_text_is_never_encoded_with_the_vocabulary_of_another(path: Path) -> None:
    """Unknown characters would become ids that mean something else."""
    path.write_bytes(PROSE.encode())
    target = path.with_name("ids")
    with pytest.raises(CorpusError, match="vocabulary"):
        encode(path, Vocabulary("characters", [0x61]), target)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("characters", "fraction", "held"),
    [(1000, 0.05, 50), (1000, 0.5, 500), (100, 0.01, 2), (100, 0.05, 5), (3, 0.5, 1)],
)
def test_the_tail_is_for_validation(
    characters: int, fraction: float, held: int, path: Path
) -> None:
    ids = np.arange(characters) % 7
    ids.astype("u1").tofile(path)
    opened = Corpus.open(path, Vocabulary("bytes", list(range(7))), fraction)
    assert opened.validation.tolist() == ids[characters - held :].tolist()
    assert opened.train.tolist() == ids[: characters - held].tolist()


@pytest.mark.parametrize("most", [1, 100, PIECE, 3 * PIECE + 5, 20 * PIECE - 1])
def test_a_long_tail_is_judged_by_pieces_of_all_of_it(most: int) -> None:
    """Not by its beginning, which may be of one file among many."""
    ids = np.arange(20 * PIECE, dtype=np.uint32)
    corpus = Corpus(Vocabulary("bytes", list(range(256))), ids[:1], ids)
    judged, _ = corpus.held_out(most)
    assert most - most // PIECE <= len(judged) <= most
    assert judged[0] == 0 and (most < 2 * PIECE or judged[-1] == ids[-1])
    assert (np.diff(judged) >= 1).all()
    beginning, _ = corpus.beginning(most)
    assert beginning.tolist() == ids[:most].tolist()
    for whole, _ in (corpus.held_out(len(ids)), corpus.beginning(len(ids))):
        assert whole is ids


NAMES = "".join(f"{'abcdefgh'[n % 8]}{n}\n" for n in range(500))


def list_on(path: Path, text: str) -> Vocabulary:
    path.write_bytes(text.encode())
    vocabulary = scan(path).vocabulary
    encode(path, vocabulary, path.with_name("ids"))
    return vocabulary


def text_of(vocabulary: Vocabulary, ids: AnyIds) -> str:
    return vocabulary.decoder().decode(ids)


@pytest.mark.parametrize("end", ["\n", ""])
def test_what_a_list_holds_out_is_like_the_rest(end: str, path: Path) -> None:
    """Whole lines from everywhere, each in one of the parts, and always the same ones."""
    vocabulary = list_on(path, NAMES.rstrip("\n") + end)
    parts = []
    for _ in range(2):
        corpus = Corpus.open(path.with_name("ids"), vocabulary, 0.2, shuffle_lines=True)
        parts.append([text_of(vocabulary, ids) for ids in (corpus.train, corpus.validation)])
    assert parts[0] == parts[1]
    train, held_out = (part.split("\n")[:-1] for part in parts[0])
    assert sorted(train + held_out) == sorted(NAMES.split("\n")[:-1])
    assert len(held_out) == pytest.approx(100, abs=5)
    assert held_out != sorted(held_out, key=lambda name: int(name[1:]))
    assert min(int(name[1:]) for name in held_out) < 50
