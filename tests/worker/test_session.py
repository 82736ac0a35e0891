"""A job is trained to its end; training that diverges is rolled back."""

import gc
import math
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.training.beginning import new_network
from models.training.network import CharNetwork
from models.training.trainer import Diverged, Trainer
from tests.support import TOY, MakeJob, all_events
from tests.training import error_of, history, notices, progress_of, state
from worker.jobs import Job, JobStore
from worker.queue import Queue
from worker.trainer import attempt
from worker.trainer.publisher import Publisher


@pytest.mark.usefixtures("worker")
def test_a_worker_trains_a_job_to_its_end(make_job: MakeJob, queue: Queue, data: Path) -> None:
    asked = {"max_steps": 120, "evaluate_every": 50, "sample_at": [100], "sample_prime": "10 "}
    job = make_job("bottles", **asked, seed=3)
    queue.enqueue(job.id)
    events = all_events(queue, job)

    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert events == job.events()
    assert events[-1].event == "end"
    assert events[-1].data == {"status": "finished", "error": None}
    evaluations = [event.data for event in events if event.event == "evaluation"]
    assert [evaluation["step"] for evaluation in evaluations] == [50, 100, 120]
    assert evaluations[-1]["val_loss"] < evaluations[0]["val_loss"] < math.log(40)
    samples = [event.data for event in events if event.event == "sample"]
    assert [sample["step"] for sample in samples] == [0, 100, 120]
    assert all(sample["text"].startswith("10 ") for sample in samples)

    view = job.view()
    assert view["status"] == "finished"
    assert view["options"]["hidden_size"] == 16
    assert view["options"]["sample_prime"] == "10 "
    assert view["device"] and view["device"].startswith("CPU")
    assert view["started_at"] and view["finished_at"]
    assert view["started_at"] < view["finished_at"]
    progress = progress_of(job)
    assert progress["step"] == progress["max_steps"] == 120
    assert progress["val_loss"] == evaluations[-1]["val_loss"]
    assert progress["bpc"] == pytest.approx(evaluations[-1]["val_loss"] / math.log(2))

    registry = Registry(data / "models")
    digest = registry.resolve(Reference("bottles"))
    checkpoint = registry.load("bottles", digest)
    assert checkpoint.card["job_id"] == job.id
    assert checkpoint.card["val_loss"] == min(e["val_loss"] for e in evaluations)
    losses = checkpoint.card["precision"]
    assert losses["exact"] == checkpoint.card["val_loss"]
    assert losses["fast"] and losses["exact"]
    assert 0 < abs(losses["fast"] - losses["exact"]) < 0.05
    assert checkpoint.card["corpus"]["characters"] == len(TOY)
    assert checkpoint.validation.decode() == TOY[-round(0.1 * len(TOY)) :]
    assert [e.data["digest"] for e in events if e.event == "checkpoint"][-1] == digest
    steps = [line["step"] for line in checkpoint.history if "train_loss" in line]
    assert steps == sorted(set(steps))
    assert {50, 100, 120} <= set(steps)
    assert [line for line in checkpoint.history if "text" in line] == samples


def samples_of(job: Job) -> list[int]:
    """The steps at which a job drew samples."""
    return [event.data["step"] for event in job.events() if event.event == "sample"]


@pytest.mark.usefixtures("settings")
def test_the_first_and_the_last_sample_are_drawn_once(
    make_job: MakeJob, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends the process before or after them, and of a resume's end again."""

    def end(*_: object) -> None:
        raise RuntimeError("the process ends here")

    def only_until_the_end(_: Publisher, __: CharNetwork, step: int) -> None:
        if step > 20:
            end()

    job = make_job(max_steps=30, sample_at=[20], ngram_orders=3, ngram_buckets=1 << 12)
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "run", end)
        attempt.run(job.id)
    assert samples_of(job) == [0]
    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "draw_sample", only_until_the_end)
        attempt.run(job.id)
    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "examine_memory", end)
        attempt.run(job.id)
    assert samples_of(job) == [0, 30]
    attempt.run(job.id)
    assert job.status() == "finished"
    assert samples_of(job) == [0, 30]
    store.resume(job.id, {"max_steps": 40})
    attempt.run(job.id)
    assert samples_of(job) == [0, 30, 40]


@pytest.mark.usefixtures("settings")
def test_the_first_sample_knows_nothing(make_job: MakeJob) -> None:
    """It is of the network, not of the counts beside it."""
    asked = {"max_steps": 20, "sample_at": [20]}
    job = make_job("bottles", **asked, ngram_orders=5, ngram_buckets=1 << 14)
    attempt.run(job.id)
    first, last = (event.data["text"] for event in job.events() if event.event == "sample")
    assert "the wall" not in first and "the wall" in last
    # But where it continues from a model, it is of that.
    job = make_job("more", **asked, init_from="bottles", hidden_size=16)
    (job.directory / "plan.json").unlink()
    attempt.run(job.id)
    texts = [event.data["text"] for event in job.events() if event.event == "sample"]
    assert "the wall" in texts[0]


@pytest.mark.usefixtures("settings")
def test_who_asks_for_no_samples_gets_none(make_job: MakeJob) -> None:
    job = make_job(max_steps=20, sample_at=[])
    attempt.run(job.id)
    assert job.status() == "finished"
    assert samples_of(job) == []


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("learning_rate", [32.0, 1e38])
def test_a_training_that_diverges_whatever_is_done_ends_with_advice(
    learning_rate: float, make_job: MakeJob
) -> None:
    """Not a number, or worse than guessing by far: three times the rate is halved."""
    job = make_job(learning_rate=learning_rate, schedule="constant", grad_clip=0.0)
    assert attempt.run(job.id) is None
    assert job.status() == "failed"
    error = error_of(job)
    assert error["title"] == "Training diverged"
    assert "learning_rate" in error["detail"]
    told = notices(job.events(), "diverged")
    assert len(told) == 3
    assert all("half the rate" in notice["text"] for notice in told)


@pytest.mark.usefixtures("settings")
def test_a_rate_that_is_too_high_is_halved_until_it_is_not(make_job: MakeJob) -> None:
    job = make_job(learning_rate=8.0, schedule="constant", grad_clip=0.0)
    assert attempt.run(job.id) is None
    assert job.status() == "finished"
    events = job.events()
    assert [notice["step"] for notice in notices(events, "diverged")] == [0, 0]
    rates = [e.data["learning_rate"] for e in events if e.event == "progress"]
    assert list(dict.fromkeys(rates)) == [8.0, 4.0, 2.0]


@pytest.mark.usefixtures("settings")
def test_training_that_diverges_later_goes_back_a_generation(
    make_job: MakeJob, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the one before the last, which may hold the beginning of it; what was then is undone."""
    check = Trainer._check_smoothed

    def explode(trainer: Trainer) -> None:
        if trainer.step == 50 and trainer.rate_factor == 1:
            raise Diverged("the loss had risen from 2.00 to 9.00 at step 50")
        check(trainer)

    monkeypatch.setattr(Trainer, "_check_smoothed", explode)
    options: dict[str, Any] = {"max_steps": 60, "evaluate_every": 20, "sample_at": [45]}
    job = make_job(schedule="constant", learning_rate=0.01, **options)
    attempt.run(job.id)
    assert job.status() == "finished"
    (notice,) = notices(job.events(), "diverged")
    assert notice["step"] == 20
    assert "9.00 at step 50: back to step 20" in notice["text"]
    order = [(e.event, e.data["step"]) for e in job.events() if e.event in ("sample", "evaluation")]
    before = [("evaluation", 20), ("evaluation", 40), ("sample", 45)]
    assert order == [("sample", 0), *before, *before[1:], ("evaluation", 60), ("sample", 60)]
    assert state(job)[1]["rate_factor"] == 0.5

    # What went wrong is not in the history that a resume takes up.
    first, second = (
        e.data["val_loss"] for e in job.events() if e.event == "evaluation" and e.data["step"] == 40
    )
    assert first != second
    store.resume(job.id, {"max_steps": 61})
    attempt.run(job.id)
    losses = {p["step"]: p["val_loss"] for p in history(job) if "val_loss" in p}
    assert losses[40] == second


@pytest.mark.usefixtures("settings")
def test_a_network_that_diverged_is_freed_before_the_next_is_made(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[CharNetwork]] = []
    alive: list[int] = []

    def counted(*values: Any) -> CharNetwork:
        alive.append(sum(network() is not None for network in made))
        network = new_network(*values)
        made.append(weakref.ref(network))
        return network

    monkeypatch.setattr("models.training.beginning.new_network", counted)
    job = make_job(learning_rate=8.0, schedule="constant", grad_clip=0.0)
    gc.collect()
    gc.disable()
    try:
        attempt.run(job.id)
    finally:
        gc.enable()
    assert len(notices(job.events(), "diverged")) == 2
    assert alive == [0, 0, 0]


@pytest.mark.usefixtures("settings")
def test_rollbacks_are_counted_over_all_attempts(make_job: MakeJob, store: JobStore) -> None:
    """By the rate, which the state keeps."""
    job = make_job(learning_rate=1e38, schedule="constant", grad_clip=0.0)
    attempt.run(job.id)
    assert len(notices(job.events(), "diverged")) == 3
    store.resume(job.id, {})
    attempt.run(job.id)
    assert job.status() == "failed"
    assert "even after the rate was halved 3 times" in error_of(job)["detail"]
    assert len(notices(job.events(), "diverged")) == 3


# Damaged states


def spoil(generation: Path) -> None:
    path = generation / "tensors.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def clear(generation: Path) -> None:
    (generation / "rest.json").write_bytes(b"")


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("damage", [spoil, clear])
def test_a_resume_from_an_older_state_is_told(
    damage: Callable[[Path], None], make_job: MakeJob, store: JobStore
) -> None:
    job = make_job(max_steps=60, evaluate_every=20)
    attempt.run(job.id)
    damage(max(job.state_directory.iterdir()))
    attempt.run(store.resume(job.id, {}).id)
    assert job.status() == "finished"
    (notice,) = notices(job.events(), "state_damaged")
    assert notice["text"] == "the newest saved state is damaged: training resumes from step 40"


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("CUDA error: unspecified launch failure", "The GPU failed"),
        ("CUDA out of memory. Tried to allocate 2.00 GiB", "Not enough memory"),
    ],
)
def test_a_state_is_sound_that_a_device_cannot_take_up_now(
    make_job: MakeJob, store: JobStore, monkeypatch: pytest.MonkeyPatch, words: str, title: str
) -> None:
    job = make_job()
    attempt.run(job.id)
    store.resume(job.id, {"max_steps": 60})

    def fails(*_: Any) -> None:
        raise RuntimeError(words)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "load_state_dict", fails)
        attempt.run(job.id)
        attempt.run(job.id)
        assert error_of(job)["title"] == title
    attempt.run(job.id)
    assert progress_of(job)["step"] == 60
    assert notices(job.events(), "state_lost") == []


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("damage", [spoil, clear, shutil.rmtree])
def test_a_training_that_starts_over_is_told_and_takes_no_better_model(
    damage: Callable[[Path], None], make_job: MakeJob, store: JobStore, data: Path
) -> None:
    job = make_job(max_steps=60, evaluate_every=20, keep_snapshots=[10])
    attempt.run(job.id)
    registry = Registry(data / "models")
    loss = registry.entry(Reference("toy")).card["val_loss"]
    assert loss is not None
    for generation in list(job.state_directory.iterdir()):
        damage(generation)
    before = len(job.events())
    attempt.run(store.resume(job.id, {}).id)
    assert job.status() == "finished"
    (notice,) = notices(job.events(), "state_lost")
    assert "training starts over; the model it published stays until it is beaten" in notice["text"]
    events = job.events()[before - 1 :]
    assert [e.data["step"] for e in events if e.event == "evaluation"] == [20, 40, 60]
    published = [e.data for e in events if e.event == "checkpoint"]
    latest = [one["val_loss"] for one in published if one["model"] == "toy:latest"]
    # Bit for bit the same training: it reaches the loss again, and publishes nothing worse.
    assert latest and all(one == loss for one in latest)
    assert registry.entry(Reference("toy")).card["val_loss"] == loss


@pytest.mark.usefixtures("settings")
def test_a_record_that_is_gone_is_told(make_job: MakeJob, store: JobStore) -> None:
    job = make_job(max_steps=40, evaluate_every=20)
    attempt.run(job.id)
    store.resume(job.id, {"max_steps": 60})
    (job.directory / "events.jsonl").unlink()
    attempt.run(job.id)
    (notice,) = notices(job.events(), "record_lost")
    assert "it resumes from step 40 without it" in notice["text"]


@pytest.mark.usefixtures("settings")
def test_a_baseline_that_is_damaged_is_counted_again(make_job: MakeJob, store: JobStore) -> None:
    job = make_job(max_steps=40, evaluate_every=20)
    attempt.run(job.id)
    path = job.directory / "baseline.json"
    sound = path.read_bytes()
    for left in (b"", b"[1]", b'{"baseline": {"val_loss": "x"}, "ngram": 5}'):
        path.write_bytes(left)
        attempt.run(store.resume(job.id, {}).id)
        assert job.status() == "finished"
        assert path.read_bytes() == sound
