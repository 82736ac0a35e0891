"""A job's training in this process: from its spec to its last checkpoint, with all that is told
on the way.

The order of what is written is what makes a crash harmless: a checkpoint is published before the
state says that it was, an event is on disk before anybody hears of it. Knows jobs, corpora and
models; nothing of queues but whom to tell.
"""

import copy
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch

from models.checkpoints.card import Card, HistoryPoint
from models.checkpoints.format import MAX_LINES, VALIDATION_BYTES, Checkpoint
from models.checkpoints.reference import NGRAM, Reference, UnknownModel
from models.checkpoints.registry import Registry
from models.config import Weights
from models.decoding.decoder import fast_cost
from models.decoding.sampling import SampleOptions
from models.files import CheckpointError, write_durably
from models.options import TrainingOptions
from models.text.cleaning import CorpusError
from models.text.corpus import Corpus, Scan
from models.text.novelty import line_hashes
from models.text.vocab import Tokens, Vocabulary
from models.training.generate import generate
from models.training.network import CharNetwork
from models.training.planning import Plan, TooLarge, make_plan
from models.training.trainer import (
    VALIDATION_LIMIT,
    Diverged,
    Evaluation,
    Progress,
    Trainer,
    evaluate,
    new_network,
)
from models.units import bits
from worker.clock import timestamp
from worker.corpora import CorpusStore, UnknownCorpus
from worker.devices import Device, DeviceStore, machine_memory
from worker.events import EventLog, ProgressData
from worker.jobs import Job, Running
from worker.queue import Queue
from worker.settings import Settings
from worker.trainer import generations, memorisation
from worker.trainer.baseline import BaselineCount
from worker.trainer.failures import Failure
from worker.trainer.history import DIVERGED, TrainingHistory
from worker.trainer.stop import Reason, Stop

SAMPLE_AT = (100, 300, 500, 700, 1200, 2000)
"""Steps of the essay's samples."""

SAMPLE_LENGTH = 400
SAMPLE_TEMPERATURE = 0.8

PROGRESS_SECONDS, PROGRESS_SHARE = 0.5, 0.001
"""Between two progress events: seconds, or the share of the elapsed time if that is more."""

LONGEST_UNSAVED, SHORTEST_UNSAVED = 30.0, 5.0
SAVE_SHARE = 0.005
"""Seconds between two saved states, and the share of time that saving may take within these."""

MAX_ROLLBACKS = 3
"""Times that training which diverged is taken up again, each with half the rate."""

BYTES_PER_PARAMETER = 48
"""Disk that a job needs to go on: weights and moments three times, and a checkpoint as often."""


class Session:
    """One attempt at a job, whose lock the caller holds."""

    def __init__(self, job: Job, queue: Queue, settings: Settings, stop: Stop) -> None:
        self._job = job
        self._queue = queue
        self._stop = stop
        self._corpora = CorpusStore(settings.data.corpora)
        self._registry = Registry(settings.data.models)
        self._devices = DeviceStore(settings.data.devices)
        self._events = EventLog(job.directory)
        self._asked = job.spec["options"]
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._running = self._begin()

    def _begin(self) -> Running:
        before = self._job.running()
        size = self._corpora.root / self._job.spec["corpus_id"] / "original"
        running: Running = {
            "started_at": before.get("started_at") or timestamp(),
            "options": before.get("options") or self._asked,
            "device": device_name(self._device),
            "progress": before.get("progress"),
            "baseline": before.get("baseline"),
            # What encoding takes, until the network's size is known.
            "needs_bytes": 2 * size.stat().st_size if size.exists() else 0,
        }
        self._job.set_running(running)
        return running

    def run(self) -> Reason | None:
        """Trains to the end, or until told to stop: then gives the reason.

        Raises:
            Failure: the job can't be trained.
            PutDown, OSError: from anywhere; the last saved state is sound.
        """
        try:
            self._prepare()
            while True:
                try:
                    return self._train()
                except (Diverged, FloatingPointError) as error:
                    self._roll_back(error)
        except UnknownCorpus:
            raise Failure("The corpus is gone", "Upload it again and start a new job.") from None
        except CorpusError as error:
            raise Failure("The text can't be trained on", str(error)) from None

    # Before step 1

    def _prepare(self) -> None:
        spec = self._job.spec
        tokens: Tokens = "bytes" if self._asked.get("tokens") == "bytes" else "characters"
        scan = self._corpora.scan(spec["corpus_id"], tokens)
        self._plan, origin = self._decide(scan)
        self._options = {**self._asked, **self._plan.resolved}
        self._running["options"] = self._options
        self._running["needs_bytes"] = BYTES_PER_PARAMETER * self._plan.config.parameters()
        self._job.set_running(self._running)
        self._card: Card = {
            "job_id": self._job.id,
            "device": device_name(self._device),
            "options": self._options,
            "corpus": {
                "id": spec["corpus_id"],
                "bytes": scan.report.bytes,
                "characters": scan.report.characters,
                "distinct": scan.report.distinct,
                "tokens": tokens,
                "lines": scan.report.lines,
            },
            "baseline": None,
        }
        self._corpus = self._corpora.open(
            spec["corpus_id"],
            tokens,
            self._plan.validation_fraction,
            shuffle_lines=self._plan.training.shuffle_lines,
        )
        self._lines = line_hashes(self._corpus, MAX_LINES)
        self._origin = origin
        self._trainer = self._take_up(origin)
        self._read_history()
        self._samples_at = set(_steps(self._options.get("sample_at"), SAMPLE_AT))
        self._snapshots_at = set(_steps(self._options.get("keep_snapshots"), ()))
        self._begin_baseline()

    def _read_history(self) -> None:
        self._history = TrainingHistory.of(self._job.events(), self._trainer.step)
        self._val_loss = self._history.last_val_loss()

    def _decide(self, scan: Scan) -> tuple[Plan, str | None]:
        """The plan, made once and kept; and the digest of the model to go on from, if any.

        A resume may raise the limits: then only these are decided anew.
        """
        path = self._job.directory / "plan.json"
        if not path.exists():
            plan, origin = self._new_plan(scan)
        else:
            saved = json.loads(path.read_bytes())
            plan, origin = Plan.from_json(saved["plan"]), saved["init_from"]
            if saved["asked"] == self._asked:
                return plan, origin
            plan = self._raise_limits(plan, scan)
        kept = {"asked": self._asked, "plan": plan.to_json(), "init_from": origin}
        write_durably(path, json.dumps(kept).encode())
        for notice in plan.notices:
            self._tell("notice", dict(notice))
        return plan, origin

    def _new_plan(self, scan: Scan) -> tuple[Plan, str | None]:
        memory = available_memory(self._device)
        try:
            plan = make_plan(
                TrainingOptions.from_json(self._asked), scan, self._device, memory=memory
            )
        except TooLarge as error:
            raise Failure("Not enough memory", str(error)) from None
        self._record_device(plan, memory)
        asked = self._asked.get("init_from")
        if not asked:
            return plan, None
        try:
            reference = Reference.parse(asked)
            digest = self._registry.resolve(reference)
            config = self._registry.load(reference.name, digest).config
        except (UnknownModel, CheckpointError, ValueError):
            raise Failure(
                "The model to go on from can't be read", "It may have been deleted."
            ) from None
        return replace(plan, config=replace(config, dropout=plan.config.dropout)), digest

    def _record_device(self, plan: Plan, memory: int) -> None:
        """Leaves what was measured to the server, which estimates with it."""
        if plan.chars_per_second:
            work = plan.chars_per_second * plan.config.parameters()
            name = device_name(self._device)
            self._devices.record(Device(name, memory, work, timestamp()))

    def _raise_limits(self, old: Plan, scan: Scan) -> Plan:
        sizes = {k: v for k, v in old.resolved.items() if not k.startswith("max_")}
        asked = TrainingOptions.from_json({**sizes, **self._asked})
        new = make_plan(asked, scan, self._device).training
        training = replace(old.training, max_steps=new.max_steps, max_seconds=new.max_seconds)
        return replace(old, training=training, notices=[])

    def _take_up(self, origin: str | None) -> Trainer:
        """A trainer in its newest sound state, else in that of the model to go on from."""
        training = self._plan.training
        network = new_network(self._plan.config, training.seed, training.initialisation)
        trainer = Trainer(network, self._corpus, training, self._device)
        for tensors, rest in generations.load(self._job.state_directory):
            try:
                trainer.load_state_dict(tensors, rest)
            except (KeyError, RuntimeError):
                continue
            return trainer
        if origin is not None:
            network.load_state_dict(self._weights_of(origin))
        return trainer

    def _weights_of(self, digest: str) -> dict[str, torch.Tensor]:
        origin = Reference.parse(self._asked["init_from"])
        try:
            checkpoint = self._registry.load(origin.name, digest)
        except CheckpointError as error:
            raise Failure("The model to go on from can't be read", str(error)) from None
        if checkpoint.vocabulary != self._corpus.vocabulary:
            raise Failure(
                "The model to go on from has another vocabulary",
                "Its characters must be those of the corpus.",
            )
        return {name: torch.from_numpy(weight) for name, weight in checkpoint.weights.items()}

    # Training

    def _train(self) -> Reason | None:
        self._progress: Progress | None = None
        self._next_progress = 0.0
        self._saved_at = time.monotonic()
        self._save_seconds = 0.0
        self._stop.looks = True
        for happened in self._trainer.run():
            if isinstance(happened, Evaluation):
                self._evaluated(happened)
            else:
                self._stepped(happened)
            reason = self._stop.reason
            if reason:
                self._stop.acknowledge()
            if reason or isinstance(happened, Evaluation) or self._save_is_due():
                self._save()
            if reason:
                return reason
        self._finish()
        return None

    def _roll_back(self, error: ArithmeticError) -> None:
        """Goes back to the last generation but one, with half the rate, as often as it may.

        Raises:
            Failure: it was done often enough.
        """
        before = self._trainer
        factor, elapsed, best_loss = before.rate_factor / 2, before.elapsed, before.best_loss
        if factor < 2.0**-MAX_ROLLBACKS:
            raise Failure(
                "Training diverged",
                f"{error}, and so it did after {MAX_ROLLBACKS} times half the rate. Choose a lower "
                "learning_rate, a lower grad_clip, or another seed.",
            ) from None
        del self._trainer, before
        # What was saved last may hold the beginning of it.
        generations.discard_newest(self._job.state_directory)
        self._trainer = self._take_up(self._origin)
        step = self._trainer.step
        text = f"{error}: back to step {step:,}, with half the rate"
        self._tell("notice", {"code": DIVERGED, "text": text, "step": step})
        self._read_history()
        self._trainer.rate_factor = factor
        # Time is used up, and what was published stays the best.
        self._trainer.elapsed = elapsed
        self._trainer.best_loss = min(best_loss, self._trainer.best_loss)
        self._save()

    def _finish(self) -> None:
        """Adds to the checkpoint what is known at the end alone."""
        self._take_baseline(wait=True)
        self._examine_memory()

    def _stepped(self, progress: Progress) -> None:
        self._progress = progress
        if time.monotonic() >= self._next_progress:
            self._tell_progress(progress)
        step = progress.step
        every = self._options.get("sample_every")
        if step in self._samples_at or (every and step % every == 0):
            self._sample(step)
        if step in self._snapshots_at:
            held_out = self._corpus.validation[:VALIDATION_LIMIT]
            loss = evaluate(self._trainer.network, held_out)
            self._publish(f"step-{step}", step, loss)

    def _tell_progress(self, progress: Progress) -> None:
        self._take_baseline()
        train_loss = progress.train_loss
        if not math.isfinite(train_loss):
            raise Diverged(f"the loss is not a number at step {progress.step}")
        share = PROGRESS_SHARE * progress.elapsed_seconds
        self._next_progress = time.monotonic() + max(PROGRESS_SECONDS, share)
        best = self._trainer.best_loss
        data: ProgressData = {
            "step": progress.step,
            "max_steps": progress.max_steps,
            "epoch": progress.epoch,
            "train_loss": train_loss,
            "val_loss": self._val_loss,
            "best_val_loss": best if math.isfinite(best) else None,
            "bpc": _bits(self._val_loss),
            "learning_rate": progress.learning_rate,
            "chars_per_second": progress.chars_per_second,
            "elapsed_seconds": progress.elapsed_seconds,
            "eta_seconds": progress.eta_seconds,
        }
        self._history.trained(progress.step, train_loss)
        self._tell("progress", data)
        self._running["progress"] = data
        self._job.set_running(self._running)

    # What it is compared with

    def _begin_baseline(self) -> None:
        """Takes up the baseline that an earlier attempt has counted, else begins to count."""
        self._baseline: BaselineCount | None = None
        path = self._job.directory / "baseline.json"
        if path.exists():
            self._set_baseline(json.loads(path.read_bytes()))
        else:
            self._baseline = BaselineCount(self._corpus)
            self._baseline.begin()
            self._take_baseline()

    def _take_baseline(self, *, wait: bool = False) -> None:
        """Tells and keeps the baseline as soon as it is there."""
        if self._baseline is None:
            return
        if wait:
            self._baseline.wait()
        if not self._baseline.is_done:
            return
        found, self._baseline = self._baseline.result(), None
        if found is None:
            return
        model, told = found
        digest = self._registry.publish_ngram(self._job.model, model.to_bytes())
        kept: Card = {"baseline": told, "ngram": digest}
        write_durably(self._job.directory / "baseline.json", json.dumps(kept).encode())
        self._set_baseline(kept)
        text = (
            f"counting alone reaches {told['val_loss']:.4f} ({told['bpc']:.3f} bits) on the "
            f"held-out text, with an n-gram model of order {told['ngram_order']}: "
            f"{self._job.model}:{NGRAM} writes with it"
        )
        self._tell("notice", {"code": "baseline", "text": text})
        self._amend()

    def _set_baseline(self, kept: Card) -> None:
        self._card |= kept
        self._running["baseline"] = kept["baseline"]
        self._job.set_running(self._running)

    def _examine_memory(self) -> None:
        """Looks up in the corpus what the best checkpoint writes."""
        checkpoint = self._latest()
        if checkpoint is None or "memorisation" in checkpoint.card:
            return
        temperature = self._options.get("sample_temperature", SAMPLE_TEMPERATURE)
        try:
            seed = self._options["seed"]
            found = memorisation.examine(checkpoint, self._corpus, temperature, seed)
        except FloatingPointError:
            return
        self._card["memorisation"] = found.figures
        self._tell("notice", {"code": "memorisation", "text": memorisation.in_words(found)})
        self._amend()

    def _latest(self) -> Checkpoint | None:
        """The model's latest checkpoint if it is this job's."""
        try:
            entry = self._registry.entry(Reference(self._job.model))
            if entry.card.get("job_id") == self._job.id:
                return self._registry.load(self._job.model, entry.digest)
        except (UnknownModel, CheckpointError):
            pass
        return None

    def _amend(self) -> None:
        """Publishes the latest checkpoint again with what its card lacks, and all the history."""
        checkpoint = self._latest()
        if checkpoint is None:
            return
        added = {k: v for k, v in self._card.items() if k in ("baseline", "ngram", "memorisation")}
        card, history = cast(Card, checkpoint.card | added), self._history.lines()
        self._publish_as("latest", replace(checkpoint, card=card, history=history))

    # What it has learned

    def _evaluated(self, evaluation: Evaluation) -> None:
        self._val_loss = evaluation.val_loss
        self._history.evaluated(evaluation.step, evaluation.val_loss)
        self._tell(
            "evaluation",
            {
                "step": evaluation.step,
                "val_loss": evaluation.val_loss,
                "bpc": _bits(evaluation.val_loss),
                "best": evaluation.best,
            },
        )
        # There is none if the trainer was put down between a step and its evaluation.
        if self._progress:
            self._tell_progress(self._progress)
        if evaluation.best:
            self._registry.keep_latest(self._job.model, besides=self._job.id)
            self._publish("latest", evaluation.step, evaluation.val_loss)

    def _sample(self, step: int) -> None:
        network = self._trainer.network
        if self._device.type != "cpu":
            network = copy.deepcopy(network).cpu()
        temperature = self._options.get("sample_temperature", SAMPLE_TEMPERATURE)
        prime = self._options.get("sample_prime") or ""
        text = sample(network, self._corpus.vocabulary, prime, temperature, self._options["seed"])
        point: HistoryPoint = {"step": step, "temperature": temperature, "text": text}
        self._history.sampled(point)
        self._tell("sample", {**point})

    def _tell(self, event: str, data: Mapping[str, Any]) -> None:
        self._queue.events.publish(self._job.id, self._events.append(event, data))

    # What is kept

    def _save_is_due(self) -> bool:
        wanted = self._save_seconds / SAVE_SHARE
        interval = min(LONGEST_UNSAVED, max(SHORTEST_UNSAVED, wanted))
        return time.monotonic() - self._saved_at >= interval

    def _save(self) -> None:
        began = time.monotonic()
        generations.save(self._job.state_directory, *self._trainer.state_dict())
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - began

    def _publish(self, tag: str, step: int, val_loss: float) -> None:
        weights = _weights(self._trainer.network)
        cost = fast_cost(self._plan.config, weights, self._corpus.validation)
        checkpoint = Checkpoint(
            config=self._plan.config,
            vocabulary=self._corpus.vocabulary,
            weights=weights,
            card=self._card
            | {
                "val_loss": val_loss,
                "bpc": bits(val_loss),
                "precision": {
                    "exact": val_loss,
                    "fast": None if cost is None else val_loss + cost,
                },
                "step": step,
                "created_at": timestamp(),
            },
            history=self._history.lines(),
            validation=validation_text(self._corpus),
            lines=self._lines,
        )
        self._publish_as(tag, checkpoint)

    def _publish_as(self, tag: str, checkpoint: Checkpoint) -> None:
        reference = Reference(self._job.model, tag)
        data = {
            "step": checkpoint.card["step"],
            "model": reference.full,
            "digest": self._registry.publish(reference, checkpoint),
            "val_loss": checkpoint.card["val_loss"],
        }
        self._tell("checkpoint", data)


def available_memory(device: torch.device) -> int:
    """Bytes that training may take where it computes."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return machine_memory()


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} {'thread' if threads == 1 else 'threads'}"


def sample(
    network: CharNetwork, vocabulary: Vocabulary, prime: str, temperature: float, seed: int
) -> str:
    """What a network says; the prime stands in front, without what it has never seen."""
    known = "".join(c for c in vocabulary.normalise(prime) if _knows(vocabulary, c))
    options = SampleOptions(seed=seed, temperature=temperature, length=SAMPLE_LENGTH)
    ids = generate(network, vocabulary.start_id, vocabulary.encode(known), options)
    chosen = np.fromiter(ids, dtype=np.int64)
    return known + vocabulary.decoder().decode(chosen, final=True)


def _knows(vocabulary: Vocabulary, character: str) -> bool:
    try:
        vocabulary.encode(character)
    except ValueError:
        return False
    return True


def validation_text(corpus: Corpus) -> bytes:
    """The beginning of what is not trained on: text that ends on a whole character, or bytes."""
    ids = np.asarray(corpus.validation[:VALIDATION_BYTES])
    if corpus.vocabulary.tokens == "bytes":
        return corpus.vocabulary.symbols[ids].astype(np.uint8).tobytes()
    text = corpus.vocabulary.decoder().decode(ids).encode()
    return text[:VALIDATION_BYTES].decode(errors="ignore").encode()


def _weights(network: CharNetwork) -> Weights:
    return {
        name: weight.detach().float().cpu().numpy() for name, weight in network.state_dict().items()
    }


def _bits(loss: float | None) -> float | None:
    return None if loss is None else bits(loss)


def _steps(asked: Any, default: tuple[int, ...]) -> Iterator[int]:
    """Steps as options name them: a list, or a text with commas."""
    if asked is None:
        yield from default
    elif isinstance(asked, str):
        yield from (int(step) for step in asked.split(",") if step.strip())
    else:
        yield from asked
