"""Whose rows advance next: callers share a decoder thread's time, however many texts each has.

A step of a batch costs a fixed part, as much as some *spare rows* do, and something for each row.
So if no caller has more than so many rows more in a tick than the caller with the fewest has, each
of K callers of a model gets at least a Kth of what it would get by itself. The rows that do not fit
into a tick come in the next ones, in turn. A single caller, or callers with about as many texts,
lose nothing: all their rows advance together.

Knows no thread and no clock.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from app.engine.callers import Caller


class Row(Protocol):
    """A text that is being written for somebody."""

    @property
    def caller(self) -> Caller: ...


AnyBatch = TypeVar("AnyBatch")
AnyRow = TypeVar("AnyRow", bound=Row)


class Sharing:
    """Divides the turns of one thread. Used only by that thread.

    Args:
        spare_rows: returns how many rows cost as much as the fixed part of a batch's step.
    """

    def __init__(self, spare_rows: Callable[[Any], int]) -> None:
        self._spare_rows = spare_rows
        self._turns = 0

    def turn(
        self, waiting: Mapping[AnyBatch, list[AnyRow]]
    ) -> Iterator[tuple[AnyBatch, list[AnyRow]]]:
        """Yields the batches to tick in this turn, and which of their rows.

        A caller advances in one batch a turn: else it would have more turns by using more models.
        Keep ``waiting`` in the order in which rows advanced last, those that waited longest first.
        """
        batches = [(batch, rows) for batch, rows in waiting.items() if rows]
        held = Counter(row.caller.name for _, rows in batches for row in rows)
        if len(held) < 2:
            yield from batches
            return
        least = min(held.values())
        self._turns += 1
        first = self._turns % len(batches)
        served: set[str] = set()
        for batch, rows in batches[first:] + batches[:first]:
            most = least + self._spare_rows(batch)
            taken: Counter[str] = Counter()
            chosen = []
            for row in rows:
                name = row.caller.name
                if name not in served and taken[name] < most:
                    taken[name] += 1
                    chosen.append(row)
            served |= taken.keys()
            if chosen:
                yield batch, chosen
