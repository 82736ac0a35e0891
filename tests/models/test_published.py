"""Who reads models asks the storage first, and does with what is here where that is away."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from models.checkpoints.published import PublishedModels
from models.checkpoints.reference import Reference, UnknownModel
from models.checkpoints.registry import Registry
from models.storage import Allowed, Done, StorageAway
from tests.toys import toy_checkpoint


class Away:
    """A storage that does not answer."""

    shares_locks = False

    def refresh(self, _place: Path, *, is_needed: bool = False) -> None:
        if is_needed:
            raise StorageAway

    def change(self, _folder: Path, _act: Callable[[], Done]) -> Done:
        raise StorageAway

    def exclude(self, _folder: Path, _act: Callable[[], Done]) -> Done | None:
        raise StorageAway

    def move(self, _folder: Path, _target: Path, _allowed: Allowed) -> None:
        raise StorageAway

    def sweep(self) -> None:
        raise StorageAway

    def using(self, _place: Path) -> AbstractContextManager[None]:
        return nullcontext()


def test_what_is_here_is_served_and_mended_without_a_word_to_others(tmp_path: Path) -> None:
    digest = Registry(tmp_path).publish(Reference("toy"), toy_checkpoint())
    (tmp_path / "toy" / "tags" / "latest").write_text("damaged")
    models = PublishedModels(tmp_path, Away())
    assert models.resolve(Reference("toy")) == digest
    assert models.load("toy", digest).config == toy_checkpoint().config
    assert (tmp_path / "toy" / "tags" / "latest").read_text() == "damaged"


def test_what_is_not_here_is_not_known_to_be_nowhere(tmp_path: Path) -> None:
    with pytest.raises(StorageAway):
        PublishedModels(tmp_path, Away()).resolve(Reference("toy"))
    with pytest.raises(UnknownModel):
        PublishedModels(tmp_path).resolve(Reference("toy"))
