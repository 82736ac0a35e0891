"""References to published models: ``name`` or ``name:tag``.

Text is parsed once, where it comes in; from there on a ``Reference`` is passed along. Every
``Reference`` is valid, so no name and no tag is a path. Knows no file.
"""

import re
from dataclasses import dataclass
from typing import Self

from models.errors import Conflict, NotFound

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)

LATEST = "latest"
NGRAM = "ngram"
"""Stands for the n-gram model of a name; reserved, so no checkpoint has it as a tag."""


class UnknownModel(NotFound):
    """There is no such model or tag."""

    code = "unknown_model"


class NoNGram(UnknownModel):
    """The model has no n-gram model."""

    code = "no_ngram"


class NotANetwork(UnknownModel):
    """An n-gram model was named where a network is needed."""

    code = "not_a_network"


class ModelExists(Conflict):
    """A model has the name already."""

    code = "model_exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"the name {name} is taken: choose another, or delete that model first")


class ModelBusy(Conflict):
    """A checkpoint is just being written under the name."""

    code = "model_busy"

    def __init__(self, name: str) -> None:
        super().__init__(f"a checkpoint of {name} is just being written: try again in a moment")


@dataclass(frozen=True, slots=True)
class Reference:
    """A model's name, and the tag of one of its checkpoints.

    ``str`` returns it as clients see it, without the tag ``latest``; ``full`` includes every tag.

    Raises:
        ValueError: the name or the tag is invalid.
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
        """Parses ``name`` or ``name:tag``.

        Raises:
            ValueError: the text is not a reference.
        """
        name, colon, tag = text.partition(":")
        return cls(name, tag) if colon else cls(name)

    @classmethod
    def from_client(cls, text: str) -> Self:
        """Parses a client's text; text that is not a reference names no model.

        Raises:
            UnknownModel: the text is not a reference.
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
        """The sort key of lists: by name, ``latest`` first."""
        return self.name, self.tag != LATEST, self.tag
