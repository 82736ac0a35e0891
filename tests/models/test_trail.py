"""The state of a text is where it stopped, however it was cut into ticks and what was held back."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from models.arrays import Ids
from models.decoding.rows import Rows
from models.decoding.trail import APART, Trail
from models.text.vocab import Vocabulary
from tests.toys import ALPHABET, BYTES


def at(index: int) -> Rows:
    """Rows that remember how many ids they have read."""
    return Rows(np.array([0]), (np.array([[[index]]], np.float32),))


def walked(
    vocabulary: Vocabulary,
    ids: Ids,
    ticks: list[int],
    *,
    primed: int = 0,
    behind: int = 0,
    most_kept: int = 10,
) -> Trail:
    """The trail of a text of which so many characters are always held back."""
    trail, decoder, produced, index = Trail(vocabulary, at(0), primed, b"", ""), None, 0, 0
    decoder = vocabulary.decoder()
    for steps in ticks:
        part = ids[index : index + steps]
        produced += len(decoder.decode(part[max(0, primed - index) :]))
        index += steps
        trail.extend(
            part,
            partial(at, index),
            pending=decoder.pending,
            produced=produced,
            said=max(0, produced - behind),
            ended=False,
        )
        assert len(trail._anchors) <= most_kept
    return trail


def reached(trail: Trail, said: int) -> tuple[Any, ...]:
    """Where a replay ends: how many ids were read by then, and what else makes a state."""
    replay = trail.replay(said)
    read = int(replay.rows.state[0].item()) + len(replay.ids)
    return read, replay.position, replay.pending, replay.unsaid


@pytest.mark.parametrize("steps", [1, 7, APART, 1000])
@pytest.mark.parametrize("behind", [0, 255])
def test_a_replay_is_as_long_as_a_tick_and_the_distance(steps: int, behind: int) -> None:
    ids = np.arange(6000) % len(ALPHABET)
    ticks = [steps] * (6000 // steps)
    trail = walked(ALPHABET, ids, ticks, primed=100, behind=behind)
    produced = sum(ticks) - 100
    for said in {produced - behind, produced - behind // 2, produced}:
        replay = trail.replay(said)
        assert len(replay.ids) < APART + steps
        assert reached(trail, said) == (said + 100, said, b"", "")


def test_a_long_prime_is_left_behind() -> None:
    """An end while a text has not begun is at the end of its prime."""
    trail = Trail(ALPHABET, at(0), 500, b"", "xy")
    for index in range(0, 500, 50):
        trail.extend(
            np.zeros(50, np.int64),
            partial(at, index + 50),
            pending=b"",
            produced=2,
            said=0,
            ended=False,
        )
    for said, unsaid in ((0, "xy"), (1, "y"), (2, "")):
        assert reached(trail, said) == (500, 0, b"", unsaid)
        assert len(trail.replay(said).ids) <= APART + 50


@pytest.mark.parametrize("behind", [0, 3])
def test_a_state_of_bytes_does_not_depend_on_ticks(behind: int) -> None:
    """Ticks end inside characters; a state never does, unless one id completed two."""
    ids = np.random.default_rng(5).integers(0, len(BYTES), 600)
    one, other = (walked(BYTES, ids, [steps] * (600 // steps), behind=behind) for steps in (1, 12))
    text = BYTES.decoder().decode(ids)
    for said in range(len(text) - behind, len(text) + 1):
        assert reached(one, said) == reached(other, said)
