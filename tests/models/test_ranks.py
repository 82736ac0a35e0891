"""Rows of a batch are shared out; one process by itself exchanges nothing."""

from pathlib import Path

import pytest
import torch
from torch import nn

from models.training.ranks import ALONE, Order, OwnRows, RankLost, joined


@pytest.mark.parametrize(("size", "batch"), [(1, 32), (2, 32), (2, 5), (3, 7), (4, 3), (8, 1)])
def test_each_row_is_one_ranks_and_weighs_the_same(size: int, batch: int) -> None:
    parts = [OwnRows.of(rank, size, batch) for rank in range(size)]
    counted = [row for part in parts if part.weight for row in range(part.begin, part.end)]
    assert counted == list(range(batch))
    for part in parts:
        assert part.slice == slice(part.begin, part.end)
        # A rank without rows reads one all the same.
        assert 0 <= part.begin < part.end <= batch
        assert part.weight in (0, pytest.approx((part.end - part.begin) / batch))
    assert sum(part.weight for part in parts) == pytest.approx(1)
    sizes = [part.end - part.begin for part in parts if part.weight]
    assert max(sizes) - min(sizes) <= 1


def test_all_rows_are_those_of_one_process() -> None:
    assert ALONE.rows(5).are_all
    assert OwnRows.of(0, 8, 1).are_all
    assert not OwnRows.of(0, 2, 5).are_all


def test_one_process_keeps_what_it_has() -> None:
    network, loss, state = nn.Linear(2, 2), torch.tensor(1.5), (torch.ones(1, 4, 3),)
    network(torch.ones(2)).sum().backward()
    before = [parameter.grad for parameter in network.parameters()]
    assert ALONE.average(network.parameters(), loss, ALONE.rows(4)) is loss
    assert [p.grad is b for p, b in zip(network.parameters(), before, strict=True)] == [True] * 2
    assert ALONE.gathered(state, ALONE.rows(4)) is state
    ALONE.tell(Order.END)


def test_a_rank_that_finds_nobody_says_so(tmp_path: Path) -> None:
    """A path that is no file: nobody can be met there."""
    with pytest.raises(RankLost, match="another rank has ended"), joined(0, 2, tmp_path):
        pass
