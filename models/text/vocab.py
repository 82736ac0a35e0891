"""Converts text to ids and back.

A vocabulary is the sorted list of the symbols in a corpus: code points, or byte values for a corpus
that is not UTF-8 text. Knows no network.
"""

import codecs
import functools
import itertools
import re
import unicodedata
from typing import Any, Literal, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from models.arrays import Ids
from models.config import MAX_VOCABULARY
from models.errors import Invalid

Tokens = Literal["characters", "bytes"]


class VocabularyJson(TypedDict):
    """A vocabulary as JSON: each symbol is a character, or the value of a byte."""

    tokens: Tokens
    symbols: list[str] | list[int]


class UnknownCharacters(Invalid):
    """A text contains characters that are not in the vocabulary; ``characters`` has each once."""

    code = "unknown_characters"

    def __init__(self, characters: list[str]) -> None:
        self.characters = characters
        super().__init__(f"not in this model's vocabulary: {listed_characters(characters)}")


def listed_characters(characters: list[str]) -> str:
    """Returns the first ten characters for an error message."""
    shown = ", ".join(name_character(c) for c in characters[:10])
    return f"{shown} and {len(characters) - 10} more" if len(characters) > 10 else shown


def name_character(character: str) -> str:
    """Returns a character for an error message: in quotes, or its code point if invisible."""
    if character.isprintable() and not character.isspace():
        return f"'{character}'"
    return f"U+{ord(character):04X}"


_SURROGATES = re.compile("[\ud800-\udfff]")

BYTE_ORDER_MARK = "\ufeff"
_MARKED = re.compile(f"^{BYTE_ORDER_MARK}+", re.MULTILINE)

_MARKS = 30
"""Maximum number of combining marks on a letter: according to UAX #15, no language needs more."""


@functools.cache
def _marks() -> NDArray[np.bool_]:
    """Returns, for each code point, whether it is a combining mark."""
    marks = np.zeros(0x110000, dtype=np.bool_)
    marks[0x300:0x20000] = [unicodedata.combining(chr(c)) > 0 for c in range(0x300, 0x20000)]
    return marks


def _piles(text: str) -> list[tuple[int, int]]:
    """Returns the beginnings and ends of longer runs of marks than ``_MARKS``."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    marks = _marks()[points]
    if not marks.any():
        return []
    borders = np.flatnonzero(np.diff(marks, prepend=np.False_, append=np.False_)).reshape(-1, 2)
    return [(begin, end) for begin, end in borders.tolist() if end - begin > _MARKS]


def compose(text: str) -> str:
    """Normalises to NFC, leaving runs of more than 30 combining marks as they are.

    Python sorts marks in time quadratic in their number: a megabyte of marks would take minutes.
    """
    if text.isascii():
        return text
    pieces = []
    begin = 0
    for start, end in _piles(text):
        pieces += [unicodedata.normalize("NFC", text[begin:start]), text[start:end]]
        begin = end
    return "".join([*pieces, unicodedata.normalize("NFC", text[begin:])])


class Vocabulary:
    """The symbols of a corpus; the id of a symbol is its rank.

    Args:
        tokens: whether symbols are code points or bytes.
        symbols: code points or byte values, strictly increasing.

    Raises:
        ValueError: an argument is invalid.
    """

    def __init__(self, tokens: Tokens, symbols: list[int]) -> None:
        limit = 256 if tokens == "bytes" else 0x110000
        if tokens not in ("characters", "bytes"):
            raise ValueError("tokens must be characters or bytes")
        if not 1 <= len(symbols) <= MAX_VOCABULARY:
            raise ValueError(f"a vocabulary has 1 to {MAX_VOCABULARY} symbols")
        if not all(type(s) is int and 0 <= s < limit and not 0xD800 <= s < 0xE000 for s in symbols):
            raise ValueError("a symbol is not a code point or byte")
        if any(a >= b for a, b in itertools.pairwise(symbols)):
            raise ValueError("symbols must be strictly increasing")
        self.tokens: Tokens = tokens
        self.symbols = np.array(symbols, dtype=np.uint32)
        # One entry more than the largest symbol: larger ones are looked up there, as unknown.
        self._ids = np.full(symbols[-1] + 2, -1, dtype=np.int64)
        self._ids[self.symbols] = np.arange(len(symbols))

    def __len__(self) -> int:
        return len(self.symbols)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Vocabulary)
            and self.tokens == other.tokens
            and np.array_equal(self.symbols, other.symbols)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def start_id(self) -> int:
        """The id that a network reads before the first character: a line end, else a space, else 0.

        So a text with an empty prime begins like a line.
        """
        known = (id_ for id_ in (self.newline_id, self._id_of(0x20)) if id_ >= 0)
        return next(known, 0)

    @property
    def newline_id(self) -> int:
        """The id of the line end; −1 if the vocabulary has none."""
        return self._id_of(0x0A)

    def _id_of(self, symbol: int) -> int:
        return int(self.lookup(np.array([symbol], dtype=np.uint32))[0])

    def lookup(self, symbols: NDArray[np.unsignedinteger[Any]]) -> Ids:
        """Returns the ids of code points or bytes, −1 for unknown ones; same shape."""
        # As uint32: 256, the entry beyond the largest byte, does not fit into uint8.
        ids: Ids = self._ids[np.minimum(symbols.astype(np.uint32), len(self._ids) - 1)]
        return ids

    def normalise(self, text: str) -> str:
        """Normalises a part of a text like the corpus: NFC, and line ends as LF.

        A bytes model reads everything as it is.
        """
        if self.tokens == "bytes":
            return text
        return compose(text.replace("\r\n", "\n").replace("\r", "\n"))

    def as_read(self, text: str) -> str:
        """Normalises a whole text like the corpus: also without byte-order marks before lines."""
        text = self.normalise(text)
        if self.tokens == "characters" and BYTE_ORDER_MARK in text:
            text = _MARKED.sub("", text)
        return text

    def encode(self, text: str) -> Ids:
        """Returns the ids of a text, shape [characters], or [bytes] in a bytes model.

        Raises:
            UnknownCharacters: some characters are not in the vocabulary.
        """
        # JSON can contain half a surrogate pair, which UTF-8 cannot encode.
        if lone := _SURROGATES.findall(text):
            raise UnknownCharacters(sorted(set(lone)))
        text = self.normalise(text)
        if self.tokens == "bytes":
            ids = self.lookup(_bytes(text))
            if (ids < 0).any():
                unknown = [c for c in text if (self.lookup(_bytes(c)) < 0).any()]
                raise UnknownCharacters(sorted(set(unknown)))
            return ids
        points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        ids = self.lookup(points)
        if (ids < 0).any():
            raise UnknownCharacters(sorted({chr(p) for p in points[ids < 0]}))
        return ids

    def decoder(self) -> "TextDecoder":
        """Returns a decoder for one stream of ids."""
        return TextDecoder(self)

    def name(self, id_: int) -> str:
        """Returns an id's character, or ``\\xe3`` for a byte that is not ASCII."""
        symbol = int(self.symbols[id_])
        return chr(symbol) if self.tokens == "characters" or symbol < 128 else f"\\x{symbol:02x}"

    def to_json(self) -> VocabularyJson:
        symbols = self.symbols.tolist()
        if self.tokens == "characters":
            return {"tokens": self.tokens, "symbols": [chr(s) for s in symbols]}
        return {"tokens": self.tokens, "symbols": symbols}

    @classmethod
    def from_json(cls, data: object) -> "Vocabulary":
        """Reads what ``to_json`` returned; raises ValueError for anything else."""
        if not isinstance(data, dict) or not isinstance(data.get("symbols"), list):
            raise ValueError("vocabulary: not an object with symbols")
        symbols = data["symbols"]
        if data.get("tokens") == "characters":
            if not all(isinstance(s, str) and len(s) == 1 for s in symbols):
                raise ValueError("vocabulary: a symbol is not one character")
            symbols = [ord(s) for s in symbols]
        # The constructor checks the tokens.
        return cls(cast(Tokens, data.get("tokens")), symbols)


def unshared(one: Vocabulary, other: Vocabulary) -> str:
    """Names the symbols of a vocabulary that another of the same kind lacks; empty if none."""
    extra = np.flatnonzero(other.lookup(one.symbols) < 0).tolist()
    shown = ", ".join(_shown(one, id_) for id_ in extra[:10])
    return f"{shown} and {len(extra) - 10} more" if len(extra) > 10 else shown


def _shown(vocabulary: Vocabulary, id_: int) -> str:
    name = vocabulary.name(id_)
    return name_character(name) if len(name) == 1 else name


def _bytes(character: str) -> NDArray[np.uint8]:
    return np.frombuffer(character.encode("utf-8"), dtype=np.uint8)


class TextDecoder:
    """Converts ids to text, piece by piece, for one stream.

    Every piece ends with a complete character: an incomplete one waits for the rest of its bytes,
    and bytes that are not UTF-8 become U+FFFD.

    Args:
        pending: the bytes that an earlier decoder had pending.
    """

    def __init__(self, vocabulary: Vocabulary, pending: bytes = b"") -> None:
        self._symbols = vocabulary.symbols
        self._utf8 = None
        if vocabulary.tokens == "bytes":
            self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
            self._utf8.setstate((pending, 0))

    @property
    def pending(self) -> bytes:
        """The bytes of an incomplete character."""
        return self._utf8.getstate()[0] if self._utf8 else b""

    def decode(self, ids: NDArray[np.integer[Any]], *, final: bool = False) -> str:
        symbols = self._symbols[ids]
        if self._utf8 is not None:
            return self._utf8.decode(symbols.astype(np.uint8).tobytes(), final)
        text: str = symbols.astype("<u4").tobytes().decode("utf-32-le")
        return text
