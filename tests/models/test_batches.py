"""Batches follow each other without a gap, and are functions of their step."""

import numpy as np

from models.arrays import AnyInts
from models.text.vocab import Vocabulary
from models.training.batches import Batches, ShuffledLines

NAMES = "".join(f"{'abcdefgh'[n % 8]}{n}\n" for n in range(500))
VOCABULARY = Vocabulary("characters", sorted({ord(character) for character in NAMES}))
IDS = VOCABULARY.encode(NAMES).astype("u1")


def text_of(ids: AnyInts) -> str:
    return VOCABULARY.decoder().decode(ids)


def test_a_row_goes_on_where_it_stopped() -> None:
    """Over every border of steps and around the end: the carried state belongs to what comes."""
    ids = np.arange(103, dtype=np.uint8)
    batches = Batches(ids, batch_size=4, sequence_length=7)
    steps = [batches.batch(step) for step in range(40)]
    for inputs, targets in steps:
        assert inputs.shape == targets.shape == (7, 4)
        assert inputs.dtype == np.int64
    read = np.concatenate([inputs for inputs, _ in steps])
    expected = np.concatenate([targets for _, targets in steps])
    assert read[0].tolist() == [0, 25, 51, 77]
    assert (expected[:-1] == read[1:]).all()
    assert (expected == (read + 1) % 103).all()


def test_a_batch_is_a_function_of_its_step() -> None:
    batches = Batches(np.arange(50, dtype=np.uint16), 3, 5)
    first = batches.batch(1_000_003)
    batches.batch(2)
    assert all((a == b).all() for a, b in zip(first, batches.batch(1_000_003), strict=True))


def test_an_epoch_reads_the_text_once() -> None:
    batches = Batches(np.arange(120, dtype=np.uint8), 4, 10)
    read = np.concatenate([batches.batch(step)[0] for step in range(3)], axis=None)
    assert sorted(read.tolist()) == list(range(120))
    assert (batches.epoch(0), batches.epoch(3), batches.epoch(9)) == (0.0, 1.0, 3.0)


def test_a_batch_may_be_longer_than_the_text() -> None:
    inputs, targets = Batches(np.arange(3, dtype=np.uint8), 2, 8).batch(1)
    assert inputs.T.tolist() == [[2, 0, 1, 2, 0, 1, 2, 0], [0, 1, 2, 0, 1, 2, 0, 1]]
    assert (targets == (inputs + 1) % 3).all()


def test_lines_come_in_another_order_in_each_pass() -> None:
    batches = ShuffledLines(IDS, VOCABULARY.start_id, 1, 50, seed=3)
    steps = len(IDS) // 50
    passes = []
    for number in range(2):
        read = [batches.batch(number * steps + step)[0][:, 0] for step in range(steps)]
        # What does not fill a batch is left for another pass.
        passes.append(text_of(np.concatenate(read)).split("\n")[:-1])
    assert passes[0] != passes[1]
    for lines in passes:
        assert set(lines) <= set(NAMES.split("\n"))
        assert len(lines) > 480
    assert (batches.epoch(0), batches.epoch(steps), batches.epoch(2 * steps)) == (0.0, 1.0, 2.0)


def test_a_shuffled_batch_is_a_function_of_its_step_and_the_seed() -> None:
    batches = [ShuffledLines(IDS, VOCABULARY.start_id, 4, 20, seed) for seed in (1, 1, 2)]
    batches[1].batch(999)
    same, again, other = (np.stack(b.batch(70)) for b in batches)
    assert (same == again).all()
    assert (same != other).any()
    assert (same[1][:-1] == same[0][1:]).all()


def test_positions_say_where_a_batch_stands_in_the_text() -> None:
    plain = Batches(IDS, 4, 20)
    shuffled = ShuffledLines(IDS, VOCABULARY.start_id, 4, 20, seed=1)
    per_pass = len(shuffled.ids) // 80
    for batches in (plain, shuffled):
        for step in (0, 1, per_pass - 1, per_pass, 3 * per_pass + 7):
            positions = batches.positions(step)
            assert positions.shape == (21, 4)
            assert positions.dtype == np.int64
            inputs, targets = batches.batch(step)
            assert (batches.ids[positions[:-1]] == inputs).all()
            assert (batches.ids[positions[1:]] == targets).all()
    # In a list each character's line comes before it, whatever the order.
    positions = shuffled.positions(5)
    follows = positions[1:] == positions[:-1] + 1
    assert (follows | (shuffled.ids[positions[:-1]] == VOCABULARY.start_id)).all()
    assert not follows.all()
