"""A zip brings back the checkpoint that it was made of, and nothing gets past the reader."""

import io
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.checkpoints.archive import unzipped, zipped
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.files import CheckpointError
from tests.archives import (
    ATTACKS,
    JOB,
    LIMIT,
    full_checkpoint,
    sound_archive,
)
from tests.toys import toy_checkpoint


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The zip of a sound checkpoint."""
    return sound_archive(tmp_path_factory.mktemp("elsewhere"))


def test_a_checkpoint_comes_back_from_its_zip(sound: bytes) -> None:
    published, found = full_checkpoint(), unzipped(io.BytesIO(sound), LIMIT)
    for name, weight in published.weights.items():
        assert np.array_equal(found.weights[name], weight)
    assert (found.config, found.vocabulary) == (published.config, published.vocabulary)
    assert (found.card, found.history) == (published.card, published.history)
    assert found.validation == published.validation
    assert np.array_equal(found.lines, published.lines)


def test_equal_checkpoints_make_equal_zips(sound: bytes, tmp_path: Path) -> None:
    assert sound_archive(tmp_path) == sound


def test_it_comes_piece_by_piece(tmp_path: Path) -> None:
    """Nobody holds it whole: not even one file of it."""
    registry = Registry(tmp_path)
    digest = registry.publish(Reference("large"), toy_checkpoint(hidden_size=256))
    with registry.opened("large", digest) as files:
        sizes = [len(piece) for piece in zipped(files)]
    assert sum(sizes) > 3 << 20
    assert max(sizes) < 1 << 19


def test_an_archive_outlives_its_model(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    digest = registry.publish(Reference("toy"), full_checkpoint())
    with registry.opened("toy", digest) as files:
        pieces = zipped(files)
        first = next(pieces)
        registry.delete_name("toy")
        archive = first + b"".join(pieces)
    assert unzipped(io.BytesIO(archive), LIMIT).card["job_id"] == JOB


@pytest.mark.parametrize(("attack", "words"), ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_refused_in_words(
    sound: bytes, attack: Callable[[bytes], bytes], words: str
) -> None:
    with pytest.raises(CheckpointError) as refusal:
        unzipped(io.BytesIO(attack(sound)), LIMIT)
    assert words in str(refusal.value)


def test_any_damage_is_a_checkpoint_error(sound: bytes) -> None:
    """Whatever bytes are changed, cut out or put in: nothing but CheckpointError comes of it."""
    rng = random.Random(0)
    places = [m.start() for m in re.finditer(rb"PK", sound)]
    refused = 0
    for _ in range(400):
        damaged = bytearray(sound)
        for _ in range(rng.randint(1, 4)):
            near = rng.choice([*places, rng.randrange(len(damaged))])
            at = min(near + rng.randrange(60), len(damaged) - 1)
            kind = rng.random()
            if kind < 0.6:
                damaged[at] = rng.randrange(256)
            elif kind < 0.8:
                del damaged[at : at + rng.randrange(50)]
            else:
                damaged[at:at] = rng.randbytes(rng.randrange(50))
        try:
            unzipped(io.BytesIO(damaged), LIMIT)
        except CheckpointError:
            refused += 1
    assert refused > 200
