"""How steps are computed on a GPU: in fp16, by the kernels that are fast, in one launch.

- The products are in fp16 or bf16, and the weights that are learned in fp32. Small gradients would
  be 0 in fp16, so the loss is scaled (Micikevicius et al. 2018).
- Layers are filled up to what the fastest kernel takes (``models.training.kernels``).
- A step is about a hundred launches, which for a small network take longer than what is launched.
  So it is recorded once, as a CUDA graph, and launched as one.
- Nothing waits for the GPU: batches are sent from pinned memory while it computes, and losses are
  looked at in each hundredth step.

All but the recording itself runs on a CPU, too, and is tested there. Knows a network and its
optimizer; no text and no schedule.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.amp import GradScaler

from models.config import NetworkConfig
from models.options import ComputeType, Hyperparameters
from models.training.kernels import CudaCard, Padding, padding_for
from models.training.network import CharNetwork, State
from models.training.ranks import ALONE, Group, OwnRows
from models.training.steps import UNSCALED, make_optimizer, train_batch

log = logging.getLogger(__name__)

RECORDED = 1 << 24
"""Parameters up to which steps are recorded: the launches of larger networks are short beside what
they launch, and a graph keeps the memory of a step."""

_WARM_STEPS = 3
"""Steps before the one that is recorded: libraries make their handles and plans in the first."""

_CHECK_EVERY, _CHECK_EVERY_ON_GPU = 10, 100
"""Steps between two looks at the loss, each of which waits for the device."""

Outcome = tuple[Tensor, State]
"""The loss, and the state to carry."""

Recorder = Callable[[Callable[[], Outcome]], Callable[[], Outcome]]
"""Makes of a function that works on tensors in place one that does the same again, faster."""


class LossScale(GradScaler):
    """The factor of the loss, which is halved, and the update skipped, where a gradient overflows.

    After 2,000 updates without an overflow it is doubled.

    Attributes:
        skipped: how many updates were, on the device.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(device.type)
        self._lazy_init_scale_growth_tracker(device)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)

    @property
    def _state(self) -> dict[str, Tensor]:
        assert self._scale is not None and self._growth_tracker is not None
        return {
            "factor": self._scale,
            "sound": self._growth_tracker,
            "skipped": self.skipped,
        }

    @torch.no_grad()
    def update(self, new_scale: float | Tensor | None = None) -> None:
        before = self._state["factor"].clone()
        super().update(new_scale)
        self.skipped += self._state["factor"] < before

    def forget(self) -> None:
        """Forgets an update that was begun."""
        self._per_optimizer_states.clear()

    def tensors(self) -> dict[str, Tensor]:
        """What ``load_tensors`` continues with."""
        return self._state

    @torch.no_grad()
    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Continues; without tensors, as a state from a CPU has it, from the beginning."""
        for name, value in self._state.items():
            if name in tensors:
                value.copy_(tensors[name])

    def is_exhausted(self) -> bool:
        """Whether no factor is small enough. Waits for the device."""
        return float(self._state["factor"]) < 1


@dataclass(frozen=True, slots=True)
class Compute:
    """How the steps of a training are computed.

    Attributes:
        precision: of the products.
        padding: of the network's layers; None where no kernel gains by it.
        is_scaled: whether the loss is. On a GPU it is for bf16, too: PyTorch hands recurrent layers
            to cuDNN in fp16 even then (``_cudnn_rnn_cast_reflatten`` in ``AutocastRNN.cpp``).
        record: what records steps; None to compute each as it comes.
        check_every: steps between two looks at the loss.
        warm_steps: steps that take longer than those after them.
    """

    precision: ComputeType = "fp32"
    padding: Padding | None = None
    is_scaled: bool = False
    record: Recorder | None = None
    check_every: int = _CHECK_EVERY
    warm_steps: int = 0

    @classmethod
    def on(
        cls,
        device: torch.device,
        config: NetworkConfig,
        options: Hyperparameters,
        group: Group = ALONE,
    ) -> "Compute":
        """Returns what is best for a network on a device."""
        if device.type != "cuda":
            return cls(precision_on(device, options.precision))
        padding = None
        is_half = options.precision != "fp32"
        if is_half and group.size == 1:
            padding = padding_for(config, options.batch_size, CudaCard.of(device))
        can_record = options.optimizer != "rmsprop" and config.parameters() <= RECORDED
        record = cuda_graph if can_record and group.size == 1 else None
        warm_steps = _WARM_STEPS + 1 if record else _WARM_STEPS
        return cls(options.precision, padding, is_half, record, _CHECK_EVERY_ON_GPU, warm_steps)

    def steps(
        self,
        network: CharNetwork,
        options: Hyperparameters,
        group: Group = ALONE,
        rows: OwnRows | None = None,
    ) -> "Steps":
        """Returns what performs them, from the first, of all parameters that there are."""
        # Not TF32, which is the default: what is called fp32 is, as on a CPU.
        torch.backends.cudnn.rnn.fp32_precision = "ieee"  # type: ignore[attr-defined]
        network.padding = self.padding
        options = replace(options, precision=self.precision)
        return Steps(network, options, group, rows, is_scaled=self.is_scaled, record=self.record)


def precision_on(device: torch.device, asked: ComputeType) -> ComputeType:
    """Returns the precision of a job on a device, which it may not have begun on.

    Processors have no fp16 that is worth it, and what is learned is in fp32 in any case.
    """
    return "fp32" if asked == "fp16" and device.type != "cuda" else asked


class Steps:
    """Performs the steps of a training.

    With ``record``, one is recorded, for each shape of a batch, and then repeated. Where that
    fails, each is computed as it comes.

    Attributes:
        optimizer: of the network's parameters.
        scale: of the loss, if it has one.
    """

    def __init__(
        self,
        network: CharNetwork,
        options: Hyperparameters,
        group: Group = ALONE,
        rows: OwnRows | None = None,
        *,
        is_scaled: bool = False,
        record: Recorder | None = None,
    ) -> None:
        self._network = network
        self.optimizer = make_optimizer(network, options, recorded=record is not None)
        device = next(network.parameters()).device
        self.scale = LossScale(device) if is_scaled else None
        self._options = options
        self._of = group, rows, self.scale or UNSCALED
        self._record = record
        self._given: tuple[Tensor, ...] = ()
        self._parts = 0
        """Of the state, in what is given."""
        self._repeat: Callable[[], Outcome] | None = None
        self._warm = 0

    @property
    def is_recorded(self) -> bool:
        """Whether the last step was the repetition of one that was recorded."""
        return self._repeat is not None

    def __call__(
        self, inputs: Tensor, targets: Tensor, state: State | None, counted: Tensor | None = None
    ) -> Outcome:
        """Performs a step, as ``train_batch`` does.

        The tensors that it returns may be overwritten in the next step.
        """
        if self._record is None:
            return self._perform(inputs, targets, state, counted)
        state = self._network.zero_state(inputs.shape[1]) if state is None else state
        self._parts = len(state)
        self._take(inputs, targets, *state, *([] if counted is None else [counted]))
        if self._repeat is None and self._warm == _WARM_STEPS:
            self._record_step(self._record)
        if self._repeat:
            return self._repeat()
        self._warm += 1
        return self._perform_on_given()

    def set_rate(self, rate: float) -> None:
        """Sets the learning rate of the next step."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def is_exhausted(self) -> bool:
        """Whether gradients overflow whatever the scale. Waits for the device."""
        return self.scale is not None and self.scale.is_exhausted()

    def tensors(self) -> dict[str, Tensor]:
        """What ``load_tensors`` continues with: what the optimizer keeps, and the scale."""
        state = self.optimizer.state_dict()["state"]
        tensors = {
            f"optimizer.{index}.{name}": value
            for index, slots in state.items()
            for name, value in slots.items()
        }
        scale = self.scale.tensors() if self.scale else {}
        return tensors | {f"scale.{name}": value for name, value in scale.items()}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Continues, before the first step."""
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in under("optimizer.", tensors).items():
            index, _, name = key.partition(".")
            # The optimizer would keep the tensor and modify it.
            slots.setdefault(int(index), {})[name] = value.clone()
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": slots})
        if self.scale:
            self.scale.load_tensors(under("scale.", tensors))

    def _perform(
        self, inputs: Tensor, targets: Tensor, state: State | None, counted: Tensor | None
    ) -> Outcome:
        given = inputs, targets, state, self._options, counted
        return train_batch(self._network, self.optimizer, *given, *self._of)

    def _take(self, *given: Tensor) -> None:
        """Copies a batch to where a recorded step finds it."""
        if [own.shape for own in self._given] != [new.shape for new in given]:
            self._given = tuple(new.clone() for new in given)
            self._repeat, self._warm = None, 0
            return
        for own, new in zip(self._given, given, strict=True):
            own.copy_(new, non_blocking=True)

    def _perform_on_given(self) -> Outcome:
        inputs, targets, *rest = self._given
        state, counted = tuple(rest[: self._parts]), rest[self._parts :]
        return self._perform(inputs, targets, state, counted[0] if counted else None)

    def _record_step(self, record: Recorder) -> None:
        try:
            self._repeat = record(self._perform_on_given)
        except RuntimeError as error:
            log.warning("a step cannot be recorded, so each is computed as it comes: %s", error)
            self._record = None
            self._forget()

    def _forget(self) -> None:
        """Forgets a step that was broken off."""
        self.optimizer.zero_grad()
        for name in ("grad_scale", "found_inf"):
            vars(self.optimizer).pop(name, None)
        if self.scale:
            self.scale.forget()


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors with a prefix, by the rest of their names."""
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def cuda_graph(step: Callable[[], Outcome]) -> Callable[[], Outcome]:
    """Records a step as a CUDA graph.

    Raises:
        RuntimeError: something in it cannot be recorded.
    """
    graph = torch.cuda.CUDAGraph()
    # Others' threads may use the GPU meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outcome = step()

    def repeat() -> Outcome:
        graph.replay()
        return outcome

    return repeat


def send(values: NDArray[Any], device: torch.device) -> Tensor:
    """Returns an array on a device. A GPU fetches it when it comes to it."""
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        tensor = tensor.contiguous().pin_memory()
    return tensor.to(device, non_blocking=True)
