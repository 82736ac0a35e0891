"""Counting is what a network is compared with; training neither waits nor fails for it."""

import math
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from models.checkpoints.reference import NoNGram, Reference
from models.checkpoints.registry import Registry
from models.ngram import NGram
from models.training.trainer import Evaluation, Progress, Trainer
from tests.support import MakeJob
from tests.training import baseline_of, notices
from worker.corpora import CorpusStore
from worker.settings import WorkerSettings
from worker.trainer import attempt, baseline, plan, session


def test_counting_is_what_a_network_is_compared_with(
    make_job: MakeJob, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(max_steps=20)
    attempt.run(job.id)
    told = baseline_of(job)
    assert told["bpc"] == pytest.approx(told["val_loss"] / math.log(2))
    (notice,) = notices(job.events(), "baseline")
    assert f"{told['val_loss']:.4f}" in notice["text"]

    registry = Registry(settings.data.models)
    assert registry.entry(Reference("toy")).card["baseline"] == told
    digest, of = registry.ngram("toy")
    assert of == registry.resolve(Reference("toy"))
    model = NGram.from_bytes(registry.ngram_bytes("toy", digest))
    assert model.order == told["ngram_order"]
    vocabulary = registry.vocabulary("toy", of)
    held_out = vocabulary.encode(registry.load("toy", of).validation.decode())
    assert model.losses(held_out.astype("u1"))[-1] == pytest.approx(told["val_loss"])
    card = (settings.data.models / "toy" / of / "README.md").read_text()
    assert f"n-gram baseline on the same text: {told['val_loss']:.4f}" in card

    # Once: a resume takes it up.
    monkeypatch.setattr(NGram, "fit", None)
    (job.directory / "result.json").unlink()
    attempt.run(job.id)
    assert job.view()["baseline"] == told


def test_training_does_not_wait_for_a_long_count(
    make_job: MakeJob, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was published before it was done has it then too."""
    has_trained = threading.Event()
    count = NGram.fit
    save = session._StateSaver.save

    def slow(*arguments: Any) -> NGram:
        assert has_trained.wait(60)
        return count(*arguments)

    def saved(self: session._StateSaver, trainer: Trainer) -> None:
        save(self, trainer)
        has_trained.set()

    monkeypatch.setattr(baseline, "PATIENCE", 0.0)
    monkeypatch.setattr(NGram, "fit", slow)
    monkeypatch.setattr(session._StateSaver, "save", saved)
    job = make_job()
    attempt.run(job.id)
    events = [e.event if e.event != "notice" else e.data["code"] for e in job.events()]
    assert events.index("evaluation") < events.index("checkpoint") < events.index("baseline")
    assert (
        Registry(settings.data.models).entry(Reference("toy")).card["baseline"]
        == job.view()["baseline"]
    )
    assert Registry(settings.data.models).ngram("toy")


@pytest.mark.usefixtures("settings")
def test_a_short_training_on_a_long_text_is_over_before_counting_begins(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both would take the same cores."""
    has_trained = threading.Event()
    count, run = NGram.fit, Trainer.run

    def trained(self: Trainer) -> Iterator[Progress | Evaluation]:
        yield from run(self)
        has_trained.set()

    def counted(*arguments: Any) -> NGram:
        assert has_trained.is_set()
        return count(*arguments)

    monkeypatch.setattr(plan, "counts_beside", lambda _training: True)
    monkeypatch.setattr(Trainer, "run", trained)
    monkeypatch.setattr(NGram, "fit", counted)
    job = make_job()
    attempt.run(job.id)
    assert job.view()["baseline"] == baseline_of(job)


def test_a_count_that_fails_is_none_of_training(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, settings: WorkerSettings
) -> None:
    monkeypatch.setattr(NGram, "fit", lambda *_: (_ for _ in ()).throw(MemoryError))
    job = make_job()
    attempt.run(job.id)
    assert job.status() == "finished"
    assert job.view()["baseline"] is None
    with pytest.raises(NoNGram):
        Registry(settings.data.models).ngram("toy")


def test_a_count_is_there_when_it_was_waited_for(toy_corpus: str, settings: WorkerSettings) -> None:
    corpus = CorpusStore(settings.data.corpora).open(toy_corpus, "characters", 0.1)
    counting = baseline.begin_counting(corpus)
    counted = counting.result(60)
    assert counted
    losses = counted.model.losses(corpus.validation)
    assert counted.figures == {
        "ngram_order": counted.model.order,
        "val_loss": pytest.approx(losses[-1]),
        "bpc": pytest.approx(losses[-1] / math.log(2)),
    }
    assert counted.model.order == int(losses.argmin())


def test_a_count_that_failed_is_done_and_logged(
    toy_corpus: str,
    settings: WorkerSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    corpus = CorpusStore(settings.data.corpora).open(toy_corpus, "characters", 0.1)
    monkeypatch.setattr(NGram, "fit", lambda *_: (_ for _ in ()).throw(MemoryError))
    assert baseline.begin_counting(corpus).result(60) is None
    assert "the n-gram baseline could not be counted" in caplog.text
