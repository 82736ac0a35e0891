"""States on the wire: where a text stopped, as a string that only this server can make.

The string is base64url of a signature (HMAC-SHA256), a header in JSON and the recurrent state as
fp32. The key lies in the data directory, so servers that share it accept each other's states. Knows
no client.
"""

import base64
import binascii
import fcntl
import hashlib
import hmac
import math
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.config import MAX_VOCABULARY
from models.decoding.graph import Precision
from models.decoding.rows import Rows
from models.decoding.stream import StreamState
from models.files import write_durably
from models.text.copies import LONGEST
from worker import logs

MAX_TOKEN = 2 << 20
_SIGNATURE = 32
_KEY = 32

log = logs.logger(__name__)


class NotAState(ValueError):
    """The string was not made with this server's key."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A state, and the checkpoint and precision that it belongs to."""

    digest: str
    precision: Precision
    state: StreamState


_Id = Annotated[int, Field(ge=0, lt=MAX_VOCABULARY)]


class _Header(BaseModel):
    """A state without its numbers; ``pending`` is hexadecimal."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    digest: str
    precision: Precision
    id: _Id
    position: int
    seed: int
    pending: str = Field(pattern=r"^([0-9a-f]{2}){0,3}$")
    unsaid: str
    begun: tuple[int, int] = (0, 0)
    before: tuple[_Id, ...] = Field((), max_length=LONGEST)


class StateSigner:
    """Makes and reads states.

    Args:
        path: of the key; made if it is missing or damaged, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        self._key = _usable_key(path)

    def write(self, saved: Saved) -> str:
        state = saved.state
        header = _Header(
            digest=saved.digest,
            precision=saved.precision,
            id=int(state.rows.ids[0]),
            position=state.position,
            seed=state.seed,
            pending=state.pending.hex(),
            unsaid=state.unsaid,
            begun=state.begun,
            before=state.before,
        )
        # An earlier release reads a state that has nothing that it does not know.
        head = header.model_dump_json(exclude_defaults=True).encode()
        numbers = b"".join(part.astype("<f4").tobytes() for part in state.rows.state)
        body = len(head).to_bytes(4, "little") + head + numbers
        return base64.urlsafe_b64encode(self._sign(body) + body).decode()

    def read(self, token: str, shapes: Sequence[tuple[int, ...]]) -> Saved:
        """Reads the state in a string.

        Args:
            token: the string.
            shapes: of a row's state parts in the model that the state is bound to.

        Raises:
            NotAState: it was not made here, or not for such a model.
        """
        header, data = self._opened(token)
        numbers = np.frombuffer(data[: len(data) // 4 * 4], "<f4")
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        if len(data) != 4 * ends[-1]:
            raise NotAState
        parts = zip(np.split(numbers, ends[:-1]), shapes, strict=True)
        state = tuple(np.array(part.reshape(shape)) for part, shape in parts)
        rows = Rows(np.array([header.id], np.int64), state)
        pending = bytes.fromhex(header.pending)
        try:
            begin = StreamState(
                rows,
                header.position,
                header.seed,
                pending,
                header.unsaid,
                header.begun,
                header.before,
            )
        except ValueError:
            raise NotAState from None
        return Saved(header.digest, header.precision, begin)

    def digest(self, token: str) -> str:
        """The checkpoint that a state is bound to. Raises NotAState."""
        return self._opened(token)[0].digest

    def _opened(self, token: str) -> tuple[_Header, bytes]:
        """The header and the numbers, of a string that was signed here.

        It is checked all the same: whoever gets hold of the key must not be able to hurt a tick.
        """
        try:
            data = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
            signature, body = data[:_SIGNATURE], data[_SIGNATURE:]
            if not hmac.compare_digest(signature, self._sign(body)):
                raise NotAState
            end = 4 + int.from_bytes(body[:4], "little")
            return _Header.model_validate_json(body[4:end]), body[end:]
        except (UnicodeEncodeError, binascii.Error, ValidationError):
            raise NotAState from None

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)


def _usable_key(path: Path) -> bytes:
    """The key in a file, made if there is none; if that fails, one that is only in memory.

    A server must come up on a full disk, too: only the states of before are lost to it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _key_in(path)
    except OSError as error:
        log.error(
            "%s cannot be read or written (%s): the states of texts continue only until this "
            "server ends",
            path.name,
            error.strerror,
        )
        return secrets.token_bytes(_KEY)


def _key_in(path: Path) -> bytes:
    """Reads the key, made if it is missing or damaged; of servers that start together one does.

    Raises:
        OSError: it cannot be read, or not be written where it must be made.
    """
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        key = _read_key(path)
        if key is None:
            key = secrets.token_bytes(_KEY)
            write_durably(path, key, mode=0o600)
        return key
    finally:
        os.close(directory)


def _read_key(path: Path) -> bytes | None:
    """The key in a file; None if there is no file or no key in it."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    # An empty key, or one of zeros after a power cut, would let anyone sign.
    if len(key) >= _KEY and len(set(key)) >= _KEY // 4:
        return key
    log.error("%s is damaged: a new key replaces it, and states of before are void", path.name)
    return None
