"""How a job is trained is decided once, from its options, its corpus and the device."""

import json

import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.support import MakeJob, all_events
from tests.training import error_of, progress_of
from worker.corpora import CorpusStore
from worker.devices import DeviceStore, machine_memory
from worker.jobs import JobStore
from worker.queue import Queue
from worker.settings import Settings
from worker.trainer import attempt, device


def test_a_plan_is_made_from_the_options_and_kept(
    store: JobStore, toy_corpus: str, settings: Settings, queue: Queue
) -> None:
    options = {"num_layers": 1, "hidden_size": 8, "batch_size": 4, "sequence_length": 16}
    limits = {"max_steps": 30, "evaluate_every": 10, "learning_rate": 0.01, "tokens": "auto"}
    job, _ = store.create("toy", toy_corpus, options | limits | {"keep_snapshots": [20]}, None)
    assert attempt.run(job.id) is None
    assert job.status() == "finished"
    assert options.items() <= job.view()["options"].items()
    assert "notice" in {event.event for event in all_events(queue, job)}
    assert Registry(settings.data.models).entry(Reference("toy", "step-20")).card["step"] == 20

    # A resume may raise the limits; all else stays as it was planned.
    planned = json.loads((job.directory / "plan.json").read_bytes())["plan"]
    job = store.resume(job.id, {"max_steps": 50})
    assert attempt.run(job.id) is None
    assert job.status() == "finished"
    again = json.loads((job.directory / "plan.json").read_bytes())["plan"]
    assert again["training"] == planned["training"] | {"max_steps": 50}
    assert again["config"] == planned["config"]
    assert progress_of(job)["step"] == 50


def test_char_rnn_starts_as_char_rnn_does(
    store: JobStore, toy_corpus: str, settings: Settings
) -> None:
    """The preset's way to draw the first weights reaches the network."""
    options = {"preset": "char-rnn", "hidden_size": 8, "learning_rate": 1e-6}
    limits = {"max_steps": 1, "max_epochs": 1, "tokens": "characters"}
    job, _ = store.create("toy", toy_corpus, options | limits, None)
    attempt.run(job.id)
    registry = Registry(settings.data.models)
    weights = registry.load("toy", registry.resolve(Reference("toy"))).weights
    assert abs(weights["layers.0.weight_ih_l0"]).max() < 0.081
    assert weights["layers.0.bias_ih_l0"][8:16] == pytest.approx(1, abs=1e-4)


def test_a_list_is_cut_and_read_by_its_lines(store: JobStore, settings: Settings) -> None:
    names = [f"{'abcdefgh'[n % 8]}{n}" for n in range(300)]
    corpora = CorpusStore(settings.data.corpora)
    with corpora.upload() as upload:
        upload.write("\n".join(names).encode())
        corpus_id, _ = corpora.add(upload, "characters")
    options = {"num_layers": 1, "hidden_size": 8, "max_steps": 2, "tokens": "characters"}
    job, _ = store.create("names", corpus_id, options, None)
    attempt.run(job.id)
    assert job.view()["options"]["shuffle_lines"]
    registry = Registry(settings.data.models)
    checkpoint = registry.load("names", registry.resolve(Reference("names")))
    held_out = checkpoint.validation.decode().split("\n")[:-1]
    assert set(held_out) <= set(names)
    assert held_out != names[-len(held_out) :]


def test_what_the_device_does_is_left_for_estimates(
    store: JobStore, toy_corpus: str, settings: Settings
) -> None:
    options = {"num_layers": 1, "hidden_size": 8, "max_steps": 1, "tokens": "characters"}
    job, _ = store.create("toy", toy_corpus, options, None)
    attempt.run(job.id)
    (device,) = DeviceStore(settings.data.devices).devices()
    assert device.name == job.view()["device"]
    assert device.work > 0
    assert device.memory_bytes == machine_memory()


@pytest.mark.usefixtures("settings")
def test_what_does_not_fit_into_memory_is_not_tried(
    store: JobStore, toy_corpus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "machine_memory", lambda: 64 << 20)
    options = {"num_layers": 1, "hidden_size": 8, "tokens": "characters"}
    job, _ = store.create("toy", toy_corpus, options, None)
    assert attempt.run(job.id) is None
    assert error_of(job)["title"] == "Not enough memory"
    assert "hidden_size" in error_of(job)["detail"]


def test_training_goes_on_from_another_model(make_job: MakeJob, settings: Settings) -> None:
    first = make_job("first", max_steps=200, evaluate_every=100, sample_at=[])
    attempt.run(first.id)
    second = make_job("second", max_steps=1, init_from="first", learning_rate=1e-6)
    plan = json.loads((second.directory / "plan.json").read_bytes())
    plan["init_from"] = Registry(settings.data.models).resolve(Reference("first"))
    (second.directory / "plan.json").write_text(json.dumps(plan))
    attempt.run(second.id)
    losses = [progress_of(job)["val_loss"] for job in (first, second)]
    assert losses[1] == pytest.approx(losses[0], abs=0.01)
