"""A zip brings back the checkpoint that it was made of, and nothing gets past the reader."""

import io
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from models.checkpoints.archive import unzipped, zipped, zipped_size
from models.checkpoints.format import FILES, MANIFEST
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.files import CheckpointError
from tests.archives import (
    ATTACKS,
    JOB,
    LIMIT,
    bomb_in,
    by_a_mac,
    contents,
    full_checkpoint,
    pack,
    padded_bomb,
    sealed,
    sound_archive,
)
from tests.forgery import a_counted_checkpoint
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


def test_an_ngram_table_comes_back_from_its_zip_and_a_forged_one_does_not(tmp_path: Path) -> None:
    registry, written = Registry(tmp_path), a_counted_checkpoint()
    digest = registry.publish(Reference("toy"), written)
    with registry.opened("toy", digest) as files:
        zip_ = b"".join(zipped(files))
    found = unzipped(io.BytesIO(zip_), LIMIT)
    assert found.config == written.config
    for name in ("ngram.hashes", "ngram.rows", "gates.weight"):
        assert found.weights[name].tobytes() == written.weights[name].tobytes()
    weights = written.weights | {"ngram.hashes": np.roll(written.weights["ngram.hashes"], 1)}
    forged = sealed(contents(zip_), model=save(weights))
    with pytest.raises(CheckpointError, match="keys out of place"):
        unzipped(io.BytesIO(forged), LIMIT)
    config = written.config.to_json() | {"format": 1, "ngram_buckets": [1 << 22]}
    with pytest.raises(CheckpointError, match="does not contain the weights"):
        unzipped(io.BytesIO(sealed(contents(zip_), config=config)), LIMIT)


def test_equal_checkpoints_make_equal_zips(sound: bytes, tmp_path: Path) -> None:
    assert sound_archive(tmp_path) == sound


def test_what_a_mac_packed_again_is_the_checkpoint(sound: bytes) -> None:
    for folder in ("Taken away/", "toy-0123456789ab/"):
        found = unzipped(io.BytesIO(by_a_mac(sound, folder)), LIMIT)
        assert found.card == full_checkpoint().card
    loose = pack(contents(sound) | {".DS_Store": b"x", "._card.json": b"x"})
    assert unzipped(io.BytesIO(loose), LIMIT).card == full_checkpoint().card


def test_a_readme_may_be_edited_or_missing_and_the_hub_may_add_its_attributes(sound: bytes) -> None:
    files = contents(sound) | {".gitattributes": b"*.safetensors filter=lfs\n"}
    for words in ({"README.md": b"# Mine\n"}, {"README.md": b"\xff"}, {}):
        archive = pack({k: v for k, v in files.items() if k != "README.md"} | words)
        assert unzipped(io.BytesIO(archive), LIMIT).card == full_checkpoint().card


def test_what_compresses_well_may_unpack_to_so_much_and_no_more(sound: bytes) -> None:
    """Up to a hundred times its size, and a megabyte whatever its size."""
    lines = b'{"step": 1, "train_loss": 2.5}\n'
    small = sealed(contents(sound), history=lines * ((1 << 20) // len(lines)))
    assert unzipped(io.BytesIO(small), 4 * LIMIT).history
    rng = random.Random(0)
    noise = b"".join(b'{"step": %d}\n' % rng.randrange(10**9) for _ in range(100_000))
    assert unzipped(io.BytesIO(sealed(contents(sound), history=noise)), 4 * LIMIT).history


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_nothing_unpacks_to_more(sound: bytes, name: str) -> None:
    """Whatever it is, and though the limit would let it through: 4 kB and a core's minute."""
    bomb = bomb_in(name, 4 * LIMIT)(sound)
    assert len(bomb) < 100_000
    with pytest.raises(CheckpointError, match=f"{name} unpacks to more than 100 times its size"):
        unzipped(io.BytesIO(bomb), 64 * LIMIT)


def test_nor_if_it_says_that_it_is_large(sound: bytes) -> None:
    with pytest.raises(CheckpointError, match="its files overlap"):
        unzipped(io.BytesIO(padded_bomb(sound)), 64 * LIMIT)


@pytest.mark.parametrize("limit", [1000, 20_000, 30_000, 1 << 31])
def test_the_size_of_a_zip_is_known_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Also where sizes need more than 32 bits, which begins at a few bytes here."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    registry = Registry(tmp_path)
    digest = registry.publish(Reference("toy"), full_checkpoint())
    with registry.opened("toy", digest) as files:
        size = zipped_size(files)
        assert size == sum(map(len, zipped(files)))


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
