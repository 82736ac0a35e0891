"""What a style is worth: one network of several texts, with styles and without.

    python -m bench.styles TEXT TEXT … [--characters 1000000] [--steps 2000] [--hidden 128]

Takes the beginning of each text, holds out the last twentieth of each, and trains a network of two
layers on all of them, once with a style for each and once without, for the same steps from the same
seed and without n-gram features. Prints what each text's held-out part then costs, in nats per
character: without styles, and with them in no style, in its own and in those of the others.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from models.config import NetworkConfig
from models.options import Hyperparameters
from models.styles import TextPart, distinct, styles_of_files
from models.text.cleaning import Cleaner
from models.text.corpus import Corpus, encode, scan, spans_of
from models.text.spans import Spans
from models.training.beginning import new_trainer
from models.training.held_out import evaluate
from models.training.network import CharNetwork
from models.training.planning import auto_rate

BATCH, LENGTH = 32, 64
HELD_OUT = 0.05
TITLE, FIGURE = 36, 24
"""Widths of columns."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--characters", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--hidden", type=int, default=128)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        corpus, styles = joined(asked.texts, asked.characters, Path(directory))
        print(" " * TITLE + "".join(f"{style:>{FIGURE}}" for style in styles))
        plain = Corpus(corpus.vocabulary, corpus.train, corpus.validation)
        network = trained(plain, (), asked.hidden, asked.steps)
        _print("without styles", losses(network, corpus, None))
        network = trained(corpus, styles, asked.hidden, asked.steps)
        _print("in no style", losses(network, corpus, None))
        for number, style in enumerate(styles):
            _print(f"in the style {style}", losses(network, corpus, number))


def joined(
    texts: Sequence[Path], characters: int, directory: Path
) -> tuple[Corpus, tuple[str, ...]]:
    """Returns a corpus of the beginnings of texts, and their styles."""
    parts, whole = [], b""
    for path in texts:
        text = next(Cleaner().blocks(path))[:characters].rstrip("\n") + "\n"
        (style,) = styles_of_files([path.name])
        parts.append(TextPart(style, len(text.encode())))
        whole += text.encode()
    path = directory / "text"
    path.write_bytes(whole)
    vocabulary = scan(path).vocabulary
    encode(path, vocabulary, directory / "ids")
    spans = spans_of(path, "characters", parts)
    corpus = Corpus.open(directory / "ids", vocabulary, HELD_OUT, styles=spans)
    return corpus, distinct(parts)


def trained(corpus: Corpus, styles: tuple[str, ...], hidden: int, steps: int) -> CharNetwork:
    """Returns the average of the weights after so many steps."""
    config = NetworkConfig(len(corpus.vocabulary), "lstm", 2, hidden, styles=styles)
    rate = auto_rate(config, BATCH * LENGTH)
    options = Hyperparameters(BATCH, LENGTH, steps, learning_rate=rate, evaluate_every=steps)
    trainer = new_trainer(config, corpus, options)
    for _happened in trainer.run():
        pass
    return trainer.average


def losses(network: CharNetwork, corpus: Corpus, style: int | None) -> list[float]:
    """Returns what each text's held-out part costs in a style, or in none."""
    spans = corpus.validation_styles
    assert spans
    found = []
    for begin, end in zip(spans.begins.tolist(), spans.ends.tolist(), strict=True):
        own = None if style is None else Spans.of([end - begin], [style])
        found.append(evaluate(network, corpus.validation[begin:end], own))
    return found


def _print(title: str, found: list[float]) -> None:
    print(f"{title:<{TITLE}}" + "".join(f"{loss:>{FIGURE}.4f}" for loss in found), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
