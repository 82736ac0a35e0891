"""Trains a system that the product is compared with, and prints its losses.

    python -m bench.learning.rivals SYSTEM TEXT --seconds 180 [--held-out 0.1] [--seed 0]

Its time begins when the text is open and the network is made: finding out what a text is, is not a
part of these recipes. Nor is the time counted in which its loss is measured.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch

from bench.learning.arguments import add_arguments, find_device
from bench.learning.char_rnn import CharRNNLearner
from bench.learning.clock import Rounds, Watch, decline, say
from bench.learning.makemore import UNSUITED, MakemoreLearner
from bench.learning.nanogpt import NanoGPTLearner
from bench.learning.texts import Text, open_text
from models.ngram import NGram

MAX_ORDER = 20
"""Of the n-gram model, as in a job."""


class Learner(Protocol):
    """A system in training."""

    def step(self, fraction: float) -> None:
        """Performs one step, at a share of the time that there is."""

    def loss(self) -> float:
        """Returns the held-out nats per character."""


LEARNERS: dict[str, Callable[[Text, torch.device], Learner]] = {
    "char-rnn": CharRNNLearner,
    "makemore": MakemoreLearner,
    "nanoGPT": NanoGPTLearner,
}


def learn(learner: Learner, watch: Watch, seconds: float) -> None:
    """Trains for some seconds and prints the losses on the way."""
    rounds = Rounds(seconds, watch, learner.loss)
    over = False
    while not over:
        learner.step(watch.seconds / seconds)
        over = watch.seconds >= seconds
        if over or rounds.is_due:
            rounds.take()


def count(text: Text) -> None:
    """Counts an n-gram model of the best order, and prints its loss once."""
    watch = Watch()
    whole = NGram.fit(text.train, text.vocabulary_size, MAX_ORDER)
    _, loss = whole.with_best_order(text.held_out)
    say(watch.seconds, loss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=[*LEARNERS, "n-gram"])
    add_arguments(parser)
    asked = parser.parse_args()
    device = find_device()
    with tempfile.TemporaryDirectory() as directory:
        text = open_text(asked.text, Path(directory), asked.held_out)
        if asked.system == "n-gram":
            count(text)
        elif asked.system == "makemore" and not text.is_list:
            decline(UNSUITED)
        else:
            torch.manual_seed(asked.seed)
            learn(LEARNERS[asked.system](text, device), Watch(), asked.seconds)


if __name__ == "__main__":
    main()
