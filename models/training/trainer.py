"""Trains by truncated backpropagation through time, as a generator of progress.

Knows a network, a corpus, hyperparameters and the seconds used; no job and no file.
"""

import math
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import NotRequired, TypedDict

import torch
from torch import Tensor

from models.config import Weights
from models.options import Hyperparameters
from models.text.corpus import Corpus
from models.training.accelerated import Compute, Steps, send, under
from models.training.average import WeightAverage
from models.training.batches import Batches, ShuffledLines, styles_at
from models.training.device_table import expected_on
from models.training.held_out import HeldOut
from models.training.network import CharNetwork, State, with_styles
from models.training.ngram_features import NGramFeatures
from models.training.ranks import ALONE, Group, Order
from models.training.steps import learning_rate

VALIDATION_LIMIT = 1 << 18
"""Maximum number of characters of the validation part that an evaluation reads."""

FIRST_EVALUATION = (100, 12.0)
"""The first evaluation comes after this many steps or seconds, whichever is first."""

DIVERGED = 3.0
"""Training has diverged if its loss is this many times the best, and at least one nat more.

This is char-rnn's rule, with room for a memorised text, whose loss is near 0 and jumps.
"""

_BEGIN_EVERY = 4
"""Texts may begin in every fourth step.

The state is carried over the whole text, so otherwise the network would hardly ever see the zero
state, and samples would start badly (walls of spaces on C source); in every step it costs loss
(docs/log.md).
"""


class Diverged(ArithmeticError):
    """The loss is not finite, or far above the best."""


class FeatureCount(Future[NGramFeatures | None]):
    """A count for the n-gram features, which may be in progress; None if there are to be none.

    Attributes:
        began: when, by the monotonic clock.
    """

    def __init__(self, began: float) -> None:
        super().__init__()
        self.began = began


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of training after a step. Losses in nats per character, times in seconds."""

    step: int
    max_steps: int
    epoch: float
    smoothed_loss: Tensor
    learning_rate: float
    elapsed_seconds: float
    chars_per_second: float
    eta_seconds: float

    @property
    def train_loss(self) -> float:
        """The exponentially smoothed loss. Reading it waits for the device."""
        return float(self.smoothed_loss)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The loss on the validation part after a step; ``best`` if no earlier one was as low."""

    step: int
    val_loss: float
    best: bool


class TrainerState(TypedDict):
    """A saved trainer without its tensors. States of earlier releases lack the last two."""

    step: int
    elapsed: float
    best_loss: float | None
    stale_evaluations: int
    evaluated: int
    rate_factor: NotRequired[float]
    best_smoothed: NotRequired[float]


class Trainer:
    """A training run that can be saved (``state_dict``) and resumed (``load_state_dict``).

    Args:
        network: trained in place, on ``device``.
        corpus: with the network's vocabulary.
        features: of the ids that ``batches`` cuts, for a network with an n-gram table.
        group: the processes that train it, each with a trainer. That of rank 0 is ``run``, and
            saved; the others do what it says (``models.training.following``).
        compute: how; what is best on the device if not given.
    """

    def __init__(
        self,
        network: CharNetwork,
        corpus: Corpus,
        options: Hyperparameters,
        device: torch.device | None = None,
        features: NGramFeatures | None = None,
        group: Group = ALONE,
        compute: Compute | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.network = network.to(self.device)
        self._compute = compute or Compute.on(self.device, network.config, options, group)
        self._average = WeightAverage(self.network, options.ema_decay)
        self.corpus = corpus
        self.options = options
        self.group = group
        self.rows = group.rows(options.batch_size)
        self.network.rows = None if self.rows.are_all else self.rows
        self.batches = batches(corpus, options)
        self.features = features
        self._awaited: FeatureCount | None = None
        self._expected = features and expected_on(self.device, features)
        self._cores = ExitStack()
        """What gives back the cores that counting has meanwhile."""
        self.held_out = HeldOut.of(corpus, VALIDATION_LIMIT, network.table)
        self.steps = self._new_steps()
        self.step = 0
        self.elapsed = 0.0
        self.best_loss = math.inf
        self.stale_evaluations = 0
        self.evaluated = 0
        self.rate = 0.0
        """Of the last step."""
        self.rate_factor = 1.0
        """Multiplies the schedule's rate; halved when training diverged."""
        self.smoothed = torch.zeros((), device=self.device)
        # Training starts from guessing.
        self.best_smoothed = math.log(max(2, network.config.vocabulary_size))
        self.carried: State | None = None
        """Of its own rows."""
        self._whole: State | None = None
        """The carried state of all rows, while it is known."""

    def load_weights(self, weights: Weights) -> None:
        """Begins with trained weights, as ``CharNetwork.load_weights`` does."""
        self.network.load_weights(weights)
        self._average.load_weights(weights)

    @property
    def average(self) -> CharNetwork:
        """The network to evaluate and to publish: with an average of the weights."""
        return self._average.network

    def expect(self, features: FeatureCount) -> None:
        """Trains without n-gram features until they are counted."""
        self._awaited = features

    def _attach_counted(self) -> None:
        """Takes the features up if they are counted now."""
        if self._awaited is None or not self._awaited.done():
            return
        features, self._awaited = self._awaited.result(), None
        self._cores.close()
        if features is not None:
            self.attach(features)
            self._let_begin()

    def attach(self, features: NGramFeatures) -> None:
        """Trains with n-gram features from now on, and a table that the network has not had."""
        self.features = features
        self._expected = expected_on(self.device, features)
        self.network.attach(features.table)
        self._average.attach(features.table)
        self.held_out = HeldOut.of(self.corpus, VALIDATION_LIMIT, features.table)
        # The gates are the last parameters, so the others keep their numbers.
        tensors = self.steps.tensors()
        self.steps = self._new_steps()
        self.steps.load_tensors(tensors)

    def _new_steps(self) -> Steps:
        """Returns what performs steps, of all the parameters that there are now."""
        return self._compute.steps(self.network, self.options, self.group, self.rows)

    def run(self) -> Iterator[Progress | Evaluation]:
        """Yields a ``Progress`` after each step and an ``Evaluation`` when one is due.

        The last event is an evaluation. The trainer may be saved between any two events.

        Raises:
            Diverged: the loss is not finite, or far above the best.
            RankLost: another process of the group has ended.
        """
        self._let_begin()
        with self._cores:
            if self._awaited is not None and not self._awaited.done():
                self._cores.enter_context(half_the_threads())
            yield from self._run()

    def _let_begin(self) -> None:
        """Hands its state to the other ranks."""
        if self.group.size > 1:
            # Each of them has the text.
            features = self.features and replace(self.features, ids=self.features.ids[:0])
            self.group.tell(Order.BEGIN, self.elapsed, (*self.state_dict(), features))

    def _run(self) -> Iterator[Progress | Evaluation]:
        first_step = self.step
        began = time.monotonic() - self.elapsed
        session_began = time.monotonic()
        while True:
            # Checked before the step: a trainer saved after it still owes the evaluation.
            if self.step > self.evaluated and (self._evaluation_due() or self._over()):
                yield self._evaluate()
                self.elapsed = time.monotonic() - began
            if self._over():
                return
            self._attach_counted()
            # Before the step: the rate follows the time.
            self.group.tell(Order.STEP, self.elapsed)
            self.train_step()
            if self.step % self._compute.check_every == 0:
                self._check_smoothed()
            now = time.monotonic()
            self.elapsed = now - began
            speed = (self.step - first_step) * self.batches.characters / (now - session_began)
            yield Progress(
                step=self.step,
                max_steps=self.options.max_steps,
                epoch=self.batches.epoch(self.step),
                smoothed_loss=self.smoothed,
                learning_rate=self.rate,
                elapsed_seconds=self.elapsed,
                chars_per_second=speed,
                eta_seconds=self._eta(speed),
            )

    def _fraction(self) -> float:
        steps = self.step / self.options.max_steps
        if self.options.max_seconds is None:
            return steps
        return max(steps, self.elapsed / self.options.max_seconds)

    def _eta(self, speed: float) -> float:
        steps_left = self.options.max_steps - self.step
        eta = steps_left * self.batches.characters / speed
        if self.options.max_seconds is not None:
            eta = min(eta, self.options.max_seconds - self.elapsed)
        return max(0.0, eta)

    def _over(self) -> bool:
        exhausted = 0 < self.options.patience <= self.stale_evaluations
        return self._fraction() >= 1 or exhausted

    def _evaluation_due(self) -> bool:
        if not self.evaluated:
            steps, seconds = FIRST_EVALUATION
            return self.step >= min(steps, self.options.evaluate_every) or self.elapsed >= seconds
        return self.step % self.options.evaluate_every == 0

    def train_step(self) -> None:
        """Trains on its rows of the next batch; all ranks of a group do so at a time."""
        self.network.train()
        rate = learning_rate(self.options, self._fraction(), self.batches.epoch(self.step))
        self.rate = rate * self.rate_factor
        self.steps.set_rate(self.rate)
        own = self.rows.slice
        read, predicted = (ids[:, own] for ids in self.batches.batch(self.step))
        if self.corpus.styles:
            places = self.batches.positions(self.step)[1:, own]
            styles = styles_at(self.corpus.styles, places, self.step, own.start)
            read = with_styles(read, styles, self.network.config.vocabulary_size)
        inputs, targets = send(read, self.device), send(predicted, self.device)
        counted = None
        if self._expected:
            counted = self._expected(self.batches.positions(self.step)[1:, own])
        state = self.carried
        if state is not None and self.step % _BEGIN_EVERY == 0:
            # If its batch begins with a line end, a row begins like a sampled text.
            first = inputs[0] if inputs.dim() == 2 else inputs[0, :, 0]
            continues = (first != self.corpus.vocabulary.start_id).unsqueeze(1)
            state = tuple(part * continues for part in state)
        loss, self.carried = self.steps(inputs, targets, state, counted)
        self._whole = None
        self.step += 1
        self._average.update(self.step)
        # The weight of the newest loss falls from 1 to 2 %, to avoid a bias towards 0.
        # This creates a new tensor: earlier Progress keeps its own.
        self.smoothed = self.smoothed.lerp(loss, max(0.02, 1 / self.step))

    def gather(self) -> None:
        """Gets to know the carried state of all rows; all ranks of a group do so at a time."""
        assert self.carried is not None
        self._whole = self.group.gathered(self.carried, self.rows)

    def _check_smoothed(self) -> None:
        loss = float(self.smoothed)
        if not math.isfinite(loss):
            raise Diverged(f"the loss was not a number at step {self.step}")
        if loss > max(DIVERGED * self.best_smoothed, self.best_smoothed + 1):
            raise Diverged(
                f"the loss had risen from {self.best_smoothed:.2f} to {loss:.2f} at step "
                f"{self.step}"
            )
        if self.steps.is_exhausted():
            raise Diverged(f"the gradients did not fit into fp16 at step {self.step}")
        self.best_smoothed = min(loss, self.best_smoothed)

    def _evaluate(self) -> Evaluation:
        # In fp32, whatever training computes in, like the published weights.
        if self.average.table:
            self.average.balance.copy_(self.held_out.balance(self.average))
        loss = self.held_out.loss(self.average)
        # The last update may have ruined the weights after the training loss was computed.
        if not math.isfinite(loss + float(self.smoothed)):
            raise Diverged(f"the loss was not a number at step {self.step}")
        self.evaluated = self.step
        best = loss < self.best_loss
        self.stale_evaluations = 0 if best else self.stale_evaluations + 1
        self.best_loss = min(loss, self.best_loss)
        return Evaluation(self.step, loss, best)

    def state_dict(self) -> tuple[dict[str, Tensor], TrainerState]:
        """Returns everything that ``load_state_dict`` needs to resume to the bit.

        Where counts are taken up on the way, the clock decides at which step.

        Returns:
            Tensors by name, and the rest as JSON values.

        Raises:
            Diverged: the loss or a weight is not finite, so there is nothing to resume from.
        """
        sound = [self.smoothed.isfinite(), *(p.isfinite().all() for p in self.network.parameters())]
        if not torch.stack(sound).all():
            raise Diverged(f"a weight or the loss was not a number at step {self.step}")
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self._average.state_dict().items()}
        tensors |= self.steps.tensors()
        if self._whole is None and self.carried is not None:
            self.group.tell(Order.GATHER, self.elapsed)
            self.gather()
        for index, part in enumerate(self._whole or ()):
            tensors[f"carried.{index}"] = part
        tensors["smoothed"] = self.smoothed
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        rest: TrainerState = {
            "step": self.step,
            "elapsed": self.elapsed,
            "best_loss": _or_none(self.best_loss),
            "stale_evaluations": self.stale_evaluations,
            "evaluated": self.evaluated,
            "rate_factor": self.rate_factor,
            "best_smoothed": self.best_smoothed,
        }
        # Copies, because training continues in place before these are written.
        return {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}, rest

    def load_state_dict(self, tensors: dict[str, Tensor], rest: TrainerState) -> None:
        """Loads a saved state.

        Raises:
            KeyError, RuntimeError: the state belongs to another network. Trainer and network may be
                partially changed: create new ones.
        """
        self.network.load_state_dict(under("network.", tensors))
        self._average.load_state_dict(under("average.", tensors))
        self.steps = self._new_steps()
        self.steps.load_tensors(tensors)
        carried = under("carried.", tensors)
        self._whole = tuple(carried[str(i)].to(self.device) for i in range(len(carried))) or None
        own = self._whole and tuple(part[:, self.rows.slice] for part in self._whole)
        self.carried = own
        self.smoothed = tensors["smoothed"].to(self.device)
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)
        self.step = rest["step"]
        self.elapsed = rest["elapsed"]
        self.best_loss = _or_infinite(rest["best_loss"])
        self.stale_evaluations = rest["stale_evaluations"]
        self.evaluated = rest["evaluated"]
        self.rate_factor = rest.get("rate_factor", 1.0)
        self.best_smoothed = rest.get("best_smoothed", self.best_smoothed)


@contextmanager
def half_the_threads() -> Iterator[None]:
    """Takes half of torch's threads in the block, where something else computes.

    Threads of which one has no core are waited for by all.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // 2))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def batches(corpus: Corpus, options: Hyperparameters) -> Batches | ShuffledLines:
    """Returns how a corpus is cut into batches."""
    shape = options.batch_size, options.sequence_length
    if options.shuffle_lines:
        return ShuffledLines(corpus.train, corpus.vocabulary.start_id, *shape, options.seed)
    return Batches(corpus.train, *shape)


def _or_none(loss: float) -> float | None:
    """Converts a loss to JSON, which has no infinity."""
    return loss if math.isfinite(loss) else None


def _or_infinite(loss: float | None) -> float:
    return math.inf if loss is None else loss


def train(
    network: CharNetwork, corpus: Corpus, options: Hyperparameters
) -> Iterator[Progress | Evaluation]:
    """Trains from the start and yields progress; see ``Trainer`` for resuming."""
    torch.manual_seed(options.seed)
    yield from Trainer(network, corpus, options).run()
