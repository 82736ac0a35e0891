"""How a job is trained is decided once, from its options, its corpus and the device."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.support import MakeJob, all_events
from tests.training import error_of, notices, progress_of, rest_at
from worker.corpora import CorpusStore
from worker.devices import DeviceStore, machine_memory
from worker.jobs import Job, JobStore
from worker.queue import Queue
from worker.settings import WorkerSettings
from worker.trainer import attempt, device, generations
from worker.trainer.failures import Failure
from worker.trainer.journal import Journal
from worker.trainer.plan import JobPlan, Workplace, prepare


def test_a_plan_is_made_from_the_options_and_kept(
    store: JobStore, toy_corpus: str, settings: WorkerSettings, queue: Queue
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
    store: JobStore, toy_corpus: str, settings: WorkerSettings
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


def test_a_list_is_cut_and_read_by_its_lines(store: JobStore, settings: WorkerSettings) -> None:
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
    store: JobStore, toy_corpus: str, settings: WorkerSettings
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


def test_training_goes_on_from_another_model(make_job: MakeJob, settings: WorkerSettings) -> None:
    first = make_job("first", max_steps=200, evaluate_every=100, sample_at=[])
    attempt.run(first.id)
    second = make_job("second", max_steps=1, init_from="first", learning_rate=1e-6)
    plan = json.loads((second.directory / "plan.json").read_bytes())
    plan["init_from"] = Registry(settings.data.models).resolve(Reference("first"))
    (second.directory / "plan.json").write_text(json.dumps(plan))
    attempt.run(second.id)
    losses = [progress_of(job)["val_loss"] for job in (first, second)]
    assert losses[1] == pytest.approx(losses[0], abs=0.01)


def prepared(job: Job, settings: WorkerSettings, queue: Queue) -> JobPlan:
    return prepare(job, Workplace.of(settings), Journal(job, queue.events, "CPU"))


def test_what_was_decided_is_kept_and_told_once(
    store: JobStore, toy_corpus: str, settings: WorkerSettings, queue: Queue
) -> None:
    options = {"num_layers": 1, "hidden_size": 8, "max_steps": 30, "tokens": "characters"}
    job, _ = store.create("toy", toy_corpus, options, None)
    first = prepared(job, settings, queue)
    kept = (job.directory / "plan.json").read_bytes()
    assert len(notices(job.events(), "plan")) == 1
    again = prepared(job, settings, queue)
    assert again.plan == first.plan
    assert (job.directory / "plan.json").read_bytes() == kept
    assert len(notices(job.events(), "plan")) == 1
    running = job.running()
    assert running["options"] == first.options == {**options, **first.plan.resolved}
    config = first.plan.config
    table = first.plan.training.ngram_buckets * (4 + config.vocabulary_size + 2 * 16)
    assert running["needs_bytes"] == 48 * config.parameters() + 3 * table


def test_a_trainer_is_taken_up_in_the_newest_state_that_fits(
    make_job: MakeJob, settings: WorkerSettings, queue: Queue
) -> None:
    """A state of another network, as a bug or a hand may leave, is not taken up in part."""
    plan = prepared(make_job(), settings, queue)
    fresh, _ = plan.take_up(plan.begin_counting())
    assert fresh.step == 0
    tensors, _ = fresh.state_dict()
    generations.save(plan.job.state_directory, tensors, {**rest_at(7), "evaluated": 5})
    wrong = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    last = next(name for name in reversed(list(wrong)) if name.startswith("network."))
    wrong[last] = torch.zeros(1)
    generations.save(plan.job.state_directory, wrong, rest_at(8))
    taken_up, damaged = plan.take_up(plan.begin_counting())
    assert damaged == 1
    assert (taken_up.step, taken_up.evaluated) == (7, 5)
    for name, weight in fresh.network.state_dict().items():
        assert torch.equal(taken_up.network.state_dict()[name], weight), name


def test_a_model_to_continue_from_gives_its_sizes(
    make_job: MakeJob, store: JobStore, toy_corpus: str, settings: WorkerSettings, queue: Queue
) -> None:
    attempt.run(make_job("first", max_steps=1).id)
    options = {"init_from": "first", "max_steps": 1, "dropout": 0.3, "tokens": "characters"}
    job, _ = store.create("second", toy_corpus, options, None)
    plan = prepared(job, settings, queue)
    models = Registry(settings.data.models)
    origin = models.load("first", models.resolve(Reference("first")))
    config = plan.plan.config
    assert (config.num_layers, config.hidden_size, config.dropout) == (2, 16, 0.3)
    weights = plan.take_up(plan.begin_counting())[0].network.state_dict()
    for name, weight in origin.weights.items():
        assert torch.equal(weights[name], torch.from_numpy(weight)), name

    shutil.rmtree(settings.data.models / "first")
    with pytest.raises(Failure, match="The model to continue from cannot be read"):
        plan.take_up(plan.begin_counting())
    (job.directory / "plan.json").unlink()
    with pytest.raises(Failure, match="The model to continue from cannot be read") as failure:
        prepared(job, settings, queue)
    assert failure.value.error["detail"] == "It may have been deleted."


def test_a_model_to_continue_from_must_have_the_corpuss_vocabulary(
    make_job: MakeJob, store: JobStore, settings: WorkerSettings, queue: Queue
) -> None:
    attempt.run(make_job("first", max_steps=1).id)
    corpora = CorpusStore(settings.data.corpora)
    with corpora.upload() as upload:
        upload.write(b"abcdefgh\n" * 100)
        corpus_id, _ = corpora.add(upload, "characters")
    options = {"init_from": "first", "max_steps": 1, "tokens": "characters"}
    job, _ = store.create("second", corpus_id, options, None)
    plan = prepared(job, settings, queue)
    with pytest.raises(Failure, match="has another vocabulary"):
        plan.take_up(plan.begin_counting())


@pytest.mark.parametrize(
    "left", [b"", b"[]", b"[" * 100_000, b'{"asked": {}, "plan": {}, "init_from": null}']
)
def test_a_plan_that_is_damaged_is_made_again_unless_a_state_needs_it(
    left: bytes, make_job: MakeJob, settings: WorkerSettings, queue: Queue
) -> None:
    job = make_job(num_layers=1, hidden_size=8, max_steps=2, evaluate_every=1)
    (job.directory / "plan.json").write_bytes(left)
    assert prepared(job, settings, queue).plan.config.hidden_size == 8
    generations.save(job.state_directory, {}, rest_at(1))
    (job.directory / "plan.json").write_bytes(left)
    with pytest.raises(Failure, match="The plan of the job is damaged"):
        prepared(job, settings, queue)


# Damaged corpora


def spoil(path: Path) -> None:
    """Flips a bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [halve, spoil, empty, Path.unlink])
def test_a_damaged_text_is_not_trained_on(
    damage: Callable[[Path], None], make_job: MakeJob, settings: WorkerSettings, toy_corpus: str
) -> None:
    damage(settings.data.corpora / toy_corpus / "original")
    job = make_job(max_steps=1)
    attempt.run(job.id)
    assert job.status() == "failed"
    assert error_of(job)["title"] == "The corpus is damaged"
    assert error_of(job)["detail"] == "Upload it again and resume the job."


@pytest.mark.parametrize("damage", [halve, spoil, empty, Path.unlink])
@pytest.mark.parametrize("name", ["characters.ids", "characters.json", "characters.sha256"])
def test_what_was_made_from_a_text_is_made_again(
    name: str,
    damage: Callable[[Path], None],
    make_job: MakeJob,
    settings: WorkerSettings,
    toy_corpus: str,
    queue: Queue,
) -> None:
    prepared(make_job("first"), settings, queue)
    directory = settings.data.corpora / toy_corpus
    sound = {part.name: part.read_bytes() for part in directory.glob("characters.*")}
    damage(directory / name)
    assert prepared(make_job("second"), settings, queue).corpus.train.tolist()
    assert {part.name: part.read_bytes() for part in directory.glob("characters.*")} == sound
