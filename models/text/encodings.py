"""Says what a file is that cannot be read as UTF-8, and how to convert it.

Looks at bounded parts of the file, however large it is: its beginning, what is around the first
invalid byte, and a little of its middle and end. An encoding is named only where it is sure: the
detector is confident, every encoding that it thinks nearly as likely reads the same text, and the
file decodes. Knows no corpus.
"""

import codecs
import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import IO, NamedTuple

import chardet
import numpy as np

from models.text.kinds import HEAD, controls, kind_of

_PART = 1 << 18
"""Bytes of each part to look at."""

_SAMPLE = 1 << 16
"""Bytes to detect an encoding by."""

_AROUND = 12
"""Bytes around each one that is not ASCII that belong to the sample."""

_CHECKED = 1 << 25
"""Bytes that an encoding is tried on before it is named."""

_CONFIDENT = 0.15
_RIVAL = 0.85
"""Lowest confidence of the detector, and highest share of it that another reading may have. With
these, of 979 texts in 26 languages and 45 encodings 593 were named, and none wrongly."""

_MOST_ODD = 0.02
"""Share of odd characters, by bytes, in a reading that may still be right."""

_CONTROL = 100
"""A control character beyond ASCII counts as many others: only a wrong reading has any."""

_NEVER_IN_WORDS = {"Sk", "Sm", "So", "No", "Po", "Ps", "Pe", "Pi"}
_SCRIPTS = {"LATIN", "GREEK", "CYRILLIC", "HEBREW", "ARABIC", "MICRO", "FEMININE", "MASCULINE"}
"""By the first words of their letters' names. No word mixes these, as Japanese ones do others."""

_ALPHABETS = "\u0700"
"""Letters before this one are separated by spaces and not by punctuation alone."""

_PREFERRED = {
    "cp1252": "CP1252",
    "cp1251": "CP1251",
    "cp1250": "CP1250",
    "cp1253": "CP1253",
    "cp1254": "CP1254",
    "cp1255": "CP1255",
    "cp1256": "CP1256",
    "cp1257": "CP1257",
    "cp1258": "CP1258",
    "koi8-r": "KOI8-R",
    "koi8-u": "KOI8-U",
    "gb18030": "GB18030",
    "big5": "BIG5",
    "big5hkscs": "BIG5-HKSCS",
    "shift_jis": "SHIFT_JIS",
    "cp932": "CP932",
    "euc_jp": "EUC-JP",
    "euc_kr": "EUC-KR",
    "cp949": "CP949",
    "johab": "JOHAB",
    "cp874": "CP874",
    "tis-620": "TIS-620",
    **{f"iso8859-{n}": f"ISO-8859-{n}" for n in (1, 15, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 16)},
    "mac-roman": "MACINTOSH",
    "mac-cyrillic": "MAC-CYRILLIC",
    "mac-latin2": "MAC-CENTRALEUROPE",
    **{f"cp{n}": f"CP{n}" for n in (437, 850, 852, 855, 857, 858, 860, 861, 862, 863, 864, 865)},
    **{f"cp{n}": f"CP{n}" for n in (866, 869, 737, 775)},
    "cp500": "IBM500",
    "cp1140": "IBM1140",
    "cp273": "IBM273",
    "cp1026": "IBM1026",
    "cp424": "IBM424",
    "cp875": "IBM875",
    "iso2022_jp": "ISO-2022-JP",
    "iso2022_jp_2": "ISO-2022-JP-2",
    "iso2022_kr": "ISO-2022-KR",
}
"""Python's names of encodings and iconv's; of several that read the same text, the first is named.
"""

_PLAIN = {"big5hkscs": "big5", "shift_jis_2004": "shift_jis", "euc_jis_2004": "euc_jp"}
"""What the detector's names of supersets are more widely known as; tried first."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_WIDE = ("UTF-32LE", "UTF-32BE", "UTF-16LE", "UTF-16BE")

_SEPARATORS = " \n\u3001\u3002"
"""Any text has some of these; one that is read with its bytes swapped has none."""

_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_SOME = 8
"""Characters before the first invalid byte that show that a text was UTF-8 up to there."""

_UNMIXED = 0.45
"""Share of the bytes beyond ASCII that no UTF-8 has, below which texts were joined. By chance, a
third of those of Chinese and Korean encodings could be UTF-8."""

_CUT = re.compile(rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z")
_HIGH = bytes(range(0x80, 0x100))


class Explanation(NamedTuple):
    """What a file seems to be and what to do with it, in a sentence or two.

    ``encoding`` is iconv's name of the file's, where it is certain.
    """

    words: str
    is_text: bool
    encoding: str | None = None


_AS_BYTES = "or pass tokens=bytes to train on the raw bytes"
BINARY_FILE = Explanation(f"it looks like a binary file. Choose a text, {_AS_BYTES}", False)


def explained(file: IO[bytes], offset: int) -> Explanation:
    """Explains why a file cannot be read as UTF-8.

    Args:
        file: can be read at any place.
        offset: of the first byte that is not UTF-8 text.
    """
    file.seek(0)
    head = file.read(HEAD)
    if kind := kind_of(head):
        return Explanation(str(kind), False)
    parts = list(_parts(file, offset))
    name = wide(head) or _escaped(head)
    if not name:
        if words := _as_utf8(file, offset):
            return Explanation(words, True)
        data = b"".join(parts)
        if controls(data) * 20 > len(data):
            return BINARY_FILE
        name = None if _is_mixed(data) else _sure(_sample(parts), file)
    if name:
        words = f"it looks like {name}. Convert it with {conversion(name)}, {_AS_BYTES}"
    else:
        words = f"its encoding is uncertain. Save it as UTF-8 where it was made, {_AS_BYTES}"
    return Explanation(words, True, name)


def codec_of(name: str) -> str:
    """Returns Python's name of an encoding that an explanation names."""
    return next((codec for codec, known in _PREFERRED.items() if known == name), name)


def _is_mixed(data: bytes) -> bool:
    """Whether a text that is not UTF-8 has much UTF-8 in it, as joined texts have."""
    high = len(data) - len(data.translate(None, _HIGH))
    rest = _UTF8.sub(b"", data)
    return (len(rest) - len(rest.translate(None, _HIGH))) < _UNMIXED * high


def conversion(name: str) -> str:
    return f"iconv -f {name} -t UTF-8 FILE > NEW"


def is_wide_or_escaped(head: bytes) -> bool:
    """Whether a text is in an encoding whose bytes UTF-8 may allow, though it is not UTF-8."""
    return bool(wide(head) or _escaped(head))


def wide(head: bytes) -> str | None:
    """Returns UTF-16 or UTF-32, as iconv names it, if the beginning of a text is in one of them."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            text = _decoded(head, name)
            return name if text is not None and _is_text(text) else None
    if 0 not in head:
        return None
    names = [name for name in _WIDE if _reads(head, name)]
    return names[0] if len(names) == 1 else None


def _reads(head: bytes, name: str) -> bool:
    text = _decoded(head, name)
    if not text or sum(map(text.count, _SEPARATORS)) * 200 < len(text):
        return False
    return _is_text(text)


def _is_text(text: str) -> bool:
    odd = sum(
        times
        for character, times in Counter(text).items()
        if character not in "\t\n\r\f"
        and unicodedata.category(character) in ("Cc", "Cn", "Co", "Cs")
    )
    return odd * 100 <= len(text)


def _escaped(head: bytes) -> str | None:
    """Returns the name of an encoding that switches between scripts by escape sequences."""
    if b"\x1b$" not in head:
        return None
    for codec, name in _PREFERRED.items():
        if name.startswith("ISO-2022-"):
            text = _decoded(head, codec)
            if text is not None and not text.isascii() and "\x1b" not in text:
                return name
    return None


def _decoded(data: bytes, codec: str) -> str | None:
    """Returns text whose last character may be cut off; None if it cannot be decoded."""
    try:
        return codecs.getincrementaldecoder(codec)("strict").decode(data)
    except (UnicodeError, LookupError):
        return None


def _as_utf8(file: IO[bytes], offset: int) -> str | None:
    """Returns what is wrong with a text that is UTF-8 but for a few bytes; None for another."""
    begin = max(0, offset - _PART // 2)
    size = file.seek(0, 2)
    file.seek(begin)
    near = file.read(_PART)
    valid = len(_UTF8.findall(near))
    rest = _UTF8.sub(b"", near)
    invalid = len(rest) - len(rest.translate(None, _HIGH))
    tail = near[offset - begin :] if begin + len(near) == size else b""
    if tail and _CUT.fullmatch(tail) and (valid or invalid == len(tail)):
        # An é of Latin-1 at the end of an ASCII text looks the same.
        if not valid and len(tail) == 1 and tail >= b"\xe0":
            return (
                "it ends within a character, or in a character of another encoding. Drop it with "
                f"head -c {offset} FILE > NEW, {_AS_BYTES}"
            )
        return (
            "it is cut off inside its last character. Get the whole file again, or drop the "
            f"incomplete character with head -c {offset} FILE > NEW, {_AS_BYTES}"
        )
    if valid < 4 * invalid and len(_UTF8.findall(near[: offset - begin])) < _SOME:
        return None
    return (
        "it is UTF-8 up to there or for the most part, so it is damaged there, or joined from "
        "texts in different encodings. Drop the invalid bytes with "
        f"iconv -c -f UTF-8 -t UTF-8 FILE > NEW, {_AS_BYTES}"
    )


def _parts(file: IO[bytes], offset: int) -> Iterator[bytes]:
    """Yields what follows the first invalid byte, and pieces of the middle and the end."""
    size = file.seek(0, 2)
    begin = max(0, offset - _AROUND)
    yield _read(file, begin, whole=begin == 0)
    for place in ((begin + size) // 2, size - _PART):
        if place >= begin + _PART:
            begin = place
            yield _read(file, place)


def _read(file: IO[bytes], place: int, *, whole: bool = False) -> bytes:
    """Reads from the first line that begins there: elsewhere a character may be cut in two."""
    file.seek(place)
    data = file.read(_PART)
    return data if whole else data[data.find(b"\n") + 1 :]


def _sample(parts: list[bytes]) -> bytes:
    """Returns what is around the bytes that are not ASCII; the rest is the same in most encodings.

    So a few words in a long text are not outweighed by the others.
    """
    room = _SAMPLE // len(parts)
    return b"\n" + b"\n".join(_stretches(part)[:room] for part in parts)


def _stretches(data: bytes) -> bytes:
    symbols = np.frombuffer(data, dtype=np.uint8)
    counts = np.concatenate(([0], np.cumsum(symbols >= 0x80)))
    places = np.arange(len(symbols))
    last = np.minimum(places + _AROUND + 1, len(symbols))
    first = np.maximum(places - _AROUND, 0)
    return symbols[counts[last] > counts[first]].tobytes()


def _sure(sample: bytes, file: IO[bytes]) -> str | None:
    """Returns iconv's name of a sample's encoding, if there is no doubt."""
    ranking = chardet.detect_all(sample, ignore_threshold=True, compat_names=False)
    confidence = ranking[0]["confidence"]
    if ranking[0]["encoding"] is None or confidence < _CONFIDENT:
        return None
    readings = {
        one["encoding"]: text
        for one in ranking
        if one["encoding"] and (text := _decoded(sample, one["encoding"])) is not None
    }
    rivals = [
        readings[one["encoding"]]
        for one in ranking
        if one["encoding"] in readings
        and one["confidence"] >= _RIVAL * confidence
        # Some that nobody uses read most texts nearly as well as the right one.
        and (one is ranking[0] or _plain(one["encoding"]) in _PREFERRED)
    ]
    text = min(rivals, key=_oddities, default="")
    odd = _oddities(text)
    if odd > _MOST_ODD * len(text.encode("utf-8")):
        return None
    if any(other != text and _oddities(other) < 3 + 4 * odd for other in rivals):
        return None
    same = {name for name, other in readings.items() if other == text}
    same |= set(map(_plain, same))
    for codec, name in _PREFERRED.items():
        if codec in same and _decoded(sample, codec) == text and _decodes(file, codec):
            return name
    return None


def _plain(name: str) -> str:
    return _PLAIN.get(name, name)


def _oddities(text: str) -> int:
    """Counts the characters beyond ASCII that are odd where they stand.

    Those are control characters, symbols within a word, a capital after a small letter, and a
    letter of another script than the one before: what a reading in a wrong encoding is full of.
    """
    padded = f" {text} "
    places = (place for place, character in enumerate(padded) if not character.isascii())
    return sum(_oddity(*padded[place - 1 : place + 2]) for place in places)


@functools.lru_cache(1 << 14)
def _oddity(before: str, character: str, after: str) -> int:
    if character.isalpha():
        # Such as ïðè: no word of Latin letters has three in a row that are not ASCII.
        in_row = all("\x7f" < one < "\u0250" and one.isalpha() for one in (before, after))
        in_row = in_row and character < "\u0250"
        return in_row or _clash(before, character) or _clash(character, after)
    category = unicodedata.category(character)
    if category == "Cc":
        return _CONTROL
    if category == "Sc":
        return before.isalpha()
    in_word = all(one.isalpha() and one < _ALPHABETS for one in (before, after))
    return in_word and category in _NEVER_IN_WORDS and character not in "·\u00b4"


def _clash(one: str, next_: str) -> bool:
    """Whether two letters do not follow each other in a word."""
    if not (one.isalpha() and next_.isalpha()):
        return False
    scripts = {unicodedata.name(letter, "").partition(" ")[0] for letter in (one, next_)}
    return (one.islower() and next_.isupper()) or (len(scripts) == 2 and scripts <= _SCRIPTS)


def _decodes(file: IO[bytes], codec: str) -> bool:
    decoder = codecs.getincrementaldecoder(codec)("strict")
    file.seek(0)
    left = _CHECKED
    try:
        while left > 0 and (data := file.read(_PART)):
            decoder.decode(data)
            left -= len(data)
    except UnicodeError:
        return False
    return True
