"""A text split as the product splits it, for the systems that it is compared with."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.learning.pieces import pieces
from models.arrays import AnyIds
from models.text.corpus import Corpus, encode, scan
from models.training.planning import MAX_SHUFFLED_CHARACTERS


@dataclass(frozen=True, slots=True)
class Text:
    """The parts of a text, and whether it is a list.

    ``held_out`` is what each system is judged on.
    """

    corpus: Corpus
    is_list: bool

    @property
    def train(self) -> AnyIds:
        return self.corpus.train

    @property
    def held_out(self) -> AnyIds:
        return self.corpus.validation

    @property
    def vocabulary_size(self) -> int:
        return len(self.corpus.vocabulary)

    @property
    def newline(self) -> int:
        return self.corpus.vocabulary.start_id

    def lines(self, part: AnyIds) -> list[AnyIds]:
        """Returns the lines of a part without their ends; those without a character are left out.

        A last line without an end is one too.
        """
        ends = np.flatnonzero(part == self.newline)
        return [line[line != self.newline] for line in np.split(part, ends + 1) if len(line) > 1]


def open_text(path: Path, directory: Path, held_out: float) -> Text:
    """Opens a file as ``worker.trainer.plan`` opens a corpus, with its ids in a directory."""
    scanned = scan(path)
    report = scanned.report
    is_list = report.preset == "names" and report.characters <= MAX_SHUFFLED_CHARACTERS
    encode(path, scanned.vocabulary, directory / "ids")
    corpus = Corpus.open(directory / "ids", scanned.vocabulary, held_out, shuffle_lines=is_list)
    return Text(replace(corpus, validation=pieces(corpus.validation)), is_list)
