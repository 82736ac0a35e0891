"""A checkpoint that goes while it is opened is not damaged."""

from pathlib import Path

import pytest

from models.checkpoints.current import read_current
from models.checkpoints.reference import Reference, UnknownModel
from models.checkpoints.registry import Registry
from models.files import CheckpointError
from tests.forgery import a_checkpoint

LINUX = Reference("linux")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "models")
    registry.publish(LINUX, a_checkpoint(1))
    return registry


def test_what_is_there_is_read(registry: Registry) -> None:
    assert read_current(registry, LINUX, lambda digest: digest) == registry.resolve(LINUX)


def test_what_is_deleted_meanwhile_is_unknown(registry: Registry) -> None:
    def read(digest: str) -> object:
        registry.delete_name("linux")
        return registry.load("linux", digest)

    with pytest.raises(UnknownModel):
        read_current(registry, LINUX, read)


def test_what_is_replaced_meanwhile_is_read_instead(registry: Registry) -> None:
    asked: list[str] = []

    def read(digest: str) -> object:
        asked.append(digest)
        if len(asked) == 1:
            # The second takes the first one's place among those that are kept.
            for step in (2, 3):
                registry.publish(LINUX, a_checkpoint(step))
        return registry.load("linux", digest).card["step"]

    assert read_current(registry, LINUX, read) == 3


def test_what_is_damaged_is_damaged(registry: Registry) -> None:
    digest = registry.resolve(LINUX)
    (registry.root / "linux" / digest / "card.json").write_bytes(b"{")
    with pytest.raises(CheckpointError, match=r"card\.json"):
        read_current(registry, LINUX, lambda digest: registry.load("linux", digest))
