"""States on the wire: where a text stopped, as a string that only this server can make.

The string is base64url of a signature (HMAC-SHA256), a header in JSON and the recurrent state as
fp32. The key lies in the data directory, so servers that share it accept each other's states. Knows
no client.
"""

import base64
import binascii
import hashlib
import hmac
import json
import math
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

import numpy as np

from models.decoding.batch import StreamState
from models.decoding.decoder import Rows
from models.decoding.graph import Precision

MAX_TOKEN = 2 << 20
_SIGNATURE = 32
_KEY = 32


class NotAState(ValueError):
    """The string was not made with this server's key."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A state, and the checkpoint and precision that it belongs to."""

    digest: str
    precision: Precision
    state: StreamState


class _Header(TypedDict):
    """A state without its numbers; ``pending`` is hexadecimal."""

    digest: str
    precision: Precision
    id: int
    position: int
    seed: int
    pending: str
    unsaid: str


class StateSigner:
    """Makes and reads states.

    Args:
        path: of the key; made on first use, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        self._key = _read_key(path)

    def write(self, saved: Saved) -> str:
        state = saved.state
        header: _Header = {
            "digest": saved.digest,
            "precision": saved.precision,
            "id": int(state.rows.ids[0]),
            "position": state.position,
            "seed": state.seed,
            "pending": state.pending.hex(),
            "unsaid": state.unsaid,
        }
        head = json.dumps(header).encode()
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
        body = self._checked(token)
        header = _header(body)
        numbers = np.frombuffer(body[4 + int.from_bytes(body[:4], "little") :], "<f4")
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        if len(numbers) != ends[-1]:
            raise NotAState
        parts = zip(np.split(numbers, ends[:-1]), shapes, strict=True)
        state = tuple(np.array(part.reshape(shape)) for part, shape in parts)
        rows = Rows(np.array([header["id"]], np.int64), state)
        return Saved(
            header["digest"],
            header["precision"],
            StreamState(
                rows,
                header["position"],
                header["seed"],
                bytes.fromhex(header["pending"]),
                header["unsaid"],
            ),
        )

    def digest(self, token: str) -> str:
        """The checkpoint that a state is bound to. Raises NotAState."""
        return _header(self._checked(token))["digest"]

    def _checked(self, token: str) -> bytes:
        try:
            data = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raise NotAState from None
        signature, body = data[:_SIGNATURE], data[_SIGNATURE:]
        if not hmac.compare_digest(signature, self._sign(body)):
            raise NotAState
        return body

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)


def _header(body: bytes) -> _Header:
    length = int.from_bytes(body[:4], "little")
    # Signed, so it was written here.
    return cast(_Header, json.loads(body[4 : 4 + length]))


def _read_key(path: Path) -> bytes:
    """Reads the key, made if there is none; of servers that start together one makes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY))
            file.flush()
            os.fsync(file.fileno())
        # A link fails where a rename would replace the key that another server already uses.
        os.link(staged, path)
    except FileExistsError:
        pass
    finally:
        staged.unlink(missing_ok=True)
    return path.read_bytes()
