"""A damaged tag names again what it named; as long as that is not known, nothing is pruned."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.files import CheckpointError
from tests.forgery import a_checkpoint

LATEST = Reference("m")
KEPT = Reference("m", "kept")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def flip(path: Path, place: int) -> None:
    """Turns over the lowest bit of a byte: a digit often becomes another digit."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def tag_file(registry: Registry, tag: str) -> Path:
    return registry.root / "m" / "tags" / tag


def steps(registry: Registry) -> dict[str, int | None]:
    """The step of each tag's checkpoint, as it is loaded."""
    return {
        entry.reference.tag: registry.load("m", entry.digest).card["step"]
        for entry in registry.entries()
    }


@pytest.mark.parametrize("place", range(0, 64, 7))
@pytest.mark.parametrize("tag", ["latest", "kept"])
def test_a_flipped_bit_in_a_tag_loses_nothing(tag: str, place: int, registry: Registry) -> None:
    registry.publish(KEPT, a_checkpoint(1))
    for step in (2, 3):
        registry.publish(LATEST, a_checkpoint(step))
    flip(tag_file(registry, tag), place)
    # Nobody reads in between.
    registry.publish(LATEST, a_checkpoint(4))
    assert steps(registry) == {"latest": 4, "kept": 1}
    home = registry.root / "m"
    assert len([path for path in home.iterdir() if len(path.name) == 64]) == 3


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "halved": lambda path: os.truncate(path, path.stat().st_size // 2),
    "short": lambda path: os.truncate(path, 10),
    "gone": Path.unlink,
    "directory": lambda path: path.rename(path.with_name(".away")).with_name(path.name).mkdir(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_latest_is_the_newest_again(
    damage: str, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    registry.publish(KEPT, a_checkpoint(9))
    for step in (1, 2):
        registry.publish(LATEST, a_checkpoint(step))
    DAMAGES[damage](tag_file(registry, "latest"))
    assert registry.names() == ["m"]
    assert steps(registry) == {"latest": 2, "kept": 9}
    # Half of a tag is a whole one, without the digest before.
    assert damage == "halved" or "m:latest was damaged: it names the checkpoint" in caplog.text
    registry.publish(LATEST, a_checkpoint(3))
    assert steps(registry) == {"latest": 3, "kept": 9}
    # The one before is known again, too.
    weights = registry.root / "m" / registry.resolve(LATEST) / "model.safetensors"
    weights.write_bytes(b"")
    assert steps(registry)["latest"] == 2


def test_all_tags_may_be_gone(registry: Registry) -> None:
    registry.publish(KEPT, a_checkpoint(1))
    registry.publish(LATEST, a_checkpoint(2))
    registry.publish(LATEST, a_checkpoint(3))
    for tag in ("kept", "latest"):
        tag_file(registry, tag).unlink()
    (registry.root / "m" / "tags").rmdir()
    found = steps(registry)
    assert found.pop("latest") == 3
    # One is the one before, the other has a tag of its own.
    registry.publish(LATEST, a_checkpoint(4))
    assert sorted(filter(None, steps(registry).values())) in ([1, 4], [2, 4])


def test_nothing_is_pruned_while_a_tag_cannot_be_read(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    other = Reference("m", "other")
    for reference, step in ((LATEST, 0), (KEPT, 1), (other, 2)):
        registry.publish(reference, a_checkpoint(step))
    for tag in ("kept", "other"):
        tag_file(registry, tag).write_bytes(b"")
    with pytest.raises(CheckpointError, match="its tag cannot be read"):
        registry.resolve(KEPT)
    for step in range(3, 7):
        registry.publish(LATEST, a_checkpoint(step))
    home = registry.root / "m"
    assert len([path for path in home.iterdir() if len(path.name) == 64]) == 7
    said = f"the tag {tag_file(registry, 'kept')} is damaged: nothing of m is removed"
    assert said in caplog.text
    for reference in (KEPT, other):
        registry.delete(reference)
    assert len([path for path in home.iterdir() if len(path.name) == 64]) == 2
    registry.delete_name("m")
    assert not home.exists()


def test_the_only_one_without_a_tag_is_the_one(registry: Registry) -> None:
    registry.publish(KEPT, a_checkpoint(1))
    registry.publish(LATEST, a_checkpoint(2))
    tag_file(registry, "kept").write_bytes(b"")
    assert steps(registry) == {"latest": 2, "kept": 1}


def test_an_n_gram_model_stays_while_a_card_cannot_be_read(registry: Registry) -> None:
    counted = registry.publish_ngram("m", b"counts")
    checkpoint = a_checkpoint(1)
    checkpoint.card["ngram"] = counted
    digest = registry.publish(KEPT, checkpoint)
    file = registry.root / "m" / "ngrams" / counted
    os.utime(file, (0, 0))
    (registry.root / "m" / digest / "card.json").write_bytes(b"")
    registry.publish(LATEST, a_checkpoint(2))
    assert file.exists()
    registry.delete(KEPT)
    assert not file.exists()
