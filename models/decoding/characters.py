"""The characters of a text with their probabilities, and those that were likeliest in their place.

Knows ids and logits; no stream and no decoder.
"""

from dataclasses import dataclass, field

import numpy as np

from models.arrays import Floats, Ids
from models.text.vocab import TextDecoder, Vocabulary


@dataclass(frozen=True, slots=True)
class Character:
    """One character of a text: its probability, and the likeliest characters in its place.

    Probabilities are the model's own, at temperature 1. In a bytes model a character's is the
    product of its bytes', and ``top`` belongs to its first byte.
    """

    char: str
    probability: float
    top: list[tuple[str, float]]


@dataclass(slots=True)
class Piece:
    """The text of one stream in a tick, with ``characters`` if probabilities were requested."""

    text: str = ""
    characters: list[Character] = field(default_factory=list)

    def cut(self, end: int) -> "Piece":
        """Takes the first characters out, and returns them."""
        taken = Piece(self.text[:end], self.characters[:end])
        self.text, self.characters = self.text[end:], self.characters[end:]
        return taken


class Reading:
    """Turns the ids of one text into its characters, part by part.

    Args:
        vocabulary: of the model.
        count: number of alternatives to list for each character; with 0, there is only text.
        pending: bytes of an incomplete character at the beginning.
    """

    def __init__(self, vocabulary: Vocabulary, count: int, pending: bytes = b"") -> None:
        self._vocabulary = vocabulary
        self._count = count
        self._decoder = TextDecoder(vocabulary, pending)
        self._likelihoods: list[tuple[float, list[tuple[str, float]]]] = []

    @property
    def pending(self) -> bytes:
        """The bytes of an incomplete character at the end."""
        return self._decoder.pending

    def read(self, piece: Piece, ids: Ids, logits: Floats) -> None:
        """Adds what ids, [steps], make complete to a piece.

        Args:
            piece: the text so far.
            ids: those taken.
            logits: those the ids were chosen from, [steps, vocabulary].
        """
        if not self._count:
            piece.text += self._decoder.decode(ids)
            return
        for id_, (probability, top) in zip(
            ids, likelihoods(self._vocabulary, ids, logits, self._count), strict=True
        ):
            self._likelihoods.append((probability, top))
            text = self._decoder.decode(np.array([id_]))
            if not text:
                continue
            # Bytes that are not UTF-8 may come out together with the character that revealed it:
            # the first character gets the probability of them all.
            product = float(np.prod([p for p, _ in self._likelihoods]))
            piece.text += text
            piece.characters.append(Character(text[0], product, self._likelihoods[0][1]))
            piece.characters += [Character(char, probability, top) for char in text[1:]]
            self._likelihoods.clear()


def likelihoods(
    vocabulary: Vocabulary, ids: Ids, logits: Floats, count: int
) -> list[tuple[float, list[tuple[str, float]]]]:
    """Returns each id's probability and the likeliest alternatives, best first.

    Args:
        ids: [steps].
        logits: [steps, vocabulary].
        count: number of alternatives.
    """
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = weights / weights.sum(axis=1, keepdims=True)
    best = np.argsort(-shares, axis=1, kind="stable")[:, :count]
    return [
        (float(row[id_]), [(vocabulary.name(i), float(row[i])) for i in order.tolist()])
        for id_, row, order in zip(ids.tolist(), shares, best, strict=True)
    ]
