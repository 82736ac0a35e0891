"""API keys: who holds one may do what its scopes say. Only hashes of them are kept.

Knows no address and no request.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Literal, Self, get_args

KeyScope = Literal["sample", "train", "admin"]

_KEY = re.compile(r"[!-+\--~]{1,256}")
"""What fits into a header and holds no comma."""


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key that was sent; ``digest`` tells it from others and not to others."""

    digest: bytes
    scopes: frozenset[KeyScope]

    def may(self, scope: KeyScope) -> bool:
        return scope in self.scopes or "admin" in self.scopes


class KeyRing:
    """The keys that a server takes."""

    def __init__(self, keys: list[Key]) -> None:
        self._keys = keys

    def __bool__(self) -> bool:
        return bool(self._keys)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The keys of ``key:scope+scope,…``; a key may hold colons itself.

        Raises:
            ValueError: it is not so written. The message holds nothing of a key.
        """
        entries = [entry.strip() for entry in text.split(",") if entry.strip()]
        keys = [cls._parse_entry(number, entry) for number, entry in enumerate(entries, 1)]
        if len({key.digest for key in keys}) < len(keys):
            raise ValueError("a key is named twice")
        return cls(keys)

    @staticmethod
    def _parse_entry(number: int, entry: str) -> Key:
        secret, _, names = entry.rpartition(":")
        scopes = frozenset(scope for scope in get_args(KeyScope) if scope in names.split("+"))
        if len(scopes) != len(set(names.split("+"))):
            raise ValueError(
                f"entry {number} must be key:scope+scope, of the scopes "
                f"{', '.join(get_args(KeyScope))}"
            )
        if not _KEY.fullmatch(secret):
            raise ValueError(
                f"the key of entry {number} must have 1 to 256 visible ASCII characters"
            )
        return Key(_digest(secret), scopes)

    def find(self, secret: str) -> Key | None:
        """The key that was sent. How long it takes says nothing of those that there are."""
        digest, found = _digest(secret), None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def bearer(authorization: str) -> str | None:
    """The key in an ``Authorization`` header; None if that is of another scheme, or there is none.

    RFC 6750; a scheme's name is of any case.
    """
    scheme, _, secret = authorization.strip().partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
