"""The contents of files: placed as a head's parts say, brought when they are used, sent as parts.

Knows no head but its parts.
"""

import hashlib
import os
import secrets
from pathlib import Path

from models.places import is_directory, is_there
from worker import logs
from worker.storage import copies
from worker.storage.bucket import Bucket
from worker.storage.heads import INLINE, Grown, Part, Stored

MOST_PARTS = 50
"""Parts of a file that grows, until it is sent anew as one."""

log = logs.logger(__name__)


class Contents:
    """Files here and objects there, compared by their digests, which are computed once."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._digests: dict[Path, tuple[copies.Signature, str]] = {}
        self._sent: dict[Path, Stored] = {}
        self._stand_for: dict[Path, Stored] = {}

    # Bringing

    def place(self, target: Path, path: str, part: Part) -> None:
        """Makes a file what a part says; a large one a stand-in, unless it is here.

        Raises:
            FileNotFoundError: the part's object is gone.
        """
        if is_directory(target):
            copies.drop(target)
        match part:
            case str():
                data = part.encode()
                if _content(target) != data:
                    copies.write(target, data)
            case Stored() if self._is_same(target, part):
                return
            case Stored() if copies.is_large(path):
                copies.stand_in(target, part.bytes)
                self._stand_for[target] = part
            case Stored():
                copies.write(target, self._content_of(part.key))
            case Grown():
                if is_there(target):
                    self._grow(target, part)

    def bring(self, target: Path, part: Part) -> bool:
        """Brings what ``place`` left out; False if its object is gone."""
        try:
            if isinstance(part, Grown) and not is_there(target):
                copies.write(target, b"".join(self._content_of(key) for key, _ in part.parts))
            elif isinstance(part, Stored) and copies.is_stand_in(target):
                self._fetch(target, part)
        except FileNotFoundError:
            return False
        return True

    def _fetch(self, target: Path, part: Stored) -> None:
        staged = copies.stage(target)
        try:
            with staged.open("wb") as file:
                if not self._bucket.read_file(part.key, file):
                    raise FileNotFoundError(part.key)
            if copies.digest(staged) != part.sha256:
                # Whoever reads it finds out what is wrong.
                log.error("%s in the bucket is not what was sent there", part.key)
            staged.replace(target)
        finally:
            staged.unlink(missing_ok=True)

    def _grow(self, target: Path, part: Grown) -> None:
        """Adds the newest parts; if the file is not what the others say, it is made anew."""
        size = target.stat().st_size
        missing: list[str] = []
        before = part.bytes
        for key, added in reversed(part.parts):
            if before <= size:
                break
            missing.insert(0, key)
            before -= added
        if before == size and missing:
            added_data = b"".join(self._content_of(key) for key in missing)
            with target.open("ab") as file:
                file.write(added_data)
        if before != size or self._digest(target) != part.sha256:
            copies.write(target, b"".join(self._content_of(key) for key, _ in part.parts))

    def _is_same(self, target: Path, part: Stored) -> bool:
        known = copies.signature(target)
        if known is None or known[1] != part.bytes:
            return False
        if copies.is_stand_in(target):
            # Another content may be as long.
            return self._stand_for.get(target) == part
        try:
            return self._digest(target) == part.sha256
        except OSError:
            return False

    def _content_of(self, key: str) -> bytes:
        found = self._bucket.read(key)
        if found is None:
            raise FileNotFoundError(key)
        return found[0]

    def _digest(self, target: Path) -> str:
        signature = copies.signature(target)
        known = self._digests.get(target)
        if known is None or known[0] != signature:
            digest = copies.digest(target)
            if signature is None:
                return digest
            known = self._digests[target] = (signature, digest)
        return known[1]

    # Sending

    def part(self, target: Path, path: str, before: Part | None, folder: str) -> Part | None:
        """A file as a part of a head, once its content is in the bucket; None if it is gone.

        Args:
            target: the file.
            path: its path in its folder.
            before: the part that it is in the newest head, if any.
            folder: the beginning of keys for it.
        """
        key = f"{folder}/{secrets.token_hex(8)}-{path.replace('/', '-') or 'file'}"
        try:
            if path == copies.GROWING:
                return self._grown(target, before, key)
            if copies.is_stand_in(target):
                return before
            if not copies.is_large(path):
                data = target.read_bytes()
                if (text := _inline(data)) is not None:
                    return text
                return self._stored(target, data, before, key)
            return self._stored(target, None, before, key)
        except FileNotFoundError:
            return None

    def forget_sent(self, folder: Path) -> None:
        """Forgets what was sent for a folder: a head has it now, and its objects go with that.

        Until then it need not be sent again, if another host was faster.
        """
        for target in [one for one in list(self._sent) if folder in (one, *one.parents)]:
            del self._sent[target]

    def _stored(self, target: Path, data: bytes | None, before: Part | None, key: str) -> Part:
        sent = self._sent.get(target)
        digest = self._digest(target) if data is None else hashlib.sha256(data).hexdigest()
        for known in (before, sent):
            if isinstance(known, Stored) and known.sha256 == digest:
                return known
        if data is not None:
            self._bucket.add(key, data)
            part = Stored(key, len(data), digest)
        else:
            with target.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                self._bucket.add(key, file)
            part = Stored(key, size, digest)
        self._sent[target] = part
        return part

    def _grown(self, target: Path, before: Part | None, key: str) -> Part | None:
        """The whole lines of a file, of which only the new ones are sent."""
        data = target.read_bytes()
        data = data[: data.rfind(b"\n") + 1]
        digest = hashlib.sha256(data).hexdigest()
        known = before if isinstance(before, Grown) else Grown((), "")
        if digest == known.sha256:
            return known
        begun = hashlib.sha256(data[: known.bytes]).hexdigest()
        is_longer = begun == known.sha256 and len(known.parts) < MOST_PARTS
        parts, new = (known.parts, data[known.bytes :]) if is_longer else ((), data)
        if not new:
            return Grown((), digest)
        self._bucket.add(key, new)
        return Grown((*parts, (key, len(new))), digest)


def _inline(data: bytes) -> str | None:
    """A small text; None if it is none."""
    if len(data) > INLINE:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if text.encode() == data else None


def _content(target: Path) -> bytes | None:
    try:
        return target.read_bytes()
    except OSError:
        return None
