"""What a job publishes: its best checkpoint, samples, and what is known at the end."""

from pathlib import Path

import numpy as np

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.text.vocab import Vocabulary
from tests.support import MakeJob
from worker.settings import WorkerSettings
from worker.trainer import attempt, publisher


def test_what_was_latest_stays_under_its_jobs_id(
    make_job: MakeJob, settings: WorkerSettings
) -> None:
    registry = Registry(settings.data.models)
    first = make_job()
    attempt.run(first.id)
    of_first = registry.resolve(Reference("toy"))
    second = make_job(seed=1)
    attempt.run(second.id)
    assert registry.entry(Reference("toy")).card["job_id"] == second.id
    assert registry.resolve(Reference("toy", first.id)) == of_first


def test_a_sample_leaves_out_of_its_prime_what_it_has_never_seen() -> None:
    from models.config import NetworkConfig
    from models.training.beginning import new_network

    vocabulary = Vocabulary("characters", sorted(map(ord, "ab\n")))
    network = new_network(NetworkConfig(3, num_layers=1, hidden_size=4), seed=0)
    text = publisher.sample(network, vocabulary, "axЖb", 1.0, seed=1)
    assert text.startswith("ab")
    assert len(text) == 2 + publisher.SAMPLE_LENGTH
    assert text == publisher.sample(network, vocabulary, "ab", 1.0, seed=1)


def test_validation_text_of_bytes_is_the_bytes(tmp_path: Path) -> None:
    from models.text.corpus import Corpus

    vocabulary = Vocabulary("bytes", [0x0A, 0x41, 0xFF])
    ids = np.array([2, 1, 0] * 40, dtype=np.uint8)
    ids.tofile(tmp_path / "ids")
    corpus = Corpus.open(tmp_path / "ids", vocabulary, 0.1)
    assert publisher.validation_parts(corpus) == [(0, b"\xffA\n" * 4)]


def test_an_ngram_table_is_published_with_the_network_that_was_measured(
    make_job: MakeJob, settings: WorkerSettings
) -> None:
    """None unless it was asked for."""
    from models.training.held_out import evaluate
    from models.training.network import CharNetwork

    registry = Registry(settings.data.models)
    first = make_job(ngram_orders=4, ngram_buckets=300)
    attempt.run(first.id)
    checkpoint = registry.load("toy", registry.resolve(Reference("toy")))
    assert checkpoint.config.ngram_orders > 1
    assert sum(checkpoint.config.ngram_buckets) <= 300
    network = CharNetwork.of(checkpoint.config, checkpoint.weights)
    ids = checkpoint.vocabulary.encode(checkpoint.validation.decode()).astype("u1")
    measured = checkpoint.card["val_loss"]
    assert measured is not None
    assert abs(evaluate(network, ids) - measured) < 1e-4
    plain = make_job("plain")
    attempt.run(plain.id)
    assert registry.load("plain", registry.resolve(Reference("plain"))).config.ngram_buckets == ()


def test_each_of_several_texts_has_its_share_of_the_validation_text() -> None:
    """Of characters of three bytes as of one: the last text is not cut off."""
    from models.checkpoints.format import VALIDATION_BYTES
    from models.text.corpus import Corpus
    from models.text.spans import Spans

    vocabulary = Vocabulary("characters", [0x0A, 0x41, 0x3042])
    held = np.array([2] * 60_000 + [1] * 30_000, dtype=np.uint8)
    spans = Spans.of([60_000, 30_000], [1, 0])
    corpus = Corpus(vocabulary, held[:9], held, spans, spans)
    (style, first), (other, second) = publisher.validation_parts(corpus)
    assert (style, other) == (1, 0)
    assert len(first) + len(second) <= VALIDATION_BYTES
    assert set(first.decode()) == {"あ"}
    assert set(second.decode()) == {"A"}
    assert len(second) > VALIDATION_BYTES // 8


def test_a_card_tells_the_parts_of_its_validation_text(
    make_job: MakeJob, settings: WorkerSettings
) -> None:
    job = make_job()
    attempt.run(job.id)
    registry = Registry(settings.data.models)
    assert "held_out" not in registry.load("toy", registry.resolve(Reference("toy"))).card
