"""A bucket of an object store that speaks S3 with conditional writes.

Objects are read, listed and deleted by their keys below one prefix. A write can ask that the object
be absent, or be the version that was read. Knows no folder and no job.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from models.errors import CharloomError
from models.storage import StorageAway
from worker import logs

TIMEOUT = 5.0
"""Seconds until a small request counts as unanswered."""

LARGE_TIMEOUT = 600.0
"""The same for a file of any size."""

CONNECT_TIMEOUT = 2.0

RETRIES = 3
"""Further tries of one request: a bucket may refuse one now and then (503, Slow Down)."""

PROBE_SECONDS = 0.5
"""Between two looks whether a bucket is back."""

log = logs.logger(__name__)


class Stale(CharloomError):
    """The object is not as it was expected: another host was faster."""


class StorageRefused(CharloomError):
    """The bucket cannot be used as configured; the message is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as listings show it."""

    key: str
    version: str
    size: int
    age: float


class Bucket:
    """The objects below ``s3://bucket/prefix``. Methods block, and raise StorageAway.

    Credentials, region and endpoint are those of the environment: ``AWS_ACCESS_KEY_ID``,
    ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``, ``AWS_ALLOW_HTTP`` and others
    that ``obstore`` reads.
    """

    def __init__(self, url: str) -> None:
        """Raises StorageRefused."""
        self.url = url
        self._store = _store(url, TIMEOUT)
        self._large = _store(url, LARGE_TIMEOUT)
        # After the stores, which say what to install.
        import obstore

        self._obstore: Any = obstore
        self._outage = _Outage(url, self._look)

    @property
    def is_away(self) -> bool:
        """Whether it did not answer, and has not been seen to since."""
        return self._outage.is_on

    def read(self, key: str, known: str | None = None) -> tuple[bytes, str] | None:
        """An object and its version; None if there is none.

        Args:
            key: the object's.
            known: the version that is known; if it is still that, an empty version is returned.
        """
        with self._outage.noting():
            try:
                found = self._obstore.get(
                    self._store, key, options={"if_none_match": known} if known else None
                )
                return bytes(found.bytes()), str(found.meta["e_tag"])
            except FileNotFoundError:
                return None
            except self._obstore.exceptions.NotModifiedError:
                return b"", ""

    def read_file(self, key: str, target: IO[bytes]) -> bool:
        """Writes an object into a file; False if there is none."""
        with self._outage.noting():
            try:
                for block in self._obstore.get(self._large, key).stream(min_chunk_size=1 << 20):
                    target.write(block)
            except FileNotFoundError:
                return False
        return True

    def write(self, key: str, data: bytes, expected: str | None) -> str:
        """Writes an object, and returns its version.

        Args:
            key: the object's.
            data: differs from that of all earlier versions.
            expected: the version that it replaces; None if there must be none.

        Raises:
            Stale: it is another version.
        """
        errors = self._obstore.exceptions
        mode: Any = {"e_tag": expected} if expected else "create"
        with self._outage.noting():
            try:
                return str(self._obstore.put(self._store, key, data, mode=mode)["e_tag"])
            except (errors.AlreadyExistsError, errors.PreconditionError, FileNotFoundError):
                # It may be that the first try succeeded, and its answer was lost.
                found = self.read(key)
                if found and found[0] == data:
                    return found[1]
                raise Stale(key) from None

    def add(self, key: str, content: bytes | Path | IO[bytes]) -> None:
        """Writes an object whose key nobody else uses."""
        with self._outage.noting():
            self._obstore.put(self._large, key, content)

    def delete(self, keys: Sequence[str]) -> None:
        if keys:
            with self._outage.noting():
                self._obstore.delete(self._store, list(keys))

    def list(self, folder: str) -> Iterator[Listed]:
        """The objects whose keys begin with ``folder/``."""
        with self._outage.noting():
            now = time.time()
            for chunk in self._obstore.list(self._store, folder, chunk_size=1000):
                for found in chunk:
                    age = now - found["last_modified"].timestamp()
                    yield Listed(found["path"], str(found["e_tag"]), found["size"], age)

    def check(self) -> None:
        """Raises StorageRefused if the bucket cannot be used, StorageAway if it does not answer."""
        errors = self._obstore.exceptions
        try:
            self._look()
        except (errors.PermissionDeniedError, errors.UnauthenticatedError):
            raise StorageRefused(
                f"CHARLOOM_STORAGE={self.url}: the bucket refuses the credentials in "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or they may not list it"
            ) from None
        except FileNotFoundError:
            raise self._no_bucket() from None
        except errors.BaseError as error:
            words = str(error)
            if "NoSuchBucket" in words:
                raise self._no_bucket() from None
            if any(known in words for known in _REFUSALS):
                raise StorageRefused(
                    f"CHARLOOM_STORAGE={self.url}: the bucket refuses the credentials: check "
                    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION"
                ) from None
            why = _NO_CREDENTIALS if _METADATA in words else _first_line(error)
            log.warning("%s: %s", self.url, why)
            raise StorageAway from None

    def _look(self) -> None:
        next(iter(self._obstore.list(self._store, "check", chunk_size=1)), None)

    def _no_bucket(self) -> StorageRefused:
        return StorageRefused(
            f"CHARLOOM_STORAGE={self.url}: the bucket does not exist at AWS_ENDPOINT_URL: "
            "create it, or correct the name"
        )


_METADATA = "169.254.169.254"
"""Where a machine in a cloud finds its credentials. Not everywhere, and not always at once."""

_NO_CREDENTIALS = (
    "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this host a role"
)

_REFUSALS = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "credentials")


def _store(url: str, timeout: float) -> Any:
    try:
        from obstore.store import S3Store
    except ImportError:
        raise StorageRefused(
            f"CHARLOOM_STORAGE={url} needs obstore: install it with "
            "pip install -c constraints.txt -e '.[s3]'"
        ) from None
    try:
        return S3Store.from_url(
            url,
            client_options={
                # Options take the place of this variable, which obstore would read.
                "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("true", "1"),
                "timeout": timedelta(seconds=timeout),
                "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT),
            },
            retry_config={
                "max_retries": RETRIES,
                "retry_timeout": timedelta(seconds=TIMEOUT),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=50),
                    "max_backoff": timedelta(milliseconds=200),
                    "base": 2,
                },
            },
        )
    except Exception as error:
        raise StorageRefused(
            f"CHARLOOM_STORAGE={url} cannot be used: {_first_line(error)}"
        ) from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [repr(error)])[0][:300]


class _Outage:
    """Notices when a bucket goes away, and looks now and then until it is back.

    Meanwhile nobody else asks it, who would wait for nothing. Logs both, once each.
    """

    def __init__(self, url: str, look: Callable[[], None]) -> None:
        self.is_on = False
        self._url = url
        self._look = look
        self._lock = threading.Lock()

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Turns what a request raises into StorageAway."""
        if self.is_on:
            raise StorageAway
        try:
            yield
        except (Stale, StorageAway, GeneratorExit):
            raise
        except Exception as error:
            self._begin(error)
            raise StorageAway from error

    def _begin(self, error: Exception) -> None:
        with self._lock:
            if self.is_on:
                return
            self.is_on = True
        log.warning("%s does not answer: %s", self._url, _first_line(error))
        threading.Thread(target=self._wait, name="bucket", daemon=True).start()

    def _wait(self) -> None:
        while True:
            time.sleep(PROBE_SECONDS)
            with suppress(Exception):
                self._look()
                break
        self.is_on = False
        log.warning("%s answers again", self._url)
