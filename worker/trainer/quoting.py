"""Quotes what a process printed, for clients: its last lines, without paths and secrets.

Knows nothing of what printed it.
"""

import os
import re
from collections.abc import Iterator, Mapping

from worker.logs import harmless

MAX_LINES, MAX_CHARACTERS = 5, 400

_HIDDEN = "…"

_QUOTED = re.compile(r"""(["'])[^"'\n]*\1""")
_WORD = re.compile(r"\S+")
"""One with a slash counts as a path. That is too many, but what is quoted then names no place."""

_CODE = re.compile(r"([\w-]{1,60}\.(?:py|so))\b[^/]*$")
"""A file of code at the end of a path: its name helps and tells nothing."""

_SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASS|CREDENTIAL|AUTH|URL", re.IGNORECASE)
_SHORTEST_SECRET = 4


def quotable(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """The last lines of a text in one line, without what only this machine should know."""
    for secret in sorted(_secrets(environment), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    quoted = " | ".join(harmless(line[-MAX_CHARACTERS:]) for line in lines[-MAX_LINES:])
    for kind in (_QUOTED, _WORD):
        quoted = kind.sub(_without_place, quoted)
    # The end of a traceback says most.
    return quoted if len(quoted) <= MAX_CHARACTERS else _HIDDEN + quoted[-MAX_CHARACTERS:]


def _without_place(found: re.Match[str]) -> str:
    if "/" not in found[0]:
        return found[0]
    code = _CODE.search(found[0].strip("\"'"))
    return code[1] if code else _HIDDEN


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Parts of the values of variables that may hold one, as a URL holds a password."""
    for name, value in environment.items():
        if _SECRET_NAME.search(name):
            parts = re.split(r"[\s,;=:@/]+", value)
            yield from (part for part in parts if len(part) >= _SHORTEST_SECRET)
