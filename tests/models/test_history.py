"""A history is its points in their order, and of a long one some that stand for all."""

import io
import itertools
import json

import pytest

from models.checkpoints.history import (
    MAX_HISTORY,
    MAX_LINE,
    MAX_LOSSES,
    MAX_SAMPLES,
    HistoryPoint,
    parse_point,
    read_history,
    thinned,
)
from models.files import CheckpointError


def lines(points: list[HistoryPoint]) -> io.BytesIO:
    return io.BytesIO(b"".join(json.dumps(point).encode() + b"\n" for point in points))


def losses(count: int) -> list[HistoryPoint]:
    return [{"step": n, "train_loss": 2.0} for n in range(count)]


def samples(count: int) -> list[HistoryPoint]:
    return [{"step": n, "text": f"sample {n}"} for n in range(count)]


def test_a_history_at_its_bounds_comes_back_in_its_order() -> None:
    points = losses(MAX_LOSSES) + samples(MAX_SAMPLES)
    assert thinned(points) == points
    assert read_history(lines(points)) == points
    mixed = points[::-1]
    assert read_history(lines(mixed)) == mixed


@pytest.mark.parametrize("count", [MAX_LOSSES + 1, 3 * MAX_LOSSES, 100_003])
def test_beyond_them_some_evenly_spread_points_are_left(count: int) -> None:
    found = read_history(lines(losses(count) + samples(MAX_SAMPLES + 1)))
    steps = [point["step"] for point in found if "text" not in point]
    assert MAX_LOSSES / 2 <= len(steps) <= MAX_LOSSES
    assert (steps[0], steps[-1]) == (0, count - 1)
    gaps = {after - before for before, after in itertools.pairwise(steps[:-1])}
    assert len(gaps) == 1
    told = [point["step"] for point in found if "text" in point]
    assert MAX_SAMPLES / 2 <= len(told) <= MAX_SAMPLES
    assert (told[0], told[-1]) == (0, MAX_SAMPLES)
    assert thinned(found) == found


def test_samples_in_disguise_are_counted_as_samples() -> None:
    hidden = b'{"step": 1, "te\\u0078t": "a"}\n'
    found = read_history(io.BytesIO(hidden * (2 * MAX_SAMPLES)))
    assert len(found) <= MAX_SAMPLES
    assert found[0] == {"step": 1, "text": "a"}


def test_a_line_and_a_file_at_their_limits() -> None:
    sample = b'{"step": 1, "text": ""}'
    longest = sample[:-2] + b"a" * (MAX_LINE - len(sample) - 1) + b'"}\n'
    assert len(longest) == MAX_LINE
    assert len(read_history(io.BytesIO(longest))) == 1
    with pytest.raises(CheckpointError, match="a line of more than 16 KiB"):
        read_history(io.BytesIO(longest[:-2] + b" }\n"))
    count = MAX_HISTORY // MAX_LINE
    assert len(read_history(io.BytesIO(longest * count))) <= MAX_SAMPLES
    with pytest.raises(CheckpointError, match="too large"):
        read_history(io.BytesIO(longest * count + b"\n"))


def test_points_and_samples_come_back() -> None:
    for line in (
        b'{"step": 1, "train_loss": 2.5, "val_loss": null}',
        b'{"step": 1, "temperature": 0.5, "text": "a\\n"}',
        b'{"step": 0}',
    ):
        assert parse_point(line) == json.loads(line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"[]", "history.jsonl is not a JSON object"),
        (b"{}", "history.jsonl: a figure is not a number"),
        (b'{"step": 1.5}', "history.jsonl: a figure is not a number"),
        (b'{"step": true}', "history.jsonl: a figure is not a number"),
        (b'{"step": 1' + b"0" * 20 + b"}", "history.jsonl: a figure is not a number"),
        (b'{"step": 1, "val_loss": "1"}', "history.jsonl: a figure is not a number"),
        (b'{"step": 1, "train_loss": []}', "history.jsonl: a figure is not a number"),
        (b'{"step": 1, "temperature": {}}', "history.jsonl: a figure is not a number"),
        (b'{"step": 1, "text": 5}', "history.jsonl: a sample is not text"),
        (b'{"step": 1, "text": null}', "history.jsonl: a sample is not text"),
    ],
    ids=str,
)
def test_a_point_of_another_type_is_refused(line: bytes, words: str) -> None:
    with pytest.raises(CheckpointError) as refusal:
        parse_point(line)
    assert str(refusal.value) == words
