"""Publishing: checkpoints with their cards, samples, and the n-gram baseline of a job.

A checkpoint is published before the event that says so. Knows no optimizer and no schedule.
"""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from pydantic import with_config
from typing_extensions import TypedDict

from models.arrays import AnyIds
from models.checkpoints.card import BaselineFigures, Card
from models.checkpoints.format import MAX_LINES, VALIDATION_BYTES, Checkpoint
from models.checkpoints.reference import LATEST, NGRAM, Reference, UnknownModel
from models.decoding.decoder import COST_CHARACTERS, fast_cost
from models.decoding.sampling import SampleOptions
from models.files import CheckpointError
from models.options import TrainingOptions
from models.styles import Mix, only
from models.text.corpus import Corpus
from models.text.novelty import line_hashes
from models.text.spans import Spans
from models.text.vocab import Vocabulary
from models.training.generate import generate
from models.training.held_out import evaluate
from models.training.network import CharNetwork
from models.training.trainer import VALIDATION_LIMIT
from models.units import bits
from worker.clock import timestamp
from worker.events import SampleData
from worker.job_files import NGramFigures
from worker.records import RECORD, DamagedRecord, Records
from worker.trainer import memorisation
from worker.trainer.baseline import CountedBaseline
from worker.trainer.journal import Journal
from worker.trainer.plan import JobPlan

SAMPLE_LENGTH = 400


@with_config(RECORD)
class _Counted(TypedDict):
    """``baseline.json``: the figures, and the digest of the published n-gram model."""

    baseline: NGramFigures
    ngram: str


_BASELINES = Records(_Counted)


class Publisher:
    """Publishes under the name of one job's model, as the job trains."""

    def __init__(self, plan: JobPlan, journal: Journal) -> None:
        self._plan = plan
        self._journal = journal
        self._job = plan.job
        self._models = plan.place.models
        self._baseline_file = plan.job.directory / "baseline.json"
        self._lines = line_hashes(plan.corpus, MAX_LINES)
        self._card = _card(plan)
        self._floor = self._published_loss()
        self._card |= _counted(self._baseline_file)

    @property
    def baseline(self) -> BaselineFigures | None:
        """The figures of the n-gram baseline, once it is published."""
        return self._card["baseline"]

    def publish_baseline(self, counted: CountedBaseline) -> None:
        figures = counted.figures
        digest = self._models.publish_ngram(self._job.model, counted.model.to_bytes())
        kept: Card = {"baseline": figures, "ngram": digest}
        self._job.write(self._baseline_file.name, json.dumps(kept).encode())
        self._card |= kept
        self._journal.update(baseline=figures)
        text = (
            f"the n-gram baseline, of order {figures['ngram_order']}, reaches "
            f"{figures['val_loss']:.4f} ({figures['bpc']:.3f} bits) on the held-out text: "
            f"{self._job.model}:{NGRAM} writes with it"
        )
        self._journal.notice({"code": "baseline", "text": text})
        self._amend()

    def publish_best(self, network: CharNetwork, step: int, val_loss: float) -> None:
        """Publishes a checkpoint as ``latest``; another job's stays under the id of that job.

        Not instead of a better one of this job, whose training may have had to start over.
        """
        if val_loss > self._floor:
            return
        self._job.check()
        self._models.keep_latest(self._job.model, besides=self._job.id)
        self._publish(LATEST, self._checkpoint(network, step, val_loss))

    def publish_snapshot(self, network: CharNetwork, step: int) -> None:
        """Publishes a checkpoint as ``step-N``."""
        val_loss = evaluate(network, *self._plan.corpus.held_out(VALIDATION_LIMIT))
        self._publish(f"step-{step}", self._checkpoint(network, step, val_loss))

    def draw_sample(self, network: CharNetwork, step: int) -> None:
        if not step and not self._plan.origin:
            # With the counts it would write about as well as they do.
            network = network.without_table()
        if next(network.parameters()).device.type != "cpu":
            network = copy.deepcopy(network).cpu()
        asked, styles = self._plan.asked, network.config.styles
        temperature, prime = asked.sample_temperature, asked.sample_prime
        turn = _turn(asked, step) % len(styles) if styles else 0
        text = sample(
            network,
            self._plan.corpus.vocabulary,
            prime,
            temperature,
            self._plan.seed,
            only(turn, len(styles)),
        )
        drawn: SampleData = {"step": step, "temperature": temperature, "text": text}
        if styles:
            drawn["style"] = styles[turn]
        self._journal.sample(drawn)

    def examine_memory(self) -> None:
        """Looks up in the corpus the text that the best checkpoint writes, unless that was done."""
        checkpoint = self._latest()
        if checkpoint is None or "memorisation" in checkpoint.card:
            return
        temperature = self._plan.asked.sample_temperature
        try:
            found = memorisation.examine(
                checkpoint, self._plan.corpus, temperature, self._plan.seed
            )
        except FloatingPointError:
            return
        self._card["memorisation"] = found.figures
        text = memorisation.in_words(found)
        self._journal.notice({"code": "memorisation", "text": text})
        self._amend()

    def _amend(self) -> None:
        """Publishes the latest checkpoint again with what its card lacks, and the whole history."""
        checkpoint = self._latest()
        if checkpoint is None:
            return
        added = {k: v for k, v in self._card.items() if k in ("baseline", "ngram", "memorisation")}
        card, history = cast(Card, checkpoint.card | added), self._journal.history.lines()
        self._publish(LATEST, replace(checkpoint, card=card, history=history))

    def _latest(self) -> Checkpoint | None:
        """The model's latest checkpoint if it is this job's."""
        try:
            entry = self._models.entry(Reference(self._job.model))
            if entry.card.get("job_id") == self._job.id:
                return self._models.load(self._job.model, entry.digest)
        except (UnknownModel, CheckpointError):
            pass
        return None

    def _published_loss(self) -> float:
        try:
            card = self._models.entry(Reference(self._job.model)).card
        except (UnknownModel, CheckpointError):
            return math.inf
        loss = card.get("val_loss") if card.get("job_id") == self._job.id else None
        return math.inf if loss is None else loss

    def _checkpoint(self, network: CharNetwork, step: int, val_loss: float) -> Checkpoint:
        config, corpus = network.config, self._plan.corpus
        weights = network.export()
        cost = fast_cost(config, weights, *corpus.held_out(COST_CHARACTERS))
        fast = None if cost is None else val_loss + cost
        figures: Card = {
            "val_loss": val_loss,
            "bpc": bits(val_loss),
            "precision": {"exact": val_loss, "fast": fast},
            "step": step,
            "created_at": timestamp(),
        }
        parts = validation_parts(corpus)
        if config.styles:
            figures["held_out"] = [[config.styles[style], len(data)] for style, data in parts]
        return Checkpoint(
            config=config,
            vocabulary=corpus.vocabulary,
            weights=weights,
            card={**self._card, **figures},
            history=self._journal.history.lines(),
            validation=b"".join(data for _, data in parts),
            lines=self._lines,
        )

    def _publish(self, tag: str, checkpoint: Checkpoint) -> None:
        reference = Reference(self._job.model, tag)
        digest = self._models.publish(reference, checkpoint, check=self._job.check)
        step, val_loss = checkpoint.card["step"], checkpoint.card["val_loss"]
        self._journal.checkpoint(
            {"step": step, "model": reference.full, "digest": digest, "val_loss": val_loss}
        )


def _counted(path: Path) -> Card:
    """The baseline that an earlier attempt counted; without one that is sound, it is counted."""
    try:
        return cast(Card, _BASELINES.read(path) or {})
    except DamagedRecord:
        return {}


def _card(plan: JobPlan) -> Card:
    """The parts of a card that all checkpoints of a job share."""
    report = plan.report
    return {
        "job_id": plan.job.id,
        "device": plan.place.device_name,
        "options": plan.options,
        "corpus": {
            "id": plan.job.spec["corpus_id"],
            "bytes": report.bytes,
            "characters": report.characters,
            "distinct": report.distinct,
            "tokens": report.tokens,
            "lines": report.lines,
        },
        "baseline": None,
    }


def _turn(asked: TrainingOptions, step: int) -> int:
    """The number of a sample, by which styles take turns; the same after a resume."""
    if not step:
        return 0
    # The first one is that of step 0.
    before = 1 + sum(at < step for at in asked.sample_at)
    return before + ((step - 1) // asked.sample_every if asked.sample_every else 0)


def sample(
    network: CharNetwork,
    vocabulary: Vocabulary,
    prime: str,
    temperature: float,
    seed: int,
    style: Mix = (),
) -> str:
    """A text that begins with the prime, without the characters that the network does not know."""
    known = "".join(c for c in vocabulary.as_read(prime) if _knows(vocabulary, c))
    options = SampleOptions(seed=seed, temperature=temperature, length=SAMPLE_LENGTH, style=style)
    ids = generate(network, vocabulary.start_id, vocabulary.encode(known), options)
    chosen = np.fromiter(ids, dtype=np.int64)
    return known + vocabulary.decoder().decode(chosen, final=True)


def _knows(vocabulary: Vocabulary, character: str) -> bool:
    try:
        vocabulary.encode(character)
    except ValueError:
        return False
    return True


def validation_parts(corpus: Corpus) -> list[tuple[int, bytes]]:
    """The beginning of the held-out text: UTF-8 that ends on a whole character, or raw bytes.

    Of several texts it is the beginning of each one's, with the number of its style; else there is
    one part.
    """
    ids, spans = corpus.beginning(VALIDATION_BYTES)
    spans = spans or Spans.of([len(ids)], [0])
    bounds = zip(spans.begins.tolist(), spans.ends.tolist(), strict=True)
    parts = [_written(corpus.vocabulary, np.asarray(ids[begin:end])) for begin, end in bounds]
    total = sum(map(len, parts))
    if total > VALIDATION_BYTES:
        # Characters may be several bytes: each part loses its share, or the last would be lost.
        parts = [_cut(part, len(part) * VALIDATION_BYTES // total) for part in parts]
    return list(zip(spans.styles.tolist(), parts, strict=True))


def _written(vocabulary: Vocabulary, ids: AnyIds) -> bytes:
    if vocabulary.tokens == "bytes":
        return vocabulary.symbols[ids].astype(np.uint8).tobytes()
    return vocabulary.decoder().decode(ids).encode()


def _cut(text: bytes, most: int) -> bytes:
    return text[:most].decode(errors="ignore").encode()
