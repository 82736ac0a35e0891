"""A network that learns several texts tells them apart, however it is trained and put down."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.config import NetworkConfig
from models.decoding.sampling import SampleOptions
from models.options import Hyperparameters
from models.styles import only
from models.text.corpus import Corpus
from models.text.spans import Spans
from models.text.vocab import Vocabulary
from models.training.accelerated import Compute
from models.training.batches import styles_at
from models.training.beginning import new_trainer
from models.training.continuing import fitted
from models.training.generate import generate
from models.training.held_out import evaluate
from models.training.kernels import Padding
from models.training.trainer import Evaluation, Progress, Trainer
from tests.networks import trained_like

STYLES = ("ab", "cd")
TEXTS = "xaxabxb\n", "xcxcdxd\n"
VOCABULARY = Vocabulary("characters", sorted({ord(c) for c in "".join(TEXTS)}))
CONFIG = NetworkConfig(len(VOCABULARY), "lstm", 1, 16, styles=STYLES)
OPTIONS = Hyperparameters(8, 8, max_steps=24, learning_rate=0.03, evaluate_every=12)


def corpus() -> Corpus:
    parts = [VOCABULARY.encode(text * 100).astype(np.uint8) for text in TEXTS]
    cuts = [len(part) * 4 // 5 for part in parts]
    train, held = (
        [part[slices] for part, slices in zip(parts, of, strict=True)]
        for of in ([slice(cut) for cut in cuts], [slice(cut, None) for cut in cuts])
    )
    return Corpus(
        VOCABULARY,
        np.concatenate(train),
        np.concatenate(held),
        Spans.of(map(len, train), [0, 1]),
        Spans.of(map(len, held), [0, 1]),
    )


CORPUS = corpus()


def trained(**options: object) -> Trainer:
    trainer = new_trainer(CONFIG, CORPUS, replace(OPTIONS, **options))  # type: ignore[arg-type]
    list(trainer.run())
    return trainer


def written(trainer: Trainer, style: int) -> str:
    options = SampleOptions(seed=1, temperature=0.7, length=200, style=only(style, 2))
    ids = generate(trainer.average, VOCABULARY.start_id, VOCABULARY.encode(""), options)
    return VOCABULARY.decoder().decode(np.fromiter(ids, np.int64))


@pytest.mark.parametrize("shuffle_lines", [False, True])
def test_a_style_decides_what_is_written_to_the_end(shuffle_lines: bool) -> None:
    """Of a list too, whose lines are in an order in which no line says what the next one is."""
    trainer = trained(max_steps=250, evaluate_every=250, shuffle_lines=shuffle_lines)
    for style, letters in enumerate(STYLES):
        text = written(trainer, style)
        own = sum(map(text.count, letters)) / sum(map(text.count, "abcd"))
        assert own > 0.95
    own = evaluate(trainer.average, CORPUS.validation, CORPUS.validation_styles)
    none = evaluate(trainer.average, CORPUS.validation)
    swapped = Spans(CORPUS.validation_styles.ends, np.array([1, 0]))  # type: ignore[union-attr]
    wrong = evaluate(trainer.average, CORPUS.validation, swapped)
    assert own < none < wrong
    assert own == pytest.approx(trainer.best_loss)


def test_a_run_put_down_goes_on_as_if_nothing_had_happened() -> None:
    whole = new_trainer(CONFIG, CORPUS, replace(OPTIONS, max_steps=40))
    saved = None
    told = []
    for event in whole.run():
        if isinstance(event, Progress) and event.step == 19:
            saved = whole.state_dict()
        if isinstance(event, Progress) and event.step > 19:
            told.append((event.step, event.train_loss))
    assert saved
    again = new_trainer(CONFIG, CORPUS, replace(OPTIONS, max_steps=40))
    again.load_state_dict(*saved)
    assert [(e.step, e.train_loss) for e in again.run() if isinstance(e, Progress)] == told
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], weight)


@pytest.mark.parametrize("embedding_size", [0, 3])
def test_layers_that_are_filled_up_learn_the_same(embedding_size: int) -> None:
    """As on a GPU, whose kernels take certain sizes only; each step is recorded."""
    config = replace(CONFIG, embedding_size=embedding_size)

    def losses(compute: Compute) -> list[float]:
        trainer = new_trainer(config, CORPUS, OPTIONS, compute=compute)
        return [e.val_loss for e in trainer.run() if isinstance(e, Evaluation)]

    filled = Compute(padding=Padding(4, 16, 8), record=lambda step: step)
    assert losses(filled) == pytest.approx(losses(Compute()), rel=1e-5)


def test_an_eighth_of_the_rows_are_read_without_a_style() -> None:
    assert CORPUS.styles
    places = np.arange(64).reshape(8, 8)
    shares = []
    for step in range(0, 256, 16):
        found = styles_at(CORPUS.styles, places, step)
        assert (found[:, 4:] == styles_at(CORPUS.styles, places[:, 4:], step, 4)).all()
        shares.append((found < 0).all(axis=0))
    assert np.mean(shares) == 1 / 8
    assert np.mean(shares, axis=0).tolist() == [1 / 8] * 8


def test_a_networks_styles_go_on_with_a_text_that_has_them_and_others() -> None:
    network = trained_like(CONFIG)
    weights = network.export()
    new = "other", "cd"
    fit = fitted(weights, CONFIG, VOCABULARY, CORPUS, 0, new)
    columns, before = fit["layers.0.weight_ih_l0"], weights["layers.0.weight_ih_l0"]
    size = len(VOCABULARY)
    assert np.array_equal(columns[:, :size], before[:, :size])
    assert not columns[:, size].any()
    assert np.array_equal(columns[:, size + 1], before[:, size + 1])
    assert {n: v.shape for n, v in fit.items()} == replace(CONFIG, styles=new).shapes()
    plain = fitted(weights, CONFIG, VOCABULARY, CORPUS, 0)
    assert {n: v.shape for n, v in plain.items()} == replace(CONFIG, styles=()).shapes()
    fewer = Vocabulary("characters", VOCABULARY.symbols.tolist()[:-1])
    known = trained_like(replace(CONFIG, vocabulary_size=size - 1)).export()
    wider = fitted(known, replace(CONFIG, vocabulary_size=size - 1), fewer, CORPUS, 0, new)
    assert {n: v.shape for n, v in wider.items()} == replace(CONFIG, styles=new).shapes()
    of_style = known["layers.0.weight_ih_l0"][:, -1]
    assert np.array_equal(wider["layers.0.weight_ih_l0"][:, -1], of_style)
