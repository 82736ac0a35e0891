"""A second process that trains with a test: ``-m tests.together DIRECTORY PARENT``.

The test is rank 0 and says in ``case.json`` what is trained before it begins.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.config import NetworkConfig
from models.options import Hyperparameters
from models.text.corpus import Corpus
from models.text.spans import Spans
from models.text.vocab import Vocabulary
from models.training.beginning import new_trainer
from models.training.following import follow
from models.training.ranks import Ranks, joined
from models.training.trainer import Trainer
from tests.support import ROOT
from tests.toys import babble
from worker.tether import die_with
from worker.trainer.launch import ENVIRONMENT

VOCABULARY = Vocabulary("characters", sorted(map(ord, "\n .etaoinshrdlucmfwypvbgkqjxz")))
IDS = babble(6000)
CORPUS = Corpus(VOCABULARY, IDS[:-1000], IDS[-1000:])


STYLED = replace(
    CORPUS, styles=Spans.of([3000, 2000], [0, 1]), validation_styles=Spans.of([600, 400], [0, 1])
)
"""The same, as if it were two texts."""


def planned(
    dropout: float = 0.0, styles: Sequence[str] = (), **changed: Any
) -> tuple[NetworkConfig, Hyperparameters]:
    """A small network, and how it is trained: an odd number of rows, so that ranks differ."""
    options = {"batch_size": 5, "sequence_length": 8, "max_steps": 200, "evaluate_every": 50}
    return (
        NetworkConfig(len(VOCABULARY), "lstm", 2, 12, dropout=dropout, styles=tuple(styles)),
        Hyperparameters(**options | changed),
    )


@contextmanager
def second_rank(directory: Path) -> Iterator[Ranks]:
    """Makes the calling process the first of two."""
    command = [sys.executable, "-m", "tests.together", str(directory), str(os.getpid())]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield from _first_of_two(command, directory)


def _first_of_two(command: list[str], directory: Path) -> Iterator[Ranks]:
    other = subprocess.Popen(command, cwd=ROOT)
    try:
        with joined(0, 2, directory / "store") as group:
            yield group
        assert other.wait(30) == 0
    finally:
        other.kill()
        other.wait()


def main(directory: Path) -> None:
    die_with(int(sys.argv[2]))

    def make() -> Trainer:
        config, options = planned(**json.loads((directory / "case.json").read_text()))
        corpus = STYLED if config.styles else CORPUS
        return new_trainer(config, corpus, options, group=group)

    with joined(1, 2, directory / "store") as group:
        follow(group, make)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
