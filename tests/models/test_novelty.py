"""What a sample owes to its corpus is found, all of it, wherever it stands."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from models.text import novelty
from models.text.corpus import Corpus
from models.text.novelty import (
    LineNovelty,
    SharedRun,
    is_known_line,
    line_hashes,
    line_novelty,
    longest_run,
    report,
)
from models.text.vocab import Vocabulary

LETTERS = Vocabulary("characters", [0x0A, 0x20, *range(0x61, 0x7B), 0x3042])


def ids_of(text: str) -> np.ndarray:
    return LETTERS.encode(text).astype(np.uint8)


def slow_longest(sample: list[int], corpus: list[int]) -> int:
    """By the textbook's table: the common suffix of each two prefixes."""
    longest = 0
    row = [0] * (len(corpus) + 1)
    for a in sample:
        row = [0] + [row[j] + 1 if a == b else 0 for j, b in enumerate(corpus)]
        longest = max(longest, *row)
    return longest


@pytest.mark.parametrize("seed", range(60))
def test_the_longest_run_is_the_longest(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(seed)
    monkeypatch.setattr(novelty, "_BLOCK", int(random.integers(1, 100)))
    distinct = int(random.integers(1, 5))
    corpus = random.integers(0, distinct, size=random.integers(0, 300)).astype(np.uint8)
    sample = random.integers(0, distinct, size=random.integers(0, 80))
    if seed % 2 and len(corpus) > 40:
        # A run of the corpus with something else before and after it.
        begin = int(random.integers(0, len(corpus) - 30))
        sample = np.concatenate([sample[:20], corpus[begin : begin + 30], sample[20:]])
    run = longest_run(sample, corpus)
    assert run.length == slow_longest(sample.tolist(), corpus.tolist())
    np.testing.assert_array_equal(
        sample[run.sample_start : run.sample_start + run.length],
        corpus[run.corpus_start : run.corpus_start + run.length],
    )


def test_of_equal_runs_the_first_in_the_corpus_is_given() -> None:
    assert longest_run(ids_of("xxabcyy"), ids_of("abdabcabc")) == SharedRun(3, 2, 3)


def test_a_run_over_the_end_of_a_block_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "_BLOCK", 64)
    corpus = np.random.default_rng(0).integers(0, 200, size=1000).astype(np.uint8)
    for begin in (0, 40, 60, 63, 64, 900, 970):
        assert longest_run(corpus[begin : begin + 30], corpus) == SharedRun(30, 0, begin)


def test_all_of_a_sample_may_be_in_the_corpus_and_all_the_same() -> None:
    assert longest_run(np.zeros(500, dtype=np.int64), np.zeros(5000, dtype=np.uint8)).length == 500
    assert longest_run(np.zeros(500, dtype=np.int64), np.zeros(50, dtype=np.uint8)).length == 50


def test_texts_made_to_collide_do_not_match() -> None:
    """Thue and Morse's word and its complement have one hash modulo 2⁶⁴, whatever the base."""
    places = np.arange(1 << 12)
    word = np.bitwise_count(places).astype(np.uint8) % 2
    run = longest_run(word[:2048], 1 - word[:2048])
    assert run.length > 100
    np.testing.assert_array_equal(
        word[run.sample_start :][: run.length], 1 - word[run.corpus_start :][: run.length]
    )


def test_the_corpus_is_read_from_a_file_in_blocks(tmp_path: Path) -> None:
    corpus = np.random.default_rng(2).integers(0, 1000, size=50_000).astype("<u2")
    corpus.tofile(tmp_path / "ids")
    mapped = np.memmap(tmp_path / "ids", dtype="<u2", mode="r")
    assert longest_run(corpus[31_000:31_500].astype(np.int64), mapped) == SharedRun(500, 0, 31_000)


def test_a_sample_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="more than"):
        longest_run(np.zeros(novelty.SAMPLE_LIMIT + 1, dtype=np.uint8), ids_of("a"))


def test_novel_lines_are_those_that_the_corpus_lacks() -> None:
    corpus = ids_of("anna\nbert\n\ncarl")
    found = line_novelty(ids_of("anna\nann\n\ncarl\nann\nbert"), corpus, newline=0)
    assert found == LineNovelty(lines=4, novel=2, distinct=3, novel_distinct=1)
    assert found.share == 0.5
    assert found.distinct_share == pytest.approx(1 / 3)


def test_without_lines_there_is_no_share() -> None:
    corpus = ids_of("anna\nbert\n")
    for sample in ("", "\n\n\n", "broken off"):
        found = line_novelty(ids_of(sample), corpus, newline=0)
        assert found.lines == 0
        assert found.share is None and found.distinct_share is None
    assert line_novelty(ids_of("a\nb\n"), corpus, newline=-1).lines == 0


@pytest.mark.parametrize("seed", range(20))
def test_blocks_cut_no_line(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(seed)
    monkeypatch.setattr(novelty, "_BLOCK", 20)
    text = "\n".join("".join(random.choice(list("ab"), size=n)) for n in random.integers(0, 7, 50))
    if seed % 2:
        text = text.replace("\n\n", "\n" + "a" * int(random.integers(15, 70)) + "b\n", 2)
    sample = "".join("".join(random.choice(list("ab"), size=n)) + "\n" for n in [1, 2, 3, 4, 5] * 9)
    lines = set(text.split("\n"))
    expected = sum(line not in lines for line in sample.split())
    assert line_novelty(ids_of(sample), ids_of(text), newline=0).novel == expected


def test_a_report_says_it_all() -> None:
    corpus = ids_of("anna\nbertha\ncarl\n" * 10)
    said = report("bert\nanna\nannabertha\nanna\nca", corpus, LETTERS)
    assert said.longest_text == "bertha\n"
    assert said.figures == {
        "characters": 28,
        "longest": 7,
        "longest_start": 5,
        "lines": 4,
        "novel_line_share": 0.5,
        "novel_name_share": pytest.approx(2 / 3),
    }
    assert report(ids_of("bert\nanna\nannabertha\nanna\nca"), corpus, LETTERS) == said


def test_characters_beyond_the_vocabulary_match_nothing() -> None:
    said = report("ann€a\nannあ\n", ids_of("anna\nann\n" * 20), LETTERS)
    assert said.longest_text == "a\nann"
    assert said.novel_line_share == 1.0


def test_bytes_that_are_no_text_are_reported_too() -> None:
    vocabulary = Vocabulary("bytes", [0x0A, 0x61, 0xC3, 0xFF])
    corpus = np.array([1, 1, 3, 2, 0, 1, 1], dtype=np.uint8)
    said = report(np.array([3, 2, 0]), corpus, vocabulary)
    assert (said.longest, said.longest_text) == (3, "\ufffd\ufffd\n")
    assert report("a\n", corpus, vocabulary).novel_line_share == 1.0


def test_a_text_without_line_ends_has_no_lines() -> None:
    vocabulary = Vocabulary("characters", [0x61, 0x62])
    said = report("abba", vocabulary.encode("abab").astype(np.uint8), vocabulary)
    assert (said.longest, said.lines, said.novel_line_share) == (2, 0, None)


def a_corpus(text: str, held_out: int, vocabulary: Vocabulary | None = None) -> Corpus:
    """Whose last characters (or bytes) are held out."""
    vocabulary = vocabulary or Vocabulary("characters", sorted(set(map(ord, text))))
    ids = vocabulary.encode(text).astype(np.uint8)
    return Corpus(vocabulary, ids[: len(ids) - held_out], ids[len(ids) - held_out :])


NAMES = [f"name{n}é" for n in range(100)]


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
@pytest.mark.parametrize("tokens", ["characters", "bytes"])
def test_hashes_know_the_lines_of_a_list_and_no_others(
    block: int, tokens: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a block ends, where the held-out part begins, and without a last line end."""
    text = "\n".join([*NAMES, "", "name7é", "last"])
    vocabulary = Vocabulary("bytes", sorted(set(text.encode()))) if tokens == "bytes" else None
    corpus = a_corpus(text, 33, vocabulary)
    with monkeypatch.context() as patch:
        # A list is told by the first block.
        patch.setattr(novelty, "is_list", lambda *_: True)
        patch.setattr(novelty, "_BLOCK", block)
        hashes = line_hashes(corpus, limit=1000)
    assert hashes.dtype == np.uint64 and (hashes[1:] > hashes[:-1]).all()
    assert len(hashes) == 101
    assert all(is_known_line(line, hashes) for line in [*NAMES, "last"])
    assert not any(is_known_line(line, hashes) for line in ["", "name", "name7", "name100é"])


def test_the_hash_of_a_line_stays_as_it_is() -> None:
    """Checkpoints carry it."""
    hashes = line_hashes(a_corpus("Ana\n" * 100, 5), limit=1)
    assert hashes.tolist() == [3957192875420154950]


def test_prose_and_endless_lists_have_no_hashes() -> None:
    assert len(line_hashes(a_corpus("x" * 100 + "\n" + "y" * 1000, 5), limit=1000)) == 0
    assert len(line_hashes(a_corpus("\n".join(NAMES), 5), limit=50)) == 0
    assert not is_known_line("Ana", line_hashes(a_corpus("no line end" * 20, 5), limit=50))


def test_a_line_without_end_is_looked_at_only_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "_BLOCK", 64)
    monkeypatch.setattr(novelty, "LONGEST_LINE", 8)
    text = "\n".join([*NAMES, "z" * 5000, "after"])
    monkeypatch.setattr(novelty, "is_list", lambda *_: True)
    hashes = line_hashes(a_corpus(text, 5), limit=1000)
    assert is_known_line("after", hashes) and is_known_line("name99é", hashes)


# White space around lines

PADDED = [name + " " * (n % 3) for n in range(30) for name in ("anna", "béla", "carl")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("tokens", ["characters", "bytes"])
def test_white_space_around_a_line_does_not_count(tokens: str, end: str) -> None:
    """A corpus of characters has no carriage returns, one of bytes may."""
    text = end.join(["\u3000dora\t", *PADDED, ""]) if tokens == "bytes" else "\n".join(PADDED)
    vocabulary = Vocabulary("bytes", sorted(set(text.encode()))) if tokens == "bytes" else None
    hashes = line_hashes(a_corpus(text, 20, vocabulary), limit=10)
    assert len(hashes) == (4 if tokens == "bytes" else 3)
    for line in ("anna", "béla  ", "\tcarl \r"):
        assert is_known_line(line, hashes)
    assert not any(is_known_line(line, hashes) for line in ("ann", "an na", "", " "))


def test_hashes_of_lines_with_white_space_are_still_known() -> None:
    """As checkpoints of earlier releases have them."""
    lines = ["anna", "béla ", "carl  ", "dora\r", "emil\t", " f"]
    digests = b"".join(hashlib.blake2b(line.encode(), digest_size=8).digest() for line in lines)
    hashes = np.unique(np.frombuffer(digests, "<u8").astype(np.uint64))
    for line in ("anna", "anna ", "béla", "béla ", "carl", "dora", "dora\r", "emil", " f"):
        assert is_known_line(line, hashes)
    assert not is_known_line("gret", hashes)


def test_the_report_strips_lines_too() -> None:
    corpus = "".join(f"{line}\n" for line in PADDED)
    vocabulary = Vocabulary("characters", sorted(set(map(ord, corpus + "x"))))
    ids = vocabulary.encode(corpus).astype(np.uint8)
    said = report("anna \n béla\ncarl   \n  \nxanna\nxanna \n", ids, vocabulary)
    assert (said.lines, said.novel_line_share, said.novel_name_share) == (5, 0.4, 0.25)
