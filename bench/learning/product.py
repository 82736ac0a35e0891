"""Trains as a job of the product does, with the ``models`` and ``worker`` that are found, and
prints its losses.

    python -m bench.learning.product TEXT --seconds 180 [--held-out 0.1] [--seed 0]

``models`` and ``worker`` may be those of an earlier commit, so what is used of them is looked up
by name, where it is now and where it was (commit 27fb116 is the earliest).

The time begins before the text is read: examining and encoding it, probing the device and counting
n-grams are part of what somebody waits for; not counted are imports, nor what a job does for
others, saving and publishing, nor what it counts when it has ended. ``max_seconds`` bounds the
training, so the end is later by what was before it. The trainer's own evaluations are part of its
time. Those at other moments are done by a copy of it, are not counted, and change nothing: training
continues as after a resume.
"""

import argparse
import tempfile
import time
from copy import copy, deepcopy
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from bench.learning.arguments import add_arguments, find_device
from bench.learning.clock import Rounds, Watch, say
from bench.learning.pieces import pieces

_PLACES = {
    "scan": ("models.text.corpus", "models.corpus"),
    "encode": ("models.text.corpus", "models.corpus"),
    "Corpus": ("models.text.corpus", "models.corpus"),
    "TrainingOptions": ("models.options",),
    "make_plan": ("models.training.planning", "models.planning"),
    "new_network": ("models.training.beginning", "models.training.trainer", "models.training"),
    "Trainer": ("models.training.trainer", "models.training"),
    "begin_features": ("models.training.beginning",),
    "counts_beside": ("models.training.beginning",),
    "first_trainer": ("models.training.beginning",),
    "count_features": ("models.training.trainer",),
    "new_trainer": ("models.training.trainer",),
    "begin_counting": ("worker.trainer.baseline",),
    "Baseline": ("worker.baseline",),
    "machine_memory": ("worker.devices",),
}
"""Where each name is or was, the newest place first."""


def find(name: str) -> Any:
    """Returns what has a name in the product; None if this commit has it in none of its places."""
    for place in _PLACES[name]:
        try:
            module = import_module(place)
        except ModuleNotFoundError as error:
            if not f"{place}.".startswith(f"{error.name}."):
                raise
            continue
        if hasattr(module, name):
            return getattr(module, name)
    return None


def prepare(path: Path, directory: Path, asked: dict[str, Any], device: torch.device) -> Any:
    """Returns a trainer for a text, made as ``worker.trainer.plan`` makes a job's."""
    scanned = find("scan")(path)
    options = find("TrainingOptions")
    # Before there was a class for them, options were a dictionary.
    wanted = options.from_json(asked) if options else asked
    memory = None if device.type == "cuda" else find("machine_memory")()
    plan = find("make_plan")(wanted, scanned, device, memory=memory)
    find("encode")(path, scanned.vocabulary, directory / "ids")
    training = plan.training
    corpus = find("Corpus").open(
        directory / "ids",
        scanned.vocabulary,
        plan.validation_fraction,
        shuffle_lines=training.shuffle_lines,
    )
    corpus = replace(corpus, validation=pieces(corpus.validation))
    trainer = _trainer(plan, corpus, device)
    counts_beside = find("counts_beside")
    if not (counts_beside and counts_beside(training)):
        _count_baseline(corpus)
    return trainer


def _trainer(plan: Any, corpus: Any, device: torch.device) -> Any:
    training, new_trainer = plan.training, find("new_trainer")
    if first_trainer := find("first_trainer"):
        counting = find("begin_features")(corpus, training)
        return first_trainer(plan.config, corpus, training, device, counting)
    if new_trainer is None:
        network = find("new_network")(plan.config, training.seed, training.initialisation)
        return find("Trainer")(network, corpus, training, device)
    began = time.monotonic()
    features = find("count_features")(corpus, training)
    counted = time.monotonic() - began
    trainer = new_trainer(plan.config, corpus, training, device, features)
    trainer.elapsed = counted
    return trainer


def _count_baseline(corpus: Any) -> None:
    """Counts the n-gram baseline beside the training, as a job does."""
    begin = find("begin_counting")
    if begin:
        begin(corpus)
    elif baseline := find("Baseline"):
        baseline(corpus).begin()


def held_out_loss(trainer: Any) -> float:
    """Returns what the trainer would say of its network now, and leaves no trace in it."""
    twin = copy(trainer)
    # An earlier commit knows no average of the weights.
    for name in {"network", "_average"} & vars(trainer).keys():
        setattr(twin, name, deepcopy(getattr(trainer, name)))
    return float(twin._evaluate().val_loss)


def train(trainer: Any, watch: Watch, seconds: float) -> None:
    """Trains to the end, and prints the trainer's evaluations and those at other moments."""
    rounds = Rounds(seconds, watch, lambda: held_out_loss(trainer))
    over = False
    while not over:
        over = True
        for happened in trainer.run():
            if hasattr(happened, "val_loss"):
                say(watch.seconds, happened.val_loss)
            elif rounds.is_due:
                rounds.take()
                # A new run counts its seconds from now on: those of the evaluation are not its own.
                over = False
                break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    asked = parser.parse_args()
    device = find_device()
    options = {
        "max_seconds": asked.seconds,
        "validation_fraction": asked.held_out,
        "seed": asked.seed,
    }
    # Found before the time begins: imports are not part of it.
    for name in _PLACES:
        find(name)
    with tempfile.TemporaryDirectory() as directory:
        watch = Watch()
        train(prepare(asked.text, Path(directory), options, device), watch, asked.seconds)


if __name__ == "__main__":
    main()
