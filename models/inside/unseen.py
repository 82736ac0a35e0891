"""The held-out text of a checkpoint, in the parts that it was put together of.

A network that learned several texts has a piece of each one's end, one after the other. Where they
meet, no text goes on: what was open before a seam is not open after it. Checkpoints of earlier
releases do not say where their seams are, and count as one part.

Knows checkpoints; no networks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from models.arrays import Ids
from models.checkpoints.format import Checkpoint
from models.inside.passages import Seamless
from models.inside.reader import character_ends
from models.text.vocab import Vocabulary


class UnseenText(NamedTuple):
    """A text as a network reads it.

    Attributes:
        text: what is shown.
        ids: [ids].
        ends: the index of each character's last id, [characters].
        parts: of the text, without a gap.
    """

    text: str
    ids: Ids
    ends: Ids
    parts: list[Seamless]


def unseen_text(checkpoint: Checkpoint, most: int) -> UnseenText:
    """Returns the beginning of a checkpoint's held-out text, of at most so many bytes.

    Unknown characters are left out: the text may come from another corpus.
    """
    read: list[UnseenText] = []
    begin, count, length = 0, 0, 0
    for style, size in _parts(checkpoint):
        data = checkpoint.validation[begin : min(begin + size, most)]
        begin += size
        text, ids, ends = _read(data, checkpoint.vocabulary)
        part = Seamless(length, length + len(text), style)
        read.append(UnseenText(text, ids, ends + count, [part]))
        count, length = count + len(ids), part.end
    return UnseenText(
        "".join(one.text for one in read),
        np.concatenate([one.ids for one in read]),
        np.concatenate([one.ends for one in read]),
        [part for one in read for part in one.parts if part.end > part.begin],
    )


def _parts(checkpoint: Checkpoint) -> Sequence[tuple[str | None, int]]:
    """Returns the styles and bytes of the parts; a card is not to be trusted."""
    told, size = checkpoint.card.get("held_out"), len(checkpoint.validation)
    styles = checkpoint.config.styles
    whole: list[tuple[str | None, int]] = [(None, size)]
    parts: list[tuple[str | None, int]] = []
    for one in told if isinstance(told, list) else ():
        style, count = one if isinstance(one, list) and len(one) == 2 else (None, None)
        if style not in styles or type(count) is not int or count < 0:
            return whole
        parts.append((str(style), count))
    return parts if parts and sum(count for _, count in parts) == size else whole


def _read(data: bytes, vocabulary: Vocabulary) -> tuple[str, Ids, Ids]:
    """Returns a text, its ids and the index of each character's last id."""
    if vocabulary.tokens == "bytes":
        ids = vocabulary.lookup(np.frombuffer(data, np.uint8))
        ids = ids[ids >= 0]
        data = vocabulary.symbols[ids].astype(np.uint8).tobytes()
        text = data.decode("utf-8", "surrogateescape")
        ends = character_ends(vocabulary, text)
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), ids, ends
    points = np.frombuffer(data.decode("utf-8", "ignore").encode("utf-32-le"), "<u4")
    ids = vocabulary.lookup(points)
    text = points[ids >= 0].tobytes().decode("utf-32-le")
    return text, ids[ids >= 0], np.arange(len(text))
