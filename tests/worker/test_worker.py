"""A real worker: killed, told to stop, cut off, lied to. The job comes to its end."""

import errno
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import torch
from rq import Callback
from rq import Queue as RQQueue
from rq.job import Job as RQJob
from rq.job import Retry

from app.supervisor.valkey import EmbeddedRedis
from models.checkpoints.reference import NoNGram, Reference
from models.checkpoints.registry import Registry
from models.inside import cells, results
from models.inside.cells import find_cells
from models.inside.results import read_cells
from models.ngram import NGram
from models.text.vocab import Vocabulary
from models.training.trainer import Diverged, Trainer
from tests.serving import eventually
from tests.support import (
    TOY,
    MakeJob,
    StartWorker,
    WorkerProcess,
    all_events,
    events_until,
    is_alive,
)
from worker.corpora import CorpusStore
from worker.devices import DeviceStore, machine_memory
from worker.events import JobEvent
from worker.jobs import Job, JobStore
from worker.queue import NAME, Queue
from worker.reconciler import Reconciler
from worker.settings import Settings
from worker.trainer import attempt, baseline, device, generations, publisher, session, stop

LONG = {"max_steps": 1_000_000, "evaluate_every": 1_000_000, "sample_at": []}
"""Options of a job that nobody waits for the end of."""


def is_at(step: int) -> Any:
    return lambda event: event.event in ("progress", "evaluation") and event.data["step"] >= step


def evaluation_at(step: int) -> Any:
    return lambda event: event.event == "evaluation" and event.data["step"] >= step


def last_id(job: Job) -> int:
    return max((event.id for event in job.events()), default=0)


def kill_horse(horse: int) -> None:
    os.kill(horse, signal.SIGKILL)
    wait_for_death(horse)


def wait_for_death(pid: int) -> None:
    deadline = time.monotonic() + 1
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def last_by_step(events: list[JobEvent], kind: str) -> dict[int, dict[str, Any]]:
    return {event.data["step"]: event.data for event in events if event.event == kind}


def state(job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    return next(generations.load(job.state_directory))


def assert_same_training(job: Job, undisturbed: Job, queue: Queue) -> None:
    """Bit by bit: weights, moments, carried state, random numbers, and the whole loss curve."""
    tensors, rest = state(job)
    expected_tensors, expected_rest = state(undisturbed)
    assert tensors.keys() == expected_tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, expected_tensors[name]), name
    assert rest | {"elapsed": 0} == expected_rest | {"elapsed": 0}
    events, expected = all_events(queue, job), all_events(queue, undisturbed)
    assert last_by_step(events, "evaluation") == last_by_step(expected, "evaluation")
    assert last_by_step(events, "sample") == last_by_step(expected, "sample")
    assert history(job) == history(undisturbed)


def history(job: Job) -> list[dict[str, Any]]:
    """What its checkpoint tells that does not depend on when somebody looked."""
    settings = Settings.from_environment()
    lines = Registry(settings.data.models).history(Reference(job.model))
    return [line for line in lines if line.get("val_loss") is not None or "text" in line]


@pytest.fixture
def worker(start_worker: StartWorker) -> WorkerProcess:
    return start_worker()


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("own-redis")) as server:
        yield server


# To the end


@pytest.mark.usefixtures("worker")
def test_a_worker_trains_a_job_to_its_end(make_job: MakeJob, queue: Queue, data: Path) -> None:
    job = make_job("bottles", max_steps=120, evaluate_every=50, sample_prime="10 ", seed=3)
    queue.enqueue(job.id)
    events = all_events(queue, job)

    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert events == job.events()
    assert events[-1].event == "end"
    assert events[-1].data == {"status": "finished", "error": None}
    evaluations = [event.data for event in events if event.event == "evaluation"]
    assert [evaluation["step"] for evaluation in evaluations] == [50, 100, 120]
    assert evaluations[-1]["val_loss"] < evaluations[0]["val_loss"] < math.log(40)
    (sample,) = (event.data for event in events if event.event == "sample")
    assert sample["step"] == 100
    assert sample["text"].startswith("10 ")

    view = job.view()
    assert view["status"] == "finished"
    assert view["options"]["hidden_size"] == 16
    assert view["options"]["sample_prime"] == "10 "
    assert view["device"].startswith("CPU")
    assert view["started_at"] < view["finished_at"]
    progress = view["progress"]
    assert progress["step"] == progress["max_steps"] == 120
    assert progress["val_loss"] == evaluations[-1]["val_loss"]
    assert progress["bpc"] == pytest.approx(progress["val_loss"] / math.log(2))

    registry = Registry(data / "models")
    digest = registry.resolve(Reference("bottles"))
    checkpoint = registry.load("bottles", digest)
    assert checkpoint.card["job_id"] == job.id
    assert checkpoint.card["val_loss"] == min(e["val_loss"] for e in evaluations)
    losses = checkpoint.card["precision"]
    assert losses["exact"] == checkpoint.card["val_loss"]
    assert 0 < abs(losses["fast"] - losses["exact"]) < 0.05
    assert checkpoint.card["corpus"]["characters"] == len(TOY)
    assert checkpoint.validation.decode() == TOY[-round(0.1 * len(TOY)) :]
    assert [e.data["digest"] for e in events if e.event == "checkpoint"][-1] == digest
    steps = [line["step"] for line in checkpoint.history if "train_loss" in line]
    assert steps == sorted(set(steps))
    assert {50, 100, 120} <= set(steps)
    assert {"step": 100, "temperature": 1.0, "text": sample["text"]} in checkpoint.history


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
    assert job.view()["progress"]["step"] == 50


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
    assert job.view()["error"]["title"] == "Not enough memory"
    assert "hidden_size" in job.view()["error"]["detail"]


def test_what_was_latest_stays_under_its_jobs_id(make_job: MakeJob, settings: Settings) -> None:
    registry = Registry(settings.data.models)
    first = make_job()
    attempt.run(first.id)
    of_first = registry.resolve(Reference("toy"))
    second = make_job(seed=1)
    attempt.run(second.id)
    assert registry.entry(Reference("toy")).card["job_id"] == second.id
    assert registry.resolve(Reference("toy", first.id)) == of_first


def test_training_goes_on_from_another_model(make_job: MakeJob, settings: Settings) -> None:
    first = make_job("first", max_steps=200, evaluate_every=100, sample_at=[])
    attempt.run(first.id)
    second = make_job("second", max_steps=1, init_from="first", learning_rate=1e-6)
    plan = json.loads((second.directory / "plan.json").read_bytes())
    plan["init_from"] = Registry(settings.data.models).resolve(Reference("first"))
    (second.directory / "plan.json").write_text(json.dumps(plan))
    attempt.run(second.id)
    losses = [job.view()["progress"]["val_loss"] for job in (first, second)]
    assert losses[1] == pytest.approx(losses[0], abs=0.01)


@pytest.mark.usefixtures("worker")
def test_a_finished_job_that_comes_again_does_nothing(make_job: MakeJob, queue: Queue) -> None:
    job = make_job()
    queue.enqueue(job.id)
    events, result = all_events(queue, job), job.result()
    queue.forget(job.id)
    assert queue.enqueue(job.id)
    following = make_job("other")
    queue.enqueue(following.id)
    all_events(queue, following)
    assert job.events() == events
    assert job.result() == result


def test_a_worker_starts_with_what_the_queue_has_lost(
    make_job: MakeJob, queue: Queue, start_worker: StartWorker
) -> None:
    job = make_job()
    start_worker()
    assert all_events(queue, job)[-1].data["status"] == "finished"


# What it leaves


@pytest.mark.usefixtures("worker")
def test_the_cells_of_the_best_checkpoint_are_looked_into(
    make_job: MakeJob, queue: Queue, data: Path
) -> None:
    job = make_job(max_steps=60, evaluate_every=20)
    queue.enqueue(job.id)
    checkpoints = [event for event in all_events(queue, job) if event.event == "checkpoint"]
    registry = Registry(data / "models")
    digests = {event.data["digest"] for event in checkpoints}
    best = registry.entry(Reference("toy")).digest
    found = eventually(lambda: read_cells(registry, "toy", best), 30)
    assert found == find_cells(registry.load("toy", best))
    assert len(digests) > 1
    assert not any(read_cells(registry, "toy", digest) for digest in digests - {best})


def test_an_ended_job_is_ended_whatever_comes_of_its_cells(
    make_job: MakeJob, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    status: list[str] = []

    def failing(*_: Any) -> None:
        status.append(job.status())
        raise MemoryError

    monkeypatch.setattr(results, "find_cells", failing)
    job = make_job()
    assert attempt.run(job.id) is None
    assert status == ["finished"]
    assert job.status() == "finished"
    assert Registry(settings.data.models).entry(Reference("toy")).card["job_id"] == job.id


def test_a_worker_that_shall_stop_leaves_cells_to_others(
    make_job: MakeJob, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop, "is_shutdown", lambda: job.result() is not None)
    monkeypatch.setattr(cells, "MIN_CHARACTERS", 100)
    job = make_job()
    assert attempt.run(job.id) is None
    assert job.status() == "finished"
    registry = Registry(settings.data.models)
    name, digest = "toy", registry.resolve(Reference("toy"))
    assert read_cells(registry, name, digest) is None


# Put down and taken up


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_put_down_by_sigterm_it_goes_on_bit_by_bit(
    precision: str, start_worker: StartWorker, make_job: MakeJob, queue: Queue
) -> None:
    options = {
        "max_steps": 500,
        "evaluate_every": 100,
        "sample_at": [150],
        "dropout": 0.2,
        "precision": precision,
    }
    undisturbed = make_job("undisturbed", **options)
    assert attempt.run(undisturbed.id) is None

    job = make_job("disturbed", **options)
    queue.enqueue(job.id)
    worker = start_worker()
    events_until(queue, job, is_at(200))
    began = time.monotonic()
    assert worker.terminate() == 0
    assert time.monotonic() - began < 5
    assert job.status() == "queued"
    assert queue.waiting() == [job.id]
    stopped_at = state(job)[1]["step"]
    assert 200 <= stopped_at < 500

    start_worker()
    assert all_events(queue, job)[-1].data["status"] == "finished"
    assert_same_training(job, undisturbed, queue)


def test_killed_with_its_worker_it_goes_on_bit_by_bit(
    start_worker: StartWorker, make_job: MakeJob, queue: Queue
) -> None:
    options = {"max_steps": 500, "evaluate_every": 100, "sample_at": [150], "dropout": 0.2}
    undisturbed = make_job("undisturbed", **options)
    assert attempt.run(undisturbed.id) is None

    job = make_job("disturbed", **options)
    queue.enqueue(job.id)
    worker = start_worker()
    events_until(queue, job, evaluation_at(200))
    (horse,) = worker.horses()
    worker.kill()
    wait_for_death(horse)
    # The kernel closes a dead process's files when the last of its threads is gone.
    with job.lock(patience=5) as released:
        assert released

    start_worker()
    events_until(queue, job, is_at(1), after=last_id(job))
    assert all_events(queue, job)[-1].data["status"] == "finished"
    assert_same_training(job, undisturbed, queue)


def test_a_killed_horse_is_replaced_at_once(
    worker: WorkerProcess, make_job: MakeJob, queue: Queue
) -> None:
    job = make_job(**LONG)
    queue.enqueue(job.id)
    events_until(queue, job, is_at(1))
    (horse,) = worker.horses()
    kill_horse(horse)
    events_until(queue, job, is_at(1), after=last_id(job))
    assert worker.horses() != [horse]
    assert job.status() == "running"
    job.request_cancel()
    all_events(queue, job)


def test_a_job_that_kills_its_horse_thrice_in_one_place_has_failed(
    worker: WorkerProcess, make_job: MakeJob, queue: Queue
) -> None:
    job = make_job(**LONG)
    queue.enqueue(job.id)
    for _ in range(3):
        events_until(queue, job, is_at(1), after=last_id(job))
        (horse,) = worker.horses()
        kill_horse(horse)
    end = all_events(queue, job)[-1]
    assert end.data["status"] == "failed"
    assert end.data["error"]["title"] == "The training process was killed"


@pytest.mark.usefixtures("settings")
def test_the_newer_state_may_be_damaged(make_job: MakeJob, store: JobStore) -> None:
    job = make_job(max_steps=40, evaluate_every=20)
    attempt.run(job.id)
    older, newer = sorted(job.state_directory.iterdir())
    tensors = newer / "tensors.safetensors"
    damaged = bytearray(tensors.read_bytes())
    damaged[-100] ^= 1
    tensors.write_bytes(damaged)
    assert state(job)[1]["step"] == 20
    (older / "rest.json").write_text("{")
    assert list(generations.load(job.state_directory)) == []
    job = store.resume(job.id, {})
    assert attempt.run(job.id) is None
    assert job.status() == "finished"


# Stopped by clients


@pytest.mark.usefixtures("worker")
def test_a_cancel_ends_a_running_job_within_two_seconds(
    make_job: MakeJob, queue: Queue, store: JobStore
) -> None:
    job = make_job(**LONG)
    queue.enqueue(job.id)
    events_until(queue, job, is_at(1))
    began = time.monotonic()
    assert job.request_cancel() is None
    end = all_events(queue, job)[-1]
    assert time.monotonic() - began < 2
    assert end.data == {"status": "cancelled", "error": None}
    assert job.status() == "cancelled"

    # It can go on from there, and the worker is free for others.
    step = state(job)[1]["step"]
    job = store.resume(job.id, {})
    queue.enqueue(job.id)
    (progress,) = events_until(queue, job, is_at(1), after=end.id)
    assert progress.data["step"] == step + 1
    job.request_cancel()
    all_events(queue, job)


@pytest.mark.usefixtures("worker")
def test_a_cancel_need_not_wait_for_the_first_step(make_job: MakeJob, queue: Queue) -> None:
    job = make_job(**LONG)
    queue.enqueue(job.id)
    while not job.is_locked():
        time.sleep(0.005)
    began = time.monotonic()
    job.request_cancel()
    assert [event.event for event in all_events(queue, job)] == ["end"]
    assert time.monotonic() - began < 2


@pytest.mark.usefixtures("settings")
def test_a_cancel_interrupts_what_does_not_look(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(max_steps=40, evaluate_every=20)

    def endless(*_arguments: object) -> float:
        job.request_cancel()
        while True:
            time.sleep(0.01)

    monkeypatch.setattr("models.training.trainer.evaluate", endless)
    began = time.monotonic()
    assert attempt.run(job.id) is None
    assert time.monotonic() - began < 3
    assert job.status() == "cancelled"


# Cut off


def test_an_outage_of_redis_is_none_of_training(
    own_redis: EmbeddedRedis,
    make_job: MakeJob,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHARLOOM_REDIS_URL", own_redis.url)
    queue = Queue(own_redis.url)
    job = make_job(**LONG)
    queue.enqueue(job.id)
    worker = start_worker()
    seen = events_until(queue, job, is_at(1))
    (horse,) = worker.horses()
    assert own_redis.process
    own_redis.process.kill()
    own_redis.process.wait()
    # Longer than the worker leaves between two heartbeats.
    later = seen[-1].data["elapsed_seconds"] + 6
    during = events_until(queue, job, lambda e: e.data.get("elapsed_seconds", 0) > later)
    assert worker.horses() == [horse]
    own_redis.start()
    events_until(queue, job, is_at(1), after=during[-1].id)
    assert worker.horses() == [horse]
    job.request_cancel()
    assert all_events(queue, job)[-1].data["status"] == "cancelled"
    following = make_job("other")
    queue.enqueue(following.id)
    assert all_events(queue, following)[-1].data["status"] == "finished"


def test_a_redis_that_forgets_everything_takes_no_job_along(
    worker: WorkerProcess, make_job: MakeJob, queue: Queue, store: JobStore, redis_url: str
) -> None:
    running, waiting = make_job(**LONG), make_job("other")
    queue.enqueue(running.id)
    seen = events_until(queue, running, is_at(1))
    horses = worker.horses()
    queue.enqueue(waiting.id)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    assert Reconciler(queue, store).reconcile(0) == [waiting.id]
    events_until(queue, running, is_at(1), after=seen[-1].id)
    assert worker.horses() == horses
    running.request_cancel()
    all_events(queue, running)
    assert all_events(queue, waiting)[-1].data["status"] == "finished"


@pytest.mark.usefixtures("settings")
def test_a_full_disk_pauses_a_job_until_there_is_room(
    make_job: MakeJob,
    store: JobStore,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = make_job(max_steps=40, evaluate_every=20)

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(session.generations, "save", full)
        assert attempt.run(job.id) is None
    view = job.view()
    assert view["status"] == "paused"
    assert view["error"]["title"] == "The disk is full"
    assert Reconciler(queue, store).reconcile(0) == [job.id]
    assert attempt.run(job.id) is None
    assert job.view()["status"] == "finished"
    assert job.view()["error"] is None


# What can't be trained


def test_an_unforeseen_error_is_tried_thrice_and_told_without_paths(
    make_job: MakeJob, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()

    def broken(*_arguments: object) -> None:
        raise RuntimeError(f"in {settings.data.root}")

    monkeypatch.setattr(session, "train", broken)
    assert isinstance(attempt.run(job.id), Retry)
    assert isinstance(attempt.run(job.id), Retry)
    assert attempt.run(job.id) is None
    error = job.view()["error"]
    assert job.status() == "failed"
    assert error["title"] == "Training failed"
    assert str(settings.data.root) not in json.dumps(error)


@pytest.mark.usefixtures("settings")
def test_attempts_that_get_further_do_not_count(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(max_steps=40, evaluate_every=20)
    rest = {"step": 0}

    def broken(*_arguments: object) -> None:
        rest["step"] += 1
        generations.save(job.state_directory, {}, rest)
        raise MemoryError

    monkeypatch.setattr(session, "train", broken)
    for _ in range(5):
        assert isinstance(attempt.run(job.id), Retry)
    monkeypatch.setattr(session, "train", lambda *_: (_ for _ in ()).throw(MemoryError))
    assert isinstance(attempt.run(job.id), Retry)
    assert attempt.run(job.id) is None
    assert job.view()["error"]["title"] == "Not enough memory"


def notices(events: list[JobEvent], code: str) -> list[dict[str, Any]]:
    return [e.data for e in events if e.event == "notice" and e.data["code"] == code]


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("learning_rate", [32.0, 1e38])
def test_a_training_that_diverges_whatever_is_done_ends_with_advice(
    learning_rate: float, make_job: MakeJob
) -> None:
    """Not a number, or worse than guessing by far: three times the rate is halved."""
    job = make_job(learning_rate=learning_rate, schedule="constant", grad_clip=0.0)
    assert attempt.run(job.id) is None
    assert job.status() == "failed"
    error = job.view()["error"]
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
    assert order == [*before, *before[1:], ("evaluation", 60)]
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


# What it is compared with


def test_counting_is_what_a_network_is_compared_with(
    make_job: MakeJob, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(max_steps=20)
    attempt.run(job.id)
    told = job.view()["baseline"]
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
    assert model.loss(held_out.astype("u1")) == pytest.approx(told["val_loss"])
    card = (settings.data.models / "toy" / of / "README.md").read_text()
    assert f"n-gram baseline on the same text: {told['val_loss']:.4f}" in card

    # Once: a resume takes it up.
    monkeypatch.setattr(NGram, "fit", None)
    (job.directory / "result.json").unlink()
    attempt.run(job.id)
    assert job.view()["baseline"] == told


def test_training_does_not_wait_for_a_long_count(
    make_job: MakeJob, settings: Settings, monkeypatch: pytest.MonkeyPatch
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


def test_a_count_that_fails_is_none_of_training(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(NGram, "fit", lambda *_: (_ for _ in ()).throw(MemoryError))
    job = make_job()
    attempt.run(job.id)
    assert job.status() == "finished"
    assert job.view()["baseline"] is None
    with pytest.raises(NoNGram):
        Registry(settings.data.models).ngram("toy")


def test_what_a_model_has_by_heart_is_told_at_the_end(
    make_job: MakeJob, settings: Settings
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
    assert 0 <= found["novel_line_share"] <= 1
    assert "longest_text" not in found
    readme = (settings.data.models / "toy" / entry.digest / "README.md").read_text()
    assert f"word for word: {found['longest']}" in readme
    # The last checkpoint is the whole story.
    assert history(job)[-1]["step"] == 300
    assert job.events()[-2].data["digest"] == entry.digest


def test_a_corpus_that_is_gone_ends_the_job(
    make_job: MakeJob, settings: Settings, toy_corpus: str
) -> None:
    job = make_job()
    (settings.data.corpora / toy_corpus).rename(settings.data.corpora / ".gone")
    assert attempt.run(job.id) is None
    assert job.view()["error"]["title"] == "The corpus is gone"


# Lied to


def test_a_function_of_somebody_elses_is_refused(
    worker: WorkerProcess, make_job: MakeJob, queue: Queue, redis_url: str, tmp_path: Path
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        foreign = RQQueue(NAME, connection=client, serializer="json")
        files = [tmp_path / name for name in ("function", "callback")]
        refused = foreign.enqueue("os.system", f"touch {files[0]}")
        job = make_job()
        foreign.enqueue_call(
            attempt.__name__ + ".run",
            args=(job.id,),
            job_id=job.id,
            on_success=Callback("os.system"),
            on_failure=Callback("subprocess.getoutput"),
            description=f"touch {files[1]}",
        )
        assert all_events(queue, job)[-1].data["status"] == "finished"
        refused = RQJob.fetch(refused.id, connection=client, serializer="json")
        assert refused.is_failed
    assert not [file for file in files if file.exists()]
    assert "os.system is not a function of this worker" in worker.said()


@pytest.mark.usefixtures("worker")
def test_a_pickle_is_not_opened(
    make_job: MakeJob, queue: Queue, redis_url: str, tmp_path: Path
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        foreign = RQQueue(NAME, connection=client, serializer="pickle")
        foreign.enqueue("os.system", f"touch {tmp_path / 'pickled'}")
        job = make_job()
        queue.enqueue(job.id)
        assert all_events(queue, job)[-1].data["status"] == "finished"
    assert not (tmp_path / "pickled").exists()


def test_the_worker_is_light_and_nice(
    worker: WorkerProcess, make_job: MakeJob, queue: Queue
) -> None:
    job = make_job()
    queue.enqueue(job.id)
    all_events(queue, job)
    assert "libtorch" not in Path(f"/proc/{worker.pid}/maps").read_text()
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) >= 10


def test_nobody_sees_the_address_of_redis_among_the_processes(
    worker: WorkerProcess, make_job: MakeJob, queue: Queue, redis_url: str
) -> None:
    job = make_job(**LONG)
    queue.enqueue(job.id)
    events_until(queue, job, is_at(1))
    for pid in (worker.pid, *worker.horses()):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert redis_url.removeprefix("unix://").encode() not in command
    job.request_cancel()
    all_events(queue, job)


# Small parts


def test_a_sample_leaves_out_of_its_prime_what_it_has_never_seen() -> None:
    from models.config import NetworkConfig
    from models.training.trainer import new_network

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
    assert publisher.validation_text(corpus) == b"\xffA\n" * 4
