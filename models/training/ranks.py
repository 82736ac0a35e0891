"""The processes that train one network together, each on its own rows of every batch.

Rank 0 decides all that depends on a clock, a loss or a client, and says before each step what comes
next; the others follow. So no rank ever waits for one that does something else. A process that
trains by itself is a group of one, in which nothing is said and nothing is exchanged.

Exchanged are the gradients, as one buffer with the loss at its end, and the carried state where it
is saved. On GPUs that is NCCL's; what is said goes through the processors, so that no GPU waits for
it. Knows tensors and ``torch.distributed``; no job, no text and no network.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum, auto
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from models.errors import CharloomError

PATIENCE = timedelta(days=1)
"""For which a rank waits for what rank 0 says next: it may count a large text meanwhile. One that
dies is noticed at once, since its connections close."""

GPU_PATIENCE = timedelta(minutes=10)
"""The same for gradients of other GPUs, which are computed at the same time."""


class RankLost(CharloomError):
    """Another process of the group has ended."""


class Order(IntEnum):
    """What rank 0 says; what goes with it stands beside the order."""

    BEGIN = auto()
    """With a new trainer in this state: tensors, the rest, and n-gram features or None."""
    STEP = auto()
    """Train a step, after so many seconds of training."""
    GATHER = auto()
    """Give your rows of the carried state."""
    END = auto()


@dataclass(frozen=True, slots=True)
class Said:
    """An order, with the seconds of training so far and what goes with it."""

    order: Order
    elapsed: float
    content: Any


@dataclass(frozen=True, slots=True)
class OwnRows:
    """A rank's rows of a batch, from ``begin`` up to ``end``; ``weight`` is their share of it."""

    begin: int
    end: int
    batch: int
    weight: float

    @classmethod
    def of(cls, rank: int, size: int, batch: int) -> "OwnRows":
        begin, end = rank * batch // size, (rank + 1) * batch // size
        if begin == end:
            # There are more ranks than rows: it reads one with another, and that does not count.
            return cls(begin, begin + 1, batch, 0.0)
        return cls(begin, end, batch, (end - begin) / batch)

    @property
    def are_all(self) -> bool:
        return self.end - self.begin == self.batch

    @property
    def slice(self) -> slice:
        return slice(self.begin, self.end)


class Group:
    """A process that trains by itself: all rows are its own, and nobody listens."""

    rank = 0
    size = 1

    def rows(self, batch: int) -> OwnRows:
        """Its rows of a batch of so many."""
        return OwnRows.of(self.rank, self.size, batch)

    def tell(self, order: Order, elapsed: float = 0.0, content: Any = None) -> None:
        """Says to all others what comes next; only for rank 0."""

    def average(self, parameters: Iterable[nn.Parameter], loss: Tensor, rows: OwnRows) -> Tensor:
        """Replaces the gradients by those of the whole batch; returns the whole batch's loss."""
        return loss

    def gathered(self, state: tuple[Tensor, ...], rows: OwnRows) -> tuple[Tensor, ...]:
        """A state of all rows of a batch, [layers, batch, hidden], from its rows of it."""
        return state


ALONE = Group()


class Ranks(Group):
    """One of several processes. All methods raise ``RankLost``."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size
        self._of_gpus: Any = None

    def tell(self, order: Order, elapsed: float = 0.0, content: Any = None) -> None:
        header = torch.tensor([order, elapsed, content is not None], dtype=torch.float64)
        with _exchanging():
            dist.broadcast(header, 0)
            if content is not None:
                dist.broadcast_object_list([content], 0)

    def hear(self) -> Said:
        """Waits for what rank 0 says; only for the others."""
        header = torch.zeros(3, dtype=torch.float64)
        content = [None]
        with _exchanging():
            dist.broadcast(header, 0)
            order, elapsed, has_content = header.tolist()
            if has_content:
                dist.broadcast_object_list(content, 0)
        return Said(Order(int(order)), elapsed, content[0])

    def average(self, parameters: Iterable[nn.Parameter], loss: Tensor, rows: OwnRows) -> Tensor:
        learned = [parameter for parameter in parameters if parameter.grad is not None]
        parts = [parameter.grad.flatten() for parameter in learned if parameter.grad is not None]
        flat = torch.cat([*parts, loss.detach().reshape(1)]).mul_(rows.weight)
        self._sum(flat)
        begin = 0
        for parameter in learned:
            end = begin + parameter.numel()
            parameter.grad = flat[begin:end].view_as(parameter)
            begin = end
        return flat[-1].clone()

    def gathered(self, state: tuple[Tensor, ...], rows: OwnRows) -> tuple[Tensor, ...]:
        parts = []
        for own in state:
            layers, _, hidden = own.shape
            # A sum with zeros is the number itself, and takes ranks with unequal rows.
            whole = own.new_zeros(layers, rows.batch, hidden)
            if rows.weight:
                whole[:, rows.slice] = own
            self._sum(whole)
            parts.append(whole)
        return tuple(parts)

    def _sum(self, values: Tensor) -> None:
        if values.is_cuda and self._of_gpus is None:
            self._of_gpus = dist.new_group(backend="nccl", timeout=GPU_PATIENCE)
        with _exchanging():
            dist.all_reduce(values, group=self._of_gpus if values.is_cuda else None)


@contextmanager
def _exchanging() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RankLost(f"another rank has ended: {error}") from None


@contextmanager
def joined(rank: int, size: int, store: Path) -> Iterator[Ranks]:
    """Makes this process a rank for the length of the block, once all ranks are there.

    After a block that ends well rank 0 lets the others end, too. Otherwise they lose it: they may
    be in the middle of something else, and nothing could be said.

    Args:
        rank, size: its number, and how many there are.
        store: a path that only these processes know, where they find each other.
    """
    with _exchanging():
        dist.init_process_group(
            "gloo",
            store=dist.FileStore(str(store), size),  # type: ignore[attr-defined]
            rank=rank,
            world_size=size,
            timeout=PATIENCE,
        )
    group = Ranks(rank, size)
    yield group
    if rank == 0:
        group.tell(Order.END)
    dist.destroy_process_group()
