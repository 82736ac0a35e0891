"""Opens the storage that the settings name: the data directory itself, or a cache of a bucket.

A cache is a directory below the data directory that belongs to one process and its children, the
first one that is free. The store's id and the key of the states of texts are the bucket's. Knows no
store.
"""

import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from models.files import CheckpointError, parse_object, write_durably
from models.places import make_directory
from models.storage import StorageAway
from worker import logs
from worker.data import STORE_ID, DataDirectory
from worker.settings import WorkerSettings
from worker.storage.bucket import Bucket, Stale, StorageRefused
from worker.storage.mirror import Mirror

CACHE = "CHARLOOM_CACHE"
"""The variable that tells a child of a worker which cache is its parent's."""

FORMAT = 1
"""Of what lies in the bucket; raised where a release before could not read it any more."""

MOST_CACHES = 1000

_STORE = "store"
_PAUSE = 1.0

log = logs.logger(__name__)


def open_storage(
    data: DataDirectory, url: str, cache_bytes: int, environment: Mapping[str, str] = os.environ
) -> DataDirectory:
    """The directory that stores work in.

    Args:
        data: what ``CHARLOOM_DATA`` names.
        url: of the bucket; empty is none.
        cache_bytes: that large files may take in a cache.
        environment: of this process, for the children of a worker.

    Raises:
        StorageRefused: the bucket cannot be used.
        OSError: no cache can be made.
    """
    return _opened(data.root, url, cache_bytes, environment.get(CACHE)) if url else data


@cache
def _opened(place: Path, url: str, cache_bytes: int, known: str | None) -> DataDirectory:
    bucket = Bucket(url)
    root = Path(known) if known else _own_cache(place, url)
    data = DataDirectory(root)
    _take_over(bucket, DataDirectory(place), data)
    return replace(data, storage=Mirror(root, bucket, cache_bytes))


def opened(settings: WorkerSettings) -> WorkerSettings:
    """A worker's settings with the directory that its stores work in; as ``open_storage``."""
    data = open_storage(settings.data, settings.storage, settings.cache_bytes)
    return replace(settings, data=data)


def _own_cache(root: Path, url: str) -> Path:
    """A cache that no other process has, until this one ends."""
    caches = root / f"cache-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
    for number in range(MOST_CACHES):
        cache = caches / str(number)
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(cache / "in-use", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # Never closed: the kernel does so when the process ends.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return cache
    raise StorageRefused(f"{caches} has {MOST_CACHES} caches in use: end some of the processes")


def _take_over(bucket: Bucket, place: DataDirectory, data: DataDirectory) -> None:
    """Puts the store's id and key where the stores look for them; waits for the bucket if they
    are not there."""
    is_told = False
    while True:
        try:
            bucket.check()
            # An operator may choose it, for the first start.
            chosen = place.store_id() if place.has_store_id else secrets.token_hex(8)
            found = _found_store(bucket, chosen)
            break
        except StorageAway:
            if data.has_store_id:
                return
            if not is_told:
                log.warning("waiting for %s", bucket.url)
                is_told = True
            time.sleep(_PAUSE)
    make_directory(data.root)
    write_durably(data.root / "store-id", f"{found['id']}\n".encode())
    write_durably(data.secret, bytes.fromhex(found["secret"]), mode=0o600)


def _found_store(bucket: Bucket, store_id: str) -> dict[str, str]:
    """What all who use a bucket share; made at the first call, with this id."""
    made = {"format": FORMAT, "id": store_id, "secret": secrets.token_hex(32)}
    with suppress(Stale):
        bucket.write(_STORE, json.dumps(made).encode(), None)
    data, _ = bucket.read(_STORE) or (b"", "")
    try:
        found = parse_object(data, _STORE)
        number, store_id, key = found["format"], str(found["id"]), str(found["secret"])
        bytes.fromhex(key)
        if not STORE_ID.fullmatch(store_id):
            raise ValueError("no store's id")
    except (CheckpointError, KeyError, ValueError):
        raise StorageRefused(
            f"CHARLOOM_STORAGE={bucket.url}: the object {_STORE} is damaged or not charloom's: "
            "choose another prefix, or restore it"
        ) from None
    if not isinstance(number, int) or number > FORMAT:
        raise StorageRefused(
            f"CHARLOOM_STORAGE={bucket.url} was written by a later charloom: upgrade this one"
        )
    return {"id": store_id, "secret": key}
