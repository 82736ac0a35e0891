"""A checkpoint's history: losses and samples over the steps of training, one JSON object a line.

A file may hold any number of lines; of a longer one than a reader can use, evenly spread lines are
kept. So reading one costs the same few tenths of a second at most, whatever the training was. Knows
no directory and no card.
"""

from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import IO, Generic, Required, TypedDict, TypeVar, cast

from models.checkpoints.card import is_number
from models.files import CheckpointError, parse_object

MAX_LOSSES = 10_000
"""Most losses of a history: as many as a training of a month has."""

FEWEST_LOSSES = 3
"""Of fewer, evenly spread ones cannot hold the first and the last."""

MAX_SAMPLES = 1_000

MAX_LINE = 16 << 10
"""Most bytes of a line. A sample that this service draws takes half of it at most."""

MAX_HISTORY = 64 << 20
"""Most bytes of a file."""

Item = TypeVar("Item")


class HistoryPoint(TypedDict, total=False):
    """A line of the history: the losses at a step or, if there is a ``text``, a sample."""

    step: Required[int]
    train_loss: float | None
    val_loss: float | None
    temperature: float | None
    style: str
    text: str


class _Spread(Generic[Item]):
    """The items of a sequence of unknown length: all of them, or some that are evenly spread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[Item] = []
        self._last: list[Item] = []
        self._stride = 1
        self._count = 0

    def add(self, item: Item) -> None:
        # Once some are left out, there must be room for the last.
        room = self._most - (self._stride > 1)
        if self._count % self._stride == 0 and len(self._kept) == room:
            self._kept = self._kept[::2]
            self._stride *= 2
        if self._count % self._stride == 0:
            self._kept.append(item)
            self._last = []
        else:
            self._last = [item]
        self._count += 1

    def items(self) -> list[Item]:
        """At most as many as were allowed; the first and the last are among them."""
        return self._kept + self._last


def thinned(points: Iterable[HistoryPoint], most_losses: int = MAX_LOSSES) -> list[HistoryPoint]:
    """Returns points in their order, of losses and of samples at most as many as there may be.

    ``most_losses`` is at least ``FEWEST_LOSSES``.
    """
    return _thinned(points, lambda point: "text" in point, most_losses)


def _thinned(
    items: Iterable[Item], is_sample: Callable[[Item], bool], most_losses: int = MAX_LOSSES
) -> list[Item]:
    losses: _Spread[tuple[int, Item]] = _Spread(most_losses)
    samples: _Spread[tuple[int, Item]] = _Spread(MAX_SAMPLES)
    for numbered in enumerate(items):
        (samples if is_sample(numbered[1]) else losses).add(numbered)
    in_order = sorted(losses.items() + samples.items(), key=itemgetter(0))
    return [item for _, item in in_order]


def read_history(file: IO[bytes]) -> list[HistoryPoint]:
    """Reads an untrusted history, thinned; lines that are left out are not looked at.

    Raises:
        CheckpointError: it or a line is too large, or a part of a line has another type than
            ``HistoryPoint`` says.
    """
    lines = _thinned(_lines(file), lambda line: b'"text"' in line)
    # Once more: what looks like a loss may be a sample whose name is written in another way.
    return thinned(map(parse_point, lines))


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    total = 0
    while line := file.readline(MAX_LINE + 1):
        total += len(line)
        if len(line) > MAX_LINE:
            raise CheckpointError(f"history.jsonl has a line of more than {MAX_LINE >> 10} KiB")
        if total > MAX_HISTORY:
            raise CheckpointError("history.jsonl is too large")
        yield line


def parse_point(line: bytes) -> HistoryPoint:
    """Parses a line of an untrusted history.

    Raises:
        CheckpointError: a part of it has another type than ``HistoryPoint`` says.
    """
    point = parse_object(line, "history.jsonl")
    numbers = all(is_number(point.get(n)) for n in ("train_loss", "val_loss", "temperature"))
    step = point.get("step")
    if type(step) is not int or not is_number(step) or not numbers:
        raise CheckpointError("history.jsonl: a figure is not a number")
    if not all(isinstance(point.get(name, ""), str) for name in ("text", "style")):
        raise CheckpointError("history.jsonl: a sample is not text")
    return cast(HistoryPoint, point)
