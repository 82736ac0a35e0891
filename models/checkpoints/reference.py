"""Names for published models: ``name`` or ``name:tag``. Knows no file.

Text is parsed once, where it comes in; from there on a ``Reference`` is handed down. One that
exists is sound: no name and no tag is a path.
"""

import re
from dataclasses import dataclass
from typing import Self

from models.errors import NotFound

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)

LATEST = "latest"
NGRAM = "ngram"
"""In place of a tag: the n-gram model of a name. No checkpoint can have it."""


class UnknownModel(NotFound):
    """No such model, or no such tag of it."""

    code = "unknown_model"


class NoNGram(UnknownModel):
    """The model has no n-gram model to sample."""

    code = "no_ngram"


class NotANetwork(UnknownModel):
    """An n-gram model was named where it takes a network."""

    code = "not_a_network"


@dataclass(frozen=True, slots=True)
class Reference:
    """A model's name, and the tag of one of its checkpoints.

    ``str`` gives it as clients see it, without the tag ``latest``; ``full`` always has the tag.

    Raises:
        ValueError: the name or the tag is not one.
    """

    name: str
    tag: str = LATEST

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or not TAG.fullmatch(self.tag):
            raise ValueError(
                "a model is name or name:tag, of lower-case letters, digits, '_' and '-' "
                "(in a tag also '.'), 63 at most, starting with a letter or digit"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reference that a text is.

        Raises:
            ValueError: it is not one.
        """
        name, colon, tag = text.partition(":")
        return cls(name, tag) if colon else cls(name)

    @classmethod
    def from_client(cls, text: str) -> Self:
        """The reference that a client's text is; text that cannot be one names no model.

        Raises:
            UnknownModel: it is not one.
        """
        try:
            return cls.parse(text)
        except ValueError:
            raise UnknownModel(text) from None

    def __str__(self) -> str:
        return self.name if self.tag == LATEST else self.full

    @property
    def full(self) -> str:
        return f"{self.name}:{self.tag}"

    @property
    def is_ngram(self) -> bool:
        return self.tag == NGRAM

    @property
    def place(self) -> tuple[str, bool, str]:
        """What lists are sorted by: the name, then ``latest`` first."""
        return self.name, self.tag != LATEST, self.tag
