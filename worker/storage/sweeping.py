"""Removes from a bucket what nobody needs: files that no head names, and heads of deleted jobs.

A process that was killed, or whose head was refused, leaves the files that it had sent. Knows heads
and keys, and no folder on a disk.
"""

from collections import defaultdict

from models.files import CheckpointError
from models.places import tell_once
from worker.storage.bucket import Bucket
from worker.storage.heads import Head

AGE = 24 * 3600.0
"""Seconds from which on nobody can still be about to name a file, or to make a job again."""

_SMALL = 1000
"""Bytes that the head of a deleted job has at most."""


def sweep(bucket: Bucket, age: float = AGE) -> None:
    """Removes what is older than an age. Raises StorageAway."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    for found in bucket.list("data"):
        if found.age > age:
            folder = found.key.removeprefix("data/").rpartition("/")[0]
            files[folder].append(found.key)
    for folder, keys in files.items():
        named = _named(bucket, folder)
        if named is not None:
            bucket.delete([key for key in keys if key not in named])
    old = [one for one in bucket.list("heads/jobs") if one.size < _SMALL and one.age > age]
    # Not those of models and corpora, which may be made again at any moment.
    bucket.delete([one.key for one in old if _is_gone(bucket, one.key)])


def _named(bucket: Bucket, folder: str) -> set[str] | None:
    """The keys that the head of a folder names; None if that cannot be known."""
    hidden = any(part.startswith(".") for part in folder.split("/"))
    try:
        head = _head(bucket, f"{'claims' if hidden else 'heads'}/{folder}")
    except CheckpointError as error:
        tell_once(f"{folder}: {error}")
        return None
    return head.keys() if head else set()


def _is_gone(bucket: Bucket, key: str) -> bool:
    try:
        head = _head(bucket, key)
    except CheckpointError:
        return False
    return head is not None and head.is_gone


def _head(bucket: Bucket, key: str) -> Head | None:
    found = bucket.read(key)
    return Head.parse(found[0]) if found else None
