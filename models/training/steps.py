"""One step of training: truncated backpropagation through time, and the rates it is done with.

Knows a network, a batch and hyperparameters; no text, no clock and no count of steps.
"""

import inspect
import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from models.options import ComputeType, Hyperparameters
from models.training.network import CharNetwork, State
from models.training.ranks import ALONE, Group, OwnRows

WARMUP = 0.03
"""Share of the run in which the rate of the cosine schedule rises from 0."""

UNSCALED = GradScaler("cpu", enabled=False)
"""For gradients that need no scale: it passes on what it is given, on any device."""

_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}

_Kind = TypeVar("_Kind", bound=torch.optim.Optimizer)


def _uncompiled(kind: type[_Kind]) -> type[_Kind]:
    """Returns the same optimizer without torch's compiler.

    The first call of these methods imports it, only to keep it out of them, and takes about as long
    as the import of torch. Nothing here is compiled.
    """
    names = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
    plain: dict[str, Any] = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    plain["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), plain)


_ADAM = _uncompiled(torch.optim.Adam)
_ADAMW = _uncompiled(torch.optim.AdamW)
_RMSPROP = _uncompiled(torch.optim.RMSprop)


def make_optimizer(
    network: nn.Module, options: Hyperparameters, *, recorded: bool = False
) -> torch.optim.Optimizer:
    """Returns the optimizer that the options name.

    Args:
        network: that it trains.
        options: with its hyperparameters.
        recorded: whether its steps are recorded as a CUDA graph, which reads the rate where it
            stood; not for ``rmsprop``.
    """
    parameters = list(network.parameters())
    rate, decay = options.learning_rate, options.weight_decay
    if options.optimizer == "rmsprop":
        return _RMSPROP(parameters, rate, alpha=0.95, weight_decay=decay)
    kind = _ADAMW if options.optimizer == "adamw" else _ADAM
    device = parameters[0].device
    return kind(
        parameters,
        torch.tensor(rate, device=device) if recorded else rate,
        betas=(0.9, 0.99),
        weight_decay=decay,
        fused=True,
        capturable=recorded and device.type == "cuda",
    )


def learning_rate(options: Hyperparameters, fraction: float, epoch: float) -> float:
    """Returns the rate at a share of the run, in [0, 1], and after a number of epochs.

    ``cosine`` warms up and falls to 0 at the end (Loshchilov & Hutter 2017); ``char-rnn`` decays by
    0.97 per epoch after the tenth, like char-rnn's train.lua.
    """
    if options.schedule == "constant":
        return options.learning_rate
    if options.schedule == "char-rnn":
        return options.learning_rate * 0.97 ** max(0, math.floor(epoch) - 9)
    if fraction < WARMUP:
        return options.learning_rate * min(1.0, (fraction + 1e-4) / WARMUP)
    done = min(1.0, (fraction - WARMUP) / (1 - WARMUP))
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def autocast(device: torch.device, precision: ComputeType) -> AbstractContextManager[Any]:
    """Uses bf16 or fp16 in matrix products if requested; weights and sums stay fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, _HALVES[precision])


def train_batch(
    network: CharNetwork,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    state: State | None,
    options: Hyperparameters,
    counted: Tensor | None = None,
    group: Group = ALONE,
    rows: OwnRows | None = None,
    scaler: GradScaler = UNSCALED,
) -> tuple[Tensor, State]:
    """Performs one step of truncated BPTT: forward, backward, clip, update.

    Beside an n-gram table a network would learn only what counting cannot know, and slowly. So it
    learns the whole text by its own loss, and to go with the table by the loss of both together.

    Args:
        inputs, targets: ids [time, batch].
        state: carried from the previous batch; None is zeros.
        counted: log-probabilities of the n-gram table for the targets, [time, batch, vocabulary].
        group: of processes that each have some rows of the batch.
        rows: those that are given; all if not said.
        scaler: of the gradients. Where they do not fit, nothing is updated.

    Returns:
        The whole batch's loss, still on the device, and the state of these rows to carry.
    """
    with autocast(inputs.device, options.precision):
        hidden, state = network.read(inputs, state)
        logits = network.logits(hidden)
    loss = objective = _cross_entropy(logits, targets)
    if counted is not None:
        loss = _cross_entropy(network.mixed(hidden, logits, counted), targets)
        objective = (objective + loss) / 2
    optimizer.zero_grad()
    scaler.scale(objective).backward()  # type: ignore[no-untyped-call]
    rows = rows or ALONE.rows(inputs.shape[1])
    loss = group.average(network.parameters(), loss.detach(), rows)
    scaler.unscale_(optimizer)
    _clip(network, options)
    scaler.step(optimizer)
    scaler.update()
    return loss, tuple(part.detach().float() for part in state)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def _clip(network: nn.Module, options: Hyperparameters) -> None:
    if options.grad_clip and options.clip == "norm":
        nn.utils.clip_grad_norm_(network.parameters(), options.grad_clip)
    elif options.grad_clip:
        # The bound is for a sum over time, and our loss is the mean.
        limit = options.grad_clip / options.sequence_length
        nn.utils.clip_grad_value_(network.parameters(), limit)
