"""Before step 1: how a job is trained, on what, and from which state.

A plan is decided once and kept in ``plan.json``; a resume can only raise its limits. Knows nothing
of steps.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import with_config
from torch import Tensor

# Not typing's: before Python 3.12 pydantic cannot check those.
from typing_extensions import TypedDict

from models import sizing
from models.checkpoints.format import Checkpoint
from models.checkpoints.reference import Reference, UnknownModel
from models.checkpoints.registry import Registry
from models.config import NetworkConfig, Weights
from models.files import CheckpointError
from models.ngram_table import lists_per_row
from models.options import TrainingOptions
from models.presets import with_preset
from models.sizing import as_large_as, bucket_bytes
from models.text.corpus import Corpus, Scan, ScanReport
from models.text.vocab import Vocabulary, unshared
from models.training.beginning import (
    begin_features,
    counts_beside,
    first_trainer,
    has_features,
    new_trainer,
)
from models.training.continuing import fitted
from models.training.planning import PROBE, Plan, TooLarge, make_plan, usual_batch
from models.training.ranks import ALONE, Group
from models.training.trainer import FeatureCount, Trainer, TrainerState
from worker import logs
from worker.clock import timestamp
from worker.corpora import CorpusStore
from worker.devices import Device, DeviceStore, machine_memory
from worker.events import NoticeData
from worker.jobs import Job
from worker.records import RECORD, Records
from worker.settings import WorkerSettings
from worker.trainer import generations
from worker.trainer.device import choose_device, device_memory, device_name
from worker.trainer.failures import OUT_OF_MEMORY, Failure, is_device_full, is_of_gpu
from worker.trainer.fitting import Sizes
from worker.trainer.journal import Journal

BYTES_PER_PARAMETER = 48
"""Disk that a job needs: weights and moments three times, and a checkpoint as often."""

TABLES = 3
"""Checkpoints on disk at a time, each with its n-gram table."""

log = logs.logger(__name__)


@with_config(RECORD)
class _PlanFile(TypedDict):
    """``plan.json``; ``init_from`` is the digest of the model that training continues from."""

    asked: Mapping[str, Any]
    plan: dict[str, Any]
    init_from: str | None


_PLANS = Records(_PlanFile)


@dataclass(frozen=True, slots=True)
class Workplace:
    """The stores that a job is trained with, and the device that trains it.

    ``group`` are the processes that do so together, each on a device like this one.
    """

    corpora: CorpusStore
    devices: DeviceStore
    models: Registry
    device: torch.device
    group: Group = ALONE

    @classmethod
    def of(cls, settings: WorkerSettings, group: Group = ALONE) -> "Workplace":
        data = settings.data
        return cls(
            CorpusStore(data.corpora, data.storage),
            DeviceStore(data.devices, data.storage),
            Registry(data.models, data.storage),
            choose_device(settings.threads, group),
            group,
        )

    @property
    def device_name(self) -> str:
        return device_name(self.device, self.group.size)


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A job with all that is decided about it.

    ``asked`` are its options as asked for, ``options`` those and the decided ones as clients see
    them. ``origin`` is the digest of the model that training continues from.
    """

    job: Job
    asked: TrainingOptions
    options: Mapping[str, Any]
    plan: Plan
    origin: str | None
    report: ScanReport
    corpus: Corpus
    place: Workplace

    @property
    def seed(self) -> int:
        return self.plan.training.seed

    @property
    def counts_beside(self) -> bool:
        """Whether counting would take much of its time."""
        return counts_beside(self.plan.training)

    def begin_counting(self) -> FeatureCount:
        """Counts the text for n-gram features; once is enough for all trainers of the job."""
        return begin_features(self.corpus, self.plan.training)

    def take_up(self, counting: FeatureCount) -> tuple[Trainer, int]:
        """A trainer in the newest sound state of the job, else at its beginning.

        Args:
            counting: what ``begin_counting`` returned.

        Returns:
            The trainer, and the number of newer states, which are damaged.

        Raises:
            Failure: the model to continue from cannot be.
            RuntimeError: the device has no room, or fails.
        """
        damaged = 0
        config, training, place = self.plan.config, self.plan.training, self.place
        with self.job.states_here():
            for state in generations.load_all(self.job.state_directory):
                try:
                    if state is not None:
                        return self._resumed(counting, *state), damaged
                except (KeyError, TypeError, ValueError, RuntimeError) as error:
                    if is_of_gpu(error) or is_device_full(error):
                        raise
                    # Of another network, as a hand may leave it.
                damaged += 1
        trainer = first_trainer(config, self.corpus, training, place.device, counting, place.group)
        if self.origin is not None:
            trainer.load_weights(self._weights_of(self.origin))
        return trainer, damaged

    def _resumed(
        self, counting: FeatureCount, tensors: dict[str, Tensor], rest: TrainerState
    ) -> Trainer:
        features = counting.result() if has_features(tensors) else None
        config, training, place = self.plan.config, self.plan.training, self.place
        trainer = new_trainer(config, self.corpus, training, place.device, features, place.group)
        trainer.load_state_dict(tensors, rest)
        if features is None:
            trainer.expect(counting)
        return trainer

    def _weights_of(self, origin: str) -> Weights:
        try:
            name = Reference.parse(str(self.asked.init_from)).name
            checkpoint = self.place.models.load(name, origin)
        except CheckpointError as error:
            raise Failure("The model to continue from cannot be read", str(error)) from None
        if checkpoint.vocabulary.tokens != self.corpus.vocabulary.tokens:
            raise Failure(
                "The model to continue from has another vocabulary",
                f"It was trained on {checkpoint.vocabulary.tokens}.",
            )
        known, config = checkpoint.vocabulary, checkpoint.config
        styles = self.plan.config.styles
        return fitted(checkpoint.weights, config, known, self.corpus, self.seed, styles)


def follower(job: Job, place: Workplace) -> Trainer:
    """A trainer for a rank that follows, by the plan that rank 0 has made.

    Raises:
        Failure: the plan is gone.
    """
    decided = _decided(job.directory / "plan.json")
    if decided is None:
        raise Failure("The plan of the job is damaged", "Resume the job.")
    plan = decided[1]
    asked = TrainingOptions.from_json(job.spec["options"])
    corpus = place.corpora.open(
        job.spec["corpus_id"],
        asked.symbols,
        plan.validation_fraction,
        shuffle_lines=plan.training.shuffle_lines,
        parts=asked.parts,
    )
    return new_trainer(plan.config, corpus, plan.training, place.device, None, place.group)


def prepare(job: Job, place: Workplace, journal: Journal, batch_size: int | None = None) -> JobPlan:
    """Decides how a job is trained, or reads what was decided, and opens its corpus.

    Args:
        job: the caller has its turn.
        place: where it is trained.
        journal: where notices go.
        batch_size: decides anew, with this; only before a state was saved.

    Raises:
        Failure: it cannot be trained.
        UnknownCorpus: its corpus was deleted.
        CorpusError: its corpus cannot be read as the options say.
        CorpusDamaged: its text is not the one that was sent.
    """
    try:
        asked = TrainingOptions.from_json(job.spec["options"])
        parts = asked.parts
    except ValueError as error:
        raise Failure("The options of the job are damaged", f"{error}: start a new job.") from None
    corpus_id = job.spec["corpus_id"]
    # For the encoded text, until the network's size is known.
    journal.update(needs_bytes=2 * place.corpora.size(corpus_id))
    scan = place.corpora.scan(corpus_id, asked.symbols)
    plan, origin = _decide(job, asked, scan, place, journal, batch_size)
    options = {**job.spec["options"], **plan.resolved}
    needed = BYTES_PER_PARAMETER * plan.config.parameters()
    lists = lists_per_row(plan.training.ngram_characters)
    of_row = bucket_bytes(plan.config.vocabulary_size, lists)
    needed += TABLES * plan.training.ngram_buckets * of_row
    journal.update(options=options, needs_bytes=needed)
    corpus = place.corpora.open(
        corpus_id,
        asked.symbols,
        plan.validation_fraction,
        shuffle_lines=plan.training.shuffle_lines,
        parts=parts,
    )
    return JobPlan(job, asked, options, plan, origin, scan.report, corpus, place)


def _decide(
    job: Job,
    asked: TrainingOptions,
    scan: Scan,
    place: Workplace,
    journal: Journal,
    batch_size: int | None,
) -> tuple[Plan, str | None]:
    """The plan, and the digest of the model to continue from, if any; both kept."""
    path = job.directory / "plan.json"
    options = job.spec["options"]
    decided = _decided(path)
    if batch_size is not None:
        plan, origin = _new_plan(replace(asked, batch_size=batch_size), scan, place)
    elif decided is None:
        if generations.newest_step(job.state_directory):
            raise Failure(
                "The plan of the job is damaged",
                "Its saved state fits no other: start a new job. What it published stays.",
            )
        plan, origin = _new_plan(asked, scan, place)
    else:
        known, plan, origin = decided
        if known == options:
            return plan, origin
        plan = _raise_limits(plan, options, scan, place)
    kept: _PlanFile = {"asked": options, "plan": plan.to_json(), "init_from": origin}
    job.write(path.name, json.dumps(kept).encode())
    for notice in plan.notices:
        journal.notice(NoticeData(code=notice["code"], text=notice["text"]))
    return plan, origin


def known_sizes(
    job: Job, asked: TrainingOptions, place: Workplace, memory: int, batch_size: int | None = None
) -> Sizes:
    """The sizes that are decided for a job, or those that planning measures first.

    Args:
        job, asked: the job, and its options.
        place: where it is trained.
        memory: bytes that it may take.
        batch_size: instead of what was decided.
    """
    decided = _decided(job.directory / "plan.json")
    if decided:
        config, training = decided[1].config, decided[1].training
        found = config, training.batch_size, training.sequence_length
    else:
        scan = place.corpora.scan(job.spec["corpus_id"], asked.symbols)
        found = _first_sizes(asked, scan, place.device)
    return Sizes(found[0], batch_size or found[1], found[2], memory)


def _first_sizes(
    asked: TrainingOptions, scan: Scan, device: torch.device
) -> tuple[NetworkConfig, int, int]:
    """The network that planning measures, its batch size and its sequence length."""
    options = with_preset(asked)
    characters = sizing.training_characters(options, scan.report.characters)
    batch_size, length = sizing.batch(options, characters, *usual_batch(device))
    size = options.hidden_size or PROBE
    return sizing.network(options, len(scan.vocabulary), size), batch_size, length


def _decided(path: Path) -> tuple[Mapping[str, Any], Plan, str | None] | None:
    """The options, the plan and the origin that were decided; None if they cannot be read."""
    try:
        saved = _PLANS.read(path)
        return saved and (saved["asked"], Plan.from_json(saved["plan"]), saved["init_from"])
    except (ValueError, KeyError, TypeError) as error:
        log.error("the plan of job %s is damaged: %r", path.parent.name, error)
        return None


def _new_plan(asked: TrainingOptions, scan: Scan, place: Workplace) -> tuple[Plan, str | None]:
    ranks = place.group.size
    memory, main_memory = device_memory(place.device, ranks), machine_memory()
    origin, told = None, list[dict[str, str]]()
    if asked.init_from:
        origin, checkpoint = _origin(asked.init_from, place)
        asked = as_large_as(asked, checkpoint.config)
        told = _about_characters(str(asked.init_from), checkpoint.vocabulary, scan.vocabulary)
    try:
        plan = make_plan(asked, scan, place.device, None, memory, main_memory, ranks)
    except TooLarge as error:
        sizes = Sizes(*_first_sizes(asked, scan, place.device), memory)
        advice = sizes.advice("Start it again with")
        raise Failure(OUT_OF_MEMORY, f"{error} {advice}") from None
    if plan.chars_per_second and ranks == 1:
        # The server estimates with it.
        work = plan.chars_per_second * plan.config.parameters()
        name = device_name(place.device)
        place.devices.record(Device(name, memory, work, timestamp()))
    return replace(plan, notices=[*plan.notices, *told]), origin


def _origin(name: str, place: Workplace) -> tuple[str, Checkpoint]:
    """The model to continue from, and its digest. Raises Failure."""
    try:
        reference = Reference.parse(name)
        digest = place.models.resolve(reference)
        return digest, place.models.load(reference.name, digest)
    except (UnknownModel, CheckpointError, ValueError):
        raise Failure(
            "The model to continue from cannot be read", "It may have been deleted."
        ) from None


def _about_characters(model: str, known: Vocabulary, text: Vocabulary) -> list[dict[str, str]]:
    """A notice of how a model's vocabulary becomes that of a text; none if they are equal."""
    words = []
    if new := unshared(text, known):
        words.append(f"{model} does not know {new}: they begin with small random weights")
    if gone := unshared(known, text):
        words.append(f"the text does not have {gone}, so the new model will not know them")
    return [{"code": "vocabulary", "text": "; ".join(words)}] if words else []


def _raise_limits(old: Plan, options: Mapping[str, Any], scan: Scan, place: Workplace) -> Plan:
    """A plan with the limits that options ask for now; all else stays."""
    sizes = {k: v for k, v in old.resolved.items() if not k.startswith("max_")}
    asked = TrainingOptions.from_json({**sizes, **options})
    new = make_plan(asked, scan, place.device, ranks=place.group.size).training
    training = replace(old.training, max_steps=new.max_steps, max_seconds=new.max_seconds)
    return replace(old, training=training, notices=[])
