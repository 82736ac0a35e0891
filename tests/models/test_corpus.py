"""However a text's blocks fall, it is read as if whole; what can't be read is explained exactly."""

import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from models.arrays import AnyIds
from models.config import MAX_VOCABULARY
from models.text import cleaning
from models.text.cleaning import CorpusError, NotUtf8
from models.text.corpus import Corpus, ScanReport, encode, id_type, scan
from models.text.vocab import Vocabulary
from models.training.batches import Batches, ShuffledLines

PROSE = "It was the best of times,\nit was the worst of times.\n" * 4
EVERY_LETTER = [chr(c) for c in range(0xF0000, 0xF0000 + MAX_VOCABULARY)]
"""As many as a vocabulary holds; none ever composes."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "text"


def cleaned(data: bytes) -> str:
    """The whole at once, as the documentation says it."""
    text = data.decode().removeprefix("\ufeff")
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


def read_back(path: Path) -> str:
    """Scanned, encoded to disk and decoded again."""
    vocabulary = scan(path).vocabulary
    target = path.with_name("ids")
    encode(path, vocabulary, target)
    return vocabulary.decoder().decode(np.fromfile(target, id_type(vocabulary)))


JAMO = "\u1112\u1161\u11ab\u1100\u1173\u11af한하"
MARKS = "e\u0301\u0323o\u0308\u0327é\u09c7\u09be\u0b47\u0b3e"


@pytest.mark.parametrize(
    "alphabet",
    [
        "\r\n",
        "\r\na",
        "a\r\né日",
        JAMO,
        JAMO + "\r\n ",
        MARKS,
        MARKS + "\r\n",
        "가\u11a8\u0301😀\r\n",
    ],
    ids=["line ends", "lines", "words", "jamo", "jamo lines", "marks", "mark lines", "all"],
)
def test_blocks_are_read_as_the_whole(
    alphabet: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_ = random.Random(alphabet)
    for _ in range(12):
        text = "".join(random_.choices(alphabet, k=random_.randint(300, 400))) + "the end"
        data = random_.choice(["", "\ufeff"]).encode() + text.encode()
        path.write_bytes(data)
        monkeypatch.setattr(cleaning, "_BLOCK", random_.randint(1, 40))
        assert read_back(path) == cleaned(data)


@pytest.mark.parametrize("middle", ["\r\n", "e\u0301", "\u1100\u1161\u11a8", "\r", "\n\r"])
@pytest.mark.parametrize("letters", ["я", "ᄀ", "か", "\u1100\u1161"])
def test_a_long_text_without_ascii_is_cut_as_well(
    letters: str, middle: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No space and no line end near the end of a block."""
    before = letters * 4500
    data = (before + middle + before + "\n ab").encode()
    path.write_bytes(data)
    # Borders at, just before and just after the middle.
    for shift in range(-1, len(middle.encode()) + 1):
        monkeypatch.setattr(cleaning, "_BLOCK", len(before.encode()) + shift)
        assert read_back(path) == cleaned(data)


def test_no_letter_that_a_block_may_begin_with_joins_what_stands_before() -> None:
    """By Unicode's own data, for every character that this Python knows."""
    joining = {chr(c) for c in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    for character in map(chr, range(0x110000)):
        parts = unicodedata.decomposition(character).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            joining.add(chr(int(parts[1], 16)))
    for character in map(chr, range(0x80, 0x110000)):
        if cleaning._separates(character):
            first = unicodedata.normalize("NFD", character)[0]
            assert not unicodedata.combining(first) and first not in joining


def test_endless_marks_are_read_in_bounded_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "_BLOCK", 1000)
    path.write_bytes(("ab" + "\u0301" * 20_000).encode())
    blocks = list(cleaning.Cleaner().blocks(path))
    assert max(map(len, blocks)) < 6000
    assert sum(map(len, blocks)) == 20_002


def report(path: Path, data: bytes) -> ScanReport:
    path.write_bytes(data)
    return scan(path).report


def test_a_report_says_what_was_cleaned(path: Path) -> None:
    found = report(path, b"\xef\xbb\xbfone\r\ntwo\rthree\ncafe\xcc\x81\n" * 20)
    assert found.normalised == [
        "byte order mark dropped",
        "20 CRLF line ends made LF",
        "20 CR line ends made LF",
        "Unicode composed (NFC)",
    ]
    assert (found.line_ends, found.encoding, found.lines) == ("mixed", "utf-8", 80)


def test_a_clean_text_is_left_alone(path: Path) -> None:
    text = "".join(f"{n} green bottles, hanging on the wall\n" for n in range(1000))
    found = report(path, text.encode())
    assert found.normalised == found.unprintable == found.rare == found.warnings == []
    assert (found.bytes, found.characters, found.distinct) == (len(text), len(text), len(set(text)))
    assert (found.line_ends, found.encoding, found.lines) == ("lf", "ascii", 1000)
    assert (report(path, PROSE.replace("\n", "\r\n").encode()).line_ends) == "crlf"
    assert (report(path, PROSE.replace("\n", "-").encode()).line_ends) == "none"


def test_control_characters_are_pointed_out(path: Path) -> None:
    found = report(path, (PROSE + "\0\x1b\ue000\t").encode())
    assert found.unprintable == ["U+0000", "U+001B", "U+E000"]
    assert "U+0000" in found.warnings[0]


@pytest.mark.parametrize(
    "bad",
    [b"\xff", b"\xc3(", b"\xe2\x82", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xc0\xaf", b"\x80"],
    ids=repr,
)
@pytest.mark.parametrize("rest", ["and so on", ""], ids=["within", "at the end"])
def test_the_first_bad_byte_is_named_wherever_a_block_ends(
    bad: bytes, rest: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ("naïve 日本 " * 3).encode() + bad + rest.encode()
    with pytest.raises(UnicodeDecodeError) as plain:
        data.decode()
    path.write_bytes(data)
    for block in range(1, len(data) + 2):
        monkeypatch.setattr(cleaning, "_BLOCK", block)
        with pytest.raises(NotUtf8, match=f"offset {plain.value.start} ") as refusal:
            scan(path)
        assert refusal.value.offset == plain.value.start
        assert "tokens=bytes" in str(refusal.value)


@pytest.mark.parametrize(
    ("data", "guess"),
    [
        (PROSE.encode("utf-16"), "starts like UTF-16"),
        (b"\xfe\xff" + PROSE.encode("utf-16-be"), "starts like UTF-16"),
        ((PROSE + "é").encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ((PROSE + "Crème brûlée").encode("latin-1"), "looks like Latin-1"),
        ((PROSE + "“Crème”").encode("cp1252"), "looks like Windows-1252"),
        (bytes(range(256)) * 4, "binary file"),
        ((PROSE + "“Crème”").encode()[:-1], "damaged or cut off"),
    ],
    ids=["UTF-16", "UTF-16-BE", "no mark", "Latin-1", "Windows-1252", "binary", "cut off"],
)
def test_the_encoding_is_guessed(data: bytes, guess: str, path: Path) -> None:
    path.write_bytes(data)
    with pytest.raises(NotUtf8, match=guess):
        scan(path)


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


def test_a_row_goes_on_where_it_stopped() -> None:
    """Over every border of steps and around the end: the carried state belongs to what comes."""
    ids = np.arange(103, dtype=np.uint8)
    batches = Batches(ids, batch_size=4, sequence_length=7)
    steps = [batches.batch(step) for step in range(40)]
    for inputs, targets in steps:
        assert inputs.shape == targets.shape == (7, 4)
        assert inputs.dtype == np.int64
    read = np.concatenate([inputs for inputs, _ in steps])
    expected = np.concatenate([targets for _, targets in steps])
    assert read[0].tolist() == [0, 25, 51, 77]
    assert (expected[:-1] == read[1:]).all()
    assert (expected == (read + 1) % 103).all()


def test_a_batch_is_a_function_of_its_step() -> None:
    batches = Batches(np.arange(50, dtype=np.uint16), 3, 5)
    first = batches.batch(1_000_003)
    batches.batch(2)
    assert all((a == b).all() for a, b in zip(first, batches.batch(1_000_003), strict=True))


def test_an_epoch_reads_the_text_once() -> None:
    batches = Batches(np.arange(120, dtype=np.uint8), 4, 10)
    read = np.concatenate([batches.batch(step)[0] for step in range(3)], axis=None)
    assert sorted(read.tolist()) == list(range(120))
    assert (batches.epoch(0), batches.epoch(3), batches.epoch(9)) == (0.0, 1.0, 3.0)


def test_a_batch_may_be_longer_than_the_text() -> None:
    inputs, targets = Batches(np.arange(3, dtype=np.uint8), 2, 8).batch(1)
    assert inputs.T.tolist() == [[2, 0, 1, 2, 0, 1, 2, 0], [0, 1, 2, 0, 1, 2, 0, 1]]
    assert (targets == (inputs + 1) % 3).all()


# Lists


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


def test_lines_come_in_another_order_in_each_pass(path: Path) -> None:
    vocabulary = list_on(path, NAMES)
    ids = np.fromfile(path.with_name("ids"), dtype="u1")
    batches = ShuffledLines(ids, vocabulary.start_id, 1, 50, seed=3)
    steps = len(ids) // 50
    passes = []
    for number in range(2):
        read = [batches.batch(number * steps + step)[0][:, 0] for step in range(steps)]
        # What does not fill a batch is left for another pass.
        passes.append(text_of(vocabulary, np.concatenate(read)).split("\n")[:-1])
    assert passes[0] != passes[1]
    for lines in passes:
        assert set(lines) <= set(NAMES.split("\n"))
        assert len(lines) > 480
    assert (batches.epoch(0), batches.epoch(steps), batches.epoch(2 * steps)) == (0.0, 1.0, 2.0)


def test_a_shuffled_batch_is_a_function_of_its_step_and_the_seed(path: Path) -> None:
    vocabulary = list_on(path, NAMES)
    ids = np.fromfile(path.with_name("ids"), dtype="u1")
    batches = [ShuffledLines(ids, vocabulary.start_id, 4, 20, seed) for seed in (1, 1, 2)]
    batches[1].batch(999)
    same, again, other = (np.stack(b.batch(70)) for b in batches)
    assert (same == again).all()
    assert (same != other).any()
    assert (same[1][:-1] == same[0][1:]).all()
