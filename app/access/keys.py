"""API keys and their scopes. Only hashes of keys are kept. Knows no endpoint and no request."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Literal, Self, get_args

KeyScope = Literal["sample", "train", "admin"]

LEAST = 8
"""Characters of a key: a shorter one can be guessed."""

_KEY = re.compile(rf"[!-+\--~]{{{LEAST},256}}")
"""Visible ASCII without commas, as it fits into a header."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key's scopes and its ``digest``, which identifies the key without revealing it."""

    digest: bytes
    scopes: frozenset[KeyScope]

    def may(self, scope: KeyScope) -> bool:
        return scope in self.scopes or "admin" in self.scopes


class KeyRing:
    """The keys that a server accepts."""

    def __init__(self, keys: list[Key]) -> None:
        self._keys = keys

    def __bool__(self) -> bool:
        return bool(self._keys)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parses ``key:scope+scope,…``; a key may contain colons.

        Raises:
            ValueError: the text has another form. The message reveals no key.
        """
        entries = [entry.strip() for entry in text.split(",") if entry.strip()]
        keys = [cls._parse_entry(number, entry) for number, entry in enumerate(entries, 1)]
        if len({key.digest for key in keys}) < len(keys):
            raise ValueError("a key occurs twice")
        return cls(keys)

    @staticmethod
    def _parse_entry(number: int, entry: str) -> Key:
        secret, _, names = entry.rpartition(":")
        scopes = frozenset(scope for scope in get_args(KeyScope) if scope in names.split("+"))
        if len(scopes) != len(set(names.split("+"))):
            raise ValueError(
                f"entry {number} must be key:scope+scope, with scopes from "
                f"{', '.join(get_args(KeyScope))}"
            )
        if not _KEY.fullmatch(secret):
            raise ValueError(
                f"the key of entry {number} must have {LEAST} to 256 visible ASCII characters: "
                "make one with openssl rand -hex 32"
            )
        return Key(_digest(secret), scopes)

    def find(self, secret: str) -> Key | None:
        """Finds a key. The time that it takes reveals nothing about the keys."""
        digest, found = _digest(secret), None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def bearer(authorization: str) -> str | None:
    """The key in an ``Authorization`` header (RFC 6750); None without one of scheme Bearer.

    Upper and lower case are the same in a scheme's name.
    """
    scheme, _, secret = authorization.strip().partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
