"""What a model has by heart is looked up in its corpus."""

from dataclasses import replace

import numpy as np
import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.text.novelty import MemorisationReport
from tests.support import TOY, MakeJob
from tests.toys import toy_checkpoint
from tests.training import history, notices
from worker.corpora import CorpusStore
from worker.settings import WorkerSettings
from worker.trainer import attempt
from worker.trainer.memorisation import LENGTH, ROWS, examine, in_words


def test_what_a_model_has_by_heart_is_told_at_the_end(
    make_job: MakeJob, settings: WorkerSettings
) -> None:
    job = make_job(max_steps=300, evaluate_every=300, sample_at=[], sample_temperature=0.0)
    attempt.run(job.id)
    (notice,) = notices(job.events(), "memorisation")
    entry = Registry(settings.data.models).entry(Reference("toy"))
    found = entry.card["memorisation"]
    # Always the likeliest: long runs of bottles, whose words are the corpus's.
    assert found["longest"] > 20
    assert f"is {found['longest']:,} characters: “" in notice["text"]
    corpus = TOY.encode()
    assert corpus[found["longest_start"] :].decode()[:20].split()[0] in notice["text"]
    share = found["novel_line_share"]
    assert share is not None and 0 <= share <= 1
    assert "longest_text" not in found
    readme = (settings.data.models / "toy" / entry.digest / "README.md").read_text()
    assert f"word for word: {found['longest']}" in readme
    # The last checkpoint is the whole story.
    assert history(job)[-1]["step"] == 300
    assert job.events()[-2].data["digest"] == entry.digest


def test_it_draws_the_same_text_each_time(toy_corpus: str, settings: WorkerSettings) -> None:
    corpus = CorpusStore(settings.data.corpora).open(toy_corpus, "characters", 0.1)
    checkpoint = toy_checkpoint(vocabulary=corpus.vocabulary)
    found = examine(checkpoint, corpus, 1.0, seed=3)
    # Each row but its unfinished line.
    assert ROWS * LENGTH // 2 < found.characters <= ROWS * LENGTH
    assert found == examine(checkpoint, corpus, 1.0, seed=3)
    assert found != examine(checkpoint, corpus, 1.0, seed=4)


def test_a_network_that_writes_no_numbers_is_not_examined(
    toy_corpus: str, settings: WorkerSettings
) -> None:
    corpus = CorpusStore(settings.data.corpora).open(toy_corpus, "characters", 0.1)
    checkpoint = toy_checkpoint(vocabulary=corpus.vocabulary)
    broken = {name: np.full_like(weight, np.nan) for name, weight in checkpoint.weights.items()}
    with pytest.raises(FloatingPointError, match="not finite"):
        examine(replace(checkpoint, weights=broken), corpus, 1.0, seed=3)


REPORT = MemorisationReport(
    characters=2048,
    longest=1234,
    longest_text="a\n b",
    longest_start=7,
    lines=10,
    novel_line_share=0.25,
    novel_name_share=None,
)


def test_a_report_in_words_says_what_matters() -> None:
    longest = (
        "in 2,048 characters that it wrote, the longest run that the corpus has word for word is "
        "1,234 characters: “{}”"
    )
    lines = ". 25% of its lines are not lines of the corpus"
    assert in_words(REPORT) == longest.format("a b") + lines
    long_text = replace(REPORT, longest_text="x" * 61)
    assert in_words(long_text) == longest.format("x" * 60 + "…") + lines
    assert in_words(replace(REPORT, novel_line_share=None)) == longest.format("a b")
    names = replace(REPORT, novel_name_share=0.5)
    assert in_words(names) == longest.format("a b") + ". 50% of its names are not in the list"
