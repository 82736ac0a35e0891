"""The styles of a network that learned several texts: their names, and mixes of them.

Each style is one of the texts, and a column of the first layer's input that is on while the
network reads or writes in it. A mix is a weight for each. In the corpus the texts stand one after
the other, in parts. Knows no network, no file and no array: the terminal reads it, too.
"""

import math
import re
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from models.errors import Invalid

_LONGEST, _MOST_DIGITS = 32, 18
STYLE = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{_LONGEST - 1}}}", re.ASCII)
MAX_STYLES = 64

_ENDING = re.compile(r"(?<=.)\.[a-z][a-z0-9]{0,4}$")

MAX_WEIGHT = 1e6
"""Largest weight in a mix, before all are divided by their sum."""

MAX_MIX = MAX_STYLES * 64
"""Most characters of a mix."""

NO_STYLES = "must be at least two, but this text has only one: send a file or a folder for each"

Mix = tuple[float, ...]
"""A weight for each style of a network, in its order; their sum is 1."""


class WrongStyle(Invalid):
    """A malformed mix, or a style that the network does not have; the message names the choices."""

    code = "unknown_style"


class TextPart(NamedTuple):
    """A part of a corpus, which is in one style; ``bytes`` are those of the text as it was sent."""

    style: str
    bytes: int


def check_styles(names: Sequence[object]) -> None:
    """Raises ValueError unless these can be the styles of a network, which may have none."""
    if not names:
        return
    if not 2 <= len(names) <= MAX_STYLES:
        raise ValueError(f"styles must be 2 to {MAX_STYLES} names")
    if not all(isinstance(name, str) and STYLE.fullmatch(name) for name in names):
        raise ValueError(
            "styles must be names of lower-case letters, digits, '_' and '-', 32 at most"
        )
    if len(set(names)) < len(names):
        raise ValueError("styles must have different names")


def distinct(parts: Sequence[TextPart]) -> tuple[str, ...]:
    """Returns the styles of parts, each once, in the order of their first parts."""
    return tuple(dict.fromkeys(part.style for part in parts))


def parse_parts(text: str) -> list[TextPart]:
    """Reads the parts of a corpus, as in ``austen:717584,lovecraft:448612``.

    Raises:
        ValueError: the text is malformed; the message says why, as a sentence's end.
    """
    parts = []
    for one in text.split(","):
        style, _, size = (piece.strip() for piece in one.partition(":"))
        if not STYLE.fullmatch(style) or not (size.isascii() and size.isdecimal()):
            raise ValueError(
                "must be true, or the parts of the text in their order, each a style and its "
                "bytes, as in austen:717584,lovecraft:448612"
            )
        parts.append(TextPart(style, int(size[:_MOST_DIGITS])))
    return checked_parts(parts)


def checked_parts(parts: Sequence[TextPart]) -> list[TextPart]:
    """Returns parts with neighbours of one style as one. Raises ValueError if they are too few."""
    joined = [
        TextPart(style, sum(part.bytes for part in own))
        for style, own in groupby(parts, lambda part: part.style)
    ]
    check_styles(distinct(joined) or [""])
    return joined


def written_parts(parts: Sequence[TextPart]) -> str:
    """Returns what ``parse_parts`` reads."""
    return ",".join(f"{part.style}:{part.bytes}" for part in parts)


def only(style: int, count: int) -> Mix:
    """Returns the mix that is one style alone, of so many."""
    return tuple(float(style == number) for number in range(count))


def parse_mix(text: str, names: Sequence[str]) -> Mix:
    """Reads ``austen``, or a mix such as ``austen:0.7,lovecraft:0.3``.

    A style without a weight has the weight 1; those that are not named have 0.

    Args:
        text: as a client wrote it.
        names: of the network's styles.

    Raises:
        WrongStyle: it is not a mix of these.
    """
    if not names:
        raise WrongStyle("must be left out: this model was trained on one text and has no styles")
    if len(text) > MAX_MIX:
        raise WrongStyle(f"must have at most {MAX_MIX:,} characters")
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, colon, number = (piece.strip() for piece in part.partition(":"))
        if name not in names:
            raise WrongStyle(
                f"must be one of {', '.join(names)}, or a mix such as {_example(names)}"
            )
        if name in weights:
            raise WrongStyle(f"names {name} twice")
        weights[name] = _weight(number) if colon else 1.0
    total = math.fsum(weights.values())
    if not total:
        raise WrongStyle(f"must have a weight above 0, as in {_example(names)}")
    return tuple(weights.get(name, 0.0) / total for name in names)


def _weight(text: str) -> float:
    try:
        weight = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= MAX_WEIGHT:
        raise WrongStyle(f"must have weights that are numbers from 0 to {MAX_WEIGHT:,.0f}")
    return weight


def _example(names: Sequence[str]) -> str:
    return f"{names[0]}:0.7,{names[1]}:0.3"


def styles_of_files(names: Sequence[str]) -> list[str]:
    """Returns the style that each of some files belongs to.

    Folders and archives that all of them are in do not count. Of what is left of its path, a file
    has the style of its first folder or archive, or of its own name if it is in none. Capitals
    become small letters, the ending goes, and what a style cannot have becomes ``-``; a style is
    empty if nothing is left.
    """
    paths = [_parts(name) for name in names]
    while all(len(path) > 1 for path in paths) and len({path[0] for path in paths}) == 1:
        paths = [path[1:] for path in paths]
    return [_plain(path[0]) if path else "" for path in paths]


def parts_of_files(files: Sequence[tuple[str, int]]) -> list[TextPart]:
    """Returns the parts of a corpus that is made of files, of which the names and bytes are given.

    Raises:
        ValueError: there are not two styles, or a name has none; a sentence's end.
    """
    styles = styles_of_files([name for name, _ in files])
    if not all(styles):
        raise ValueError(
            "are named after files or folders, and a name has no letter from a to z: rename it"
        )
    if len(set(styles)) < 2:
        raise ValueError(NO_STYLES)
    return checked_parts(
        [TextPart(style, size) for style, (_, size) in zip(styles, files, strict=True)]
    )


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _plain(name: str) -> str:
    name = _ENDING.sub("", re.sub(r"\.gz$", "", name.lower()))
    return re.sub(r"[^a-z0-9_]+", "-", name).strip("-_")[:_LONGEST].strip("-_")
