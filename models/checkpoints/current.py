"""Reads the checkpoint that a reference names while others publish and delete.

Between naming a checkpoint and opening its files it may be deleted or replaced. Then it is not
damaged: it is unknown, or there is another one to read. Knows no file.
"""

from collections.abc import Callable
from typing import TypeVar

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.files import CheckpointError

Found = TypeVar("Found")


def read_current(registry: Registry, reference: Reference, read: Callable[[str], Found]) -> Found:
    """Returns what ``read`` makes of the digest that a reference names now.

    Raises:
        UnknownModel: nothing has that name or tag, or no longer.
        CheckpointError: it is damaged.
    """
    digest = registry.resolve(reference)
    while True:
        try:
            return read(digest)
        except CheckpointError:
            newer = registry.resolve(reference)
            if newer == digest:
                raise
            digest = newer
