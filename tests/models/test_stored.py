"""A checkpoint that is damaged anywhere is known to be, and the one before it is served."""

from pathlib import Path

import pytest

from models.checkpoints.format import FILES, MANIFEST, WEIGHTS
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.files import CheckpointError
from tests.forgery import a_checkpoint

MODEL = Reference("m")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def newest(registry: Registry) -> Path:
    for step in (1, 2):
        digest = registry.publish(MODEL, a_checkpoint(step, history=3))
    return registry.root / "m" / digest


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("file", [*FILES, MANIFEST])
@pytest.mark.parametrize("damage", ["flipped", "halved", "gone"])
def test_all_readers_agree_on_the_one_before(file: str, damage: str, registry: Registry) -> None:
    path = newest(registry) / file
    if not path.stat().st_size:
        path.write_bytes(b"more")
    elif damage == "flipped":
        flip(path)
    elif damage == "halved":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.unlink()
    if file == WEIGHTS and damage == "flipped":
        # Of weights only the size shows; who reads them finds it out, and then all know.
        with pytest.raises(CheckpointError):
            registry.load("m", path.parent.name)
    entry = registry.entry(MODEL)
    assert entry.card["step"] == 1
    assert file in entry.damaged[0] or file == MANIFEST
    assert entry.tags == ["latest"]
    assert registry.resolve(MODEL) == entry.digest
    assert registry.load("m", entry.digest).card["step"] == 1
    assert len(registry.history(MODEL)) == 3
    with registry.opened("m", entry.digest) as files:
        assert set(files) == {*FILES, MANIFEST}
    assert registry.damaged == {path.parent}
    registry.delete(MODEL)
    assert registry.damaged == set()


def test_flipped_weights_are_not_downloaded(registry: Registry) -> None:
    directory = newest(registry)
    flip(directory / WEIGHTS)
    with (
        pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"),
        registry.opened("m", directory.name),
    ):
        pass
    assert registry.resolve(MODEL) != directory.name


def test_what_is_mended_is_served_again(registry: Registry) -> None:
    directory = newest(registry)
    sound = (directory / "card.json").read_bytes()
    (directory / "card.json").write_bytes(b"")
    assert registry.resolve(MODEL) != directory.name
    (directory / "card.json").write_bytes(sound)
    assert registry.resolve(MODEL) == directory.name
    assert registry.entry(MODEL).damaged == []


def test_publishing_the_same_again_mends_it(registry: Registry) -> None:
    directory = newest(registry)
    flip(directory / WEIGHTS)
    registry.publish(MODEL, a_checkpoint(2, history=3))
    assert registry.load("m", registry.resolve(MODEL)).card["step"] == 2


def test_with_none_before_the_model_is_damaged(registry: Registry) -> None:
    digest = registry.publish(MODEL, a_checkpoint(1))
    (registry.root / "m" / digest / "vocab.json").unlink()
    for read in (registry.resolve, registry.entry, registry.history):
        with pytest.raises(CheckpointError, match=r"m:latest: vocab\.json is missing"):
            read(MODEL)
    assert list(registry.references()) == [MODEL]
