"""Measures how much of a sample is copied from the corpus: the memorisation report.

The report has the longest run of the sample that occurs verbatim in the corpus, the share of lines
that are not lines of the corpus, and for a list the share of new names, as in Karpathy's essay
(2015: "about 90%"). The corpus is read once, in blocks, so memory does not grow with it. Without
the corpus, hashes of its lines tell whether a line is one of them. Knows no network.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from models.arrays import AnyIds, AnyInts, Hashes
from models.text.corpus import Corpus
from models.text.doctor import is_list
from models.text.hashing import Places, Powers, WindowHashes
from models.text.vocab import Vocabulary

LONGEST_LINE = 1 << 16
"""Maximum size of a line to hash, in bytes; lists have no longer ones."""

SAMPLE_LIMIT = 1 << 20
"""Maximum number of characters in a sample."""

_BLOCK = 1 << 20
_SHIFT = 0x10000


@dataclass(frozen=True, slots=True)
class SharedRun:
    """A run of ids that is in both sample and corpus: its length and first position in each.

    If there is none, all are 0.
    """

    length: int
    sample_start: int
    corpus_start: int


@dataclass(frozen=True, slots=True)
class LineNovelty:
    """The number of a sample's non-empty lines, and of those that are not lines of the corpus.

    ``distinct`` and ``novel_distinct`` count equal lines once.
    """

    lines: int
    novel: int
    distinct: int
    novel_distinct: int

    @property
    def share(self) -> float | None:
        """The share of novel lines, from 0 to 1; None without lines."""
        return self.novel / self.lines if self.lines else None

    @property
    def distinct_share(self) -> float | None:
        """The share of novel distinct lines: for a list, the essay's share of novel names."""
        return self.novel_distinct / self.distinct if self.distinct else None


class MemorisationFigures(TypedDict):
    """A report without the corpus's text, which may not be shared with a checkpoint."""

    characters: int
    longest: int
    longest_start: int
    lines: int
    novel_line_share: float | None
    novel_name_share: float | None


@dataclass(frozen=True, slots=True)
class MemorisationReport:
    """What a sample has in common with the corpus.

    ``longest`` is the length of the longest common run, ``longest_start`` its position in the
    corpus, both in characters. Shares are from 0 to 1, or None without lines; ``novel_name_share``
    is also None unless the corpus is a list.
    """

    characters: int
    longest: int
    longest_text: str
    longest_start: int
    lines: int
    novel_line_share: float | None
    novel_name_share: float | None

    @property
    def figures(self) -> MemorisationFigures:
        return {
            "characters": self.characters,
            "longest": self.longest,
            "longest_start": self.longest_start,
            "lines": self.lines,
            "novel_line_share": self.novel_line_share,
            "novel_name_share": self.novel_name_share,
        }


def report(sample: str | AnyInts, ids: AnyIds, vocabulary: Vocabulary) -> MemorisationReport:
    """Compares a sample with a corpus.

    Args:
        sample: text, or ids in any integer type, shape [characters]; it begins at the beginning
            of a line. Unknown characters match nothing.
        ids: the corpus, or its training part, shape [characters].

    Raises:
        ValueError: the sample is longer than ``SAMPLE_LIMIT``.
    """
    sampled = _lookup(sample, vocabulary) if isinstance(sample, str) else sample
    run = longest_run(sampled, ids)
    shared = np.asarray(ids[run.corpus_start : run.corpus_start + run.length])
    newline = vocabulary.newline_id
    lines = line_novelty(sampled, ids, newline, _white_space(vocabulary))
    return MemorisationReport(
        characters=len(sampled),
        longest=run.length,
        longest_text=vocabulary.decoder().decode(shared, final=True),
        longest_start=run.corpus_start,
        lines=lines.lines,
        novel_line_share=lines.share,
        novel_name_share=lines.distinct_share if is_list(ids, newline) else None,
    )


def _white_space(vocabulary: Vocabulary) -> list[int]:
    """The ids of white space other than a line's end."""
    spaces = {
        id_
        for id_, symbol in enumerate(vocabulary.symbols.tolist())
        if chr(symbol).isspace() and (symbol < 128 or vocabulary.tokens == "characters")
    }
    return sorted(spaces - {vocabulary.newline_id})


def _lookup(text: str, vocabulary: Vocabulary) -> AnyInts:
    text = vocabulary.normalise(text)
    if vocabulary.tokens == "bytes":
        return vocabulary.lookup(np.frombuffer(text.encode("utf-8"), dtype=np.uint8))
    return vocabulary.lookup(np.frombuffer(text.encode("utf-32-le"), dtype="<u4"))


def line_hashes(corpus: Corpus, limit: int) -> Hashes:
    """Returns the hashes of a list's distinct lines, held-out ones included, in increasing order.

    White space around a line does not count. Empty unless the corpus is a list of at most
    ``limit`` lines. One of 2⁶⁴ pairs of different lines has equal hashes.
    """
    newline = corpus.vocabulary.newline_id
    found = np.empty(0, dtype=np.uint64)
    if newline < 0 or not is_list(corpus.train, newline):
        return found
    for lines in _distinct_lines(corpus):
        hashes = b"".join(map(_line_digest, lines))
        found = np.union1d(found, np.frombuffer(hashes, dtype="<u8").astype(np.uint64))
        if len(found) > limit:
            return found[:0]
    return found


def is_known_line(line: str, hashes: Hashes) -> bool:
    """Whether a line, without its end, is among the hashed ones but for white space around it.

    Older checkpoints hold hashes of lines with that white space, of which the usual is tried.
    """
    stripped = line.strip()
    forms = {line, stripped, *(stripped + around for around in _AROUND)}
    wanted = np.frombuffer(b"".join(_line_digest(form.encode()) for form in forms), dtype="<u8")
    places = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
    return len(hashes) > 0 and bool((hashes[places] == wanted).any())


_AROUND = (" ", "  ", "\t", "\r")


def _line_digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=8).digest()


def _stripped(line: bytes) -> bytes:
    # As text, which has more white space than bytes have. What is not UTF-8 stays as it is.
    return line.decode("utf-8", "surrogateescape").strip().encode("utf-8", "surrogateescape")


def _distinct_lines(corpus: Corpus) -> Iterator[set[bytes]]:
    """Yields the distinct lines of each block of a corpus, stripped, as UTF-8 or raw bytes."""
    rest = b""
    for ids in (corpus.train, corpus.validation):
        for begin in range(0, len(ids), _BLOCK):
            text = _bytes_of(corpus.vocabulary, ids[begin : begin + _BLOCK])
            *whole, rest = (rest + text).split(b"\n")
            # Cut, or an endless line would take quadratic time.
            rest = rest[:LONGEST_LINE]
            yield set(map(_stripped, whole)) - {b""}
    yield {_stripped(rest)} - {b""}


def _bytes_of(vocabulary: Vocabulary, ids: AnyIds) -> bytes:
    if vocabulary.tokens == "bytes":
        return vocabulary.symbols[ids].astype(np.uint8).tobytes()
    return vocabulary.decoder().decode(ids).encode()


def line_novelty(
    sample: AnyInts, ids: AnyIds, newline: int, white_space: Sequence[int] = ()
) -> LineNovelty:
    """Counts the lines of a sample that are not lines of the corpus.

    White space around a line does not count, nor a line of white space. A last line without an end
    is not counted, because the sample may have been cut there. Lines of more than 2²⁰ characters
    count as novel.

    Args:
        sample, ids: shape [characters] each.
        newline: the id of the line end; −1 if there is none, and so no lines.
        white_space: other ids that are white space.
    """
    around = "".join(chr(_SHIFT + id_) for id_ in white_space)
    whole = _lines(sample, newline, around)[:-1] if newline >= 0 else []
    lines = [line for line in whole if line]
    novel = set(lines)
    distinct = len(novel)
    if novel:
        for block in _line_blocks(ids, newline):
            novel.difference_update(_lines(block, newline, around))
    return LineNovelty(len(lines), sum(line in novel for line in lines), distinct, len(novel))


def _lines(ids: AnyInts, newline: int, around: str) -> list[str]:
    """Returns lines, stripped, as strings that are equal if the lines are.

    Their symbols have no meaning.
    """
    # Shift ids above the surrogates, which codecs refuse; −1 becomes U+FFFF.
    shifted = ids.astype("<u4") + np.uint32(_SHIFT)
    lines = shifted.tobytes().decode("utf-32-le").split(chr(_SHIFT + newline))
    # An empty set of characters would be any white space to strip().
    return [line.strip(around) for line in lines] if around else lines


def _line_blocks(ids: AnyIds, newline: int) -> Iterator[AnyIds]:
    """Yields a text in pieces of whole lines, without lines longer than a block."""
    begin = 0
    within_line = False
    while begin < len(ids):
        block = np.asarray(ids[begin : begin + _BLOCK])
        ends = np.flatnonzero(block == newline)
        last = begin + len(block) == len(ids)
        stop = len(block) if last or not len(ends) else int(ends[-1]) + 1
        if len(ends):
            yield block[int(ends[0]) + 1 if within_line else 0 : stop]
        elif last and not within_line:
            yield block
        within_line = not len(ends)
        begin += stop


def longest_run(sample: AnyInts, ids: AnyIds) -> SharedRun:
    """Returns the longest run of a sample that occurs verbatim in the corpus.

    Makes one pass over the corpus: at each position, the window that is one longer than the best
    run so far is looked up among the sample's windows, and extended if it is found. Of equally long
    runs, the first in the corpus is returned.

    Args:
        sample: shape [characters], up to ``SAMPLE_LIMIT``.
        ids: shape [characters], of any length.

    Raises:
        ValueError: the sample is too long.
    """
    if len(sample) > SAMPLE_LIMIT:
        raise ValueError(f"the sample has more than {SAMPLE_LIMIT} characters")
    powers = Powers(min(_BLOCK, len(ids)) + len(sample))
    # Every match of hashes is verified on the text.
    sample_hash = WindowHashes(sample, powers)
    best = SharedRun(0, 0, 0)
    windows = _Windows(sample_hash, 1)
    for begin in range(0, len(ids), _BLOCK):
        if best.length == len(sample):
            break
        # Includes every window that begins in the block, however long.
        block = np.asarray(ids[begin : begin + _BLOCK + len(sample)])
        best = _raise(best, windows, WindowHashes(block, powers), begin)
        if windows.length != best.length + 1:
            windows = _Windows(sample_hash, best.length + 1)
    return best


class _Windows:
    """The sample's windows of one length, for lookup by hash."""

    def __init__(self, sample: WindowHashes, length: int) -> None:
        self.sample = sample
        self.length = length
        hashes = sample.all(length)
        self._order = np.argsort(hashes, kind="stable")
        self._sorted = hashes[self._order]
        # Nearly all lookups fail: a small table tells that faster than a search.
        self._shift = np.uint64(64 - max(16, len(hashes).bit_length() + 3))
        self._table = np.zeros(1 << (64 - int(self._shift)), dtype=bool)
        self._table[hashes >> self._shift] = True

    def find(self, hashes: Hashes) -> tuple[Places, Places]:
        """Returns which hashes are those of windows, and the windows' positions in the sample."""
        maybe = np.flatnonzero(self._table[hashes >> self._shift])
        ranks = np.searchsorted(self._sorted, hashes[maybe])
        ranks = np.minimum(ranks, len(self._sorted) - 1)
        found = self._sorted[ranks] == hashes[maybe]
        return maybe[found], self._order[ranks[found]]


def _raise(best: SharedRun, windows: _Windows, block: WindowHashes, offset: int) -> SharedRun:
    """Returns the best run, given a block of the corpus that begins at ``offset``."""
    sample = windows.sample
    low, high = best.length, min(len(sample.ids), len(block.ids)) + 1
    candidates: Places | None = None
    step = 1
    while low + 1 < high:
        length = min(low + step, (low + high) // 2)
        if length != windows.length:
            windows = _Windows(sample, length)
        if candidates is None:
            starts, places = windows.find(block.all(length))
        else:
            # A longer match can only be where a shorter one was.
            fitting = candidates[candidates + length <= len(block.ids)]
            found, places = windows.find(block.at(fitting, length))
            starts = fitting[found]
        run = _first_equal(sample.ids, places, block.ids, starts, length)
        if run is None:
            high = length
        else:
            best = SharedRun(length, run.sample_start, offset + run.corpus_start)
            low, candidates, step = length, starts, 2 * step
    return best


def _first_equal(
    sample: AnyInts, places: Places, block: AnyInts, starts: Places, length: int
) -> SharedRun | None:
    for i in range(len(starts)):
        place, start = int(places[i]), int(starts[i])
        if np.array_equal(sample[place : place + length], block[start : start + length]):
            return SharedRun(length, place, start)
    return None
