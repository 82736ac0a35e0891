"""The essay's experiments: what it did, what it reports, and how that is reproduced here.

One table. The essay is "The Unreasonable Effectiveness of Recurrent Neural Networks" (Karpathy
2015). Knows no service: ``app.essay.reproduce`` runs them.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from models.presets import PRESETS

About = Literal["samples", "names", "evolution", "cells", "ngram"]
"""What a report shows beside the losses."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment.

    Attributes:
        title: one line about it.
        essay: what the essay did, and what it reports.
        corpus: the name of its text in ``PUBLIC_CORPORA``; None if that cannot be redistributed.
        options: of the training, as ``POST /train`` takes them; the essay's where it states them.
        reduced: the same for ``--minutes``, which sets the time.
        model: one that ships and can stand in for training.
        about: what the report shows.
        checks: names in ``app.essay.reproduce.CHECKS``.
        temperatures: at which it samples.
        length: characters of a sample.
    """

    title: str
    essay: str
    corpus: str | None
    options: dict[str, Any]
    about: About = "samples"
    reduced: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    checks: tuple[str, ...] = ("words", "brackets", "quotes")
    temperatures: tuple[float, ...] = (0.5, 0.8, 1.0)
    length: int = 20_000


def _preset(name: str) -> dict[str, Any]:
    assert name in PRESETS
    return {"preset": name}


# Small enough for 2,000 steps in a minute or two on a laptop.
_STEPS = {
    # The network learns to spell by itself: that is what is watched.
    "ngram_orders": 0,
    "network": "lstm",
    "num_layers": 2,
    "hidden_size": 128,
    "batch_size": 50,
    "sequence_length": 50,
    "max_steps": 2000,
}

EXPERIMENTS = {
    "paul-graham": Experiment(
        "Paul Graham's essays",
        "About a megabyte; a 2-layer LSTM of 512 cells, about 3.5 million parameters, dropout 0.5, "
        "batches of 100 with BPTT of 100. It learns to spell, and where a comma belongs; "
        "temperature near zero ends in a loop about startups.",
        None,
        _preset("paul-graham"),
    ),
    "shakespeare": Experiment(
        "Shakespeare",
        "All works, 4.4 MB; a 3-layer LSTM of 512 cells, a few hours. Speakers' names, stage "
        "directions, monologues, nearly all words spelt right: hard to tell from the real thing.",
        "shakespeare",
        _preset("shakespeare"),
        checks=("words", "speakers", "brackets"),
    ),
    "wikipedia": Experiment(
        "Wikipedia",
        "The Hutter prize's 100 MB of XML and wiki markup; several LSTMs, overnight. Links, lists "
        "and tables, invented URLs, and XML that is well formed, with tags closed in order.",
        "enwik8",
        _preset("wikipedia"),
        checks=("words", "tags", "brackets", "links"),
        # An article is long, and tags stand at its ends.
        length=60_000,
    ),
    "latex": Experiment(
        "Algebraic geometry",
        "The Stacks project's LaTeX, 16 MB; a multilayer LSTM. It almost compiles: lemmas, proofs, "
        "diagrams; the typical error opens a proof and closes a lemma.",
        "latex",
        _preset("latex"),
        checks=("words", "environments", "brackets", "dollars"),
    ),
    "linux": Experiment(
        "Linux's source",
        "474 MB of C; 3-layer LSTMs of about 10 million parameters, a few days. Functions with "
        "comments, strings and indentation, brackets that close, a GPL header; but undefined "
        "variables, and functions that return nothing.",
        "linux",
        _preset("linux"),
        checks=("functions", "brackets", "string quotes", "comments"),
        length=60_000,
    ),
    "names": Experiment(
        "Baby names",
        "8,000 names, one a line. It shows names that are not in its text: about 90 % of those "
        "that it writes are not.",
        "names",
        _preset("names"),
        about="names",
        checks=(),
        length=40_000,
    ),
    "warpeace": Experiment(
        "War and Peace, while it learns",
        "Samples after 100, 300, 500, 700, 1200 and 2000 iterations: first words and spaces, then "
        "quotes and full stops, short words, longer ones, and at last names and proper sentences.",
        "warpeace",
        _preset("warpeace"),
        about="evolution",
        reduced=_STEPS,
    ),
    "temperatures": Experiment(
        "A sweep of temperatures",
        "From 1 to 0.5 the samples grow more confident and more conservative; near zero they end "
        "in a loop.",
        "shakespeare",
        _preset("shakespeare"),
        model="shakespeare",
        checks=("words", "speakers"),
        temperatures=(0.0, 0.2, 0.5, 0.8, 1.0, 1.3),
        length=10_000,
    ),
    "cells": Experiment(
        "What single cells keep track of",
        "Cells that are high in quotes, in brackets, in comments, in an if, along the line; about "
        "5 % can be read at all.",
        "linux",
        _preset("linux"),
        about="cells",
        model="linux",
        checks=(),
        temperatures=(),
    ),
    "ngram": Experiment(
        "A network against counting",
        "Not of the essay: Goldberg's reply to it (2015), that n-grams of characters write "
        "Shakespeare as well, but do not close C's brackets.",
        "shakespeare",
        _preset("shakespeare"),
        about="ngram",
        reduced={"ngram_orders": 0},
        checks=("words", "speakers", "brackets", "comments", "functions"),
        temperatures=(0.8, 1.0),
    ),
}
