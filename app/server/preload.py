"""Imports what Python would import in the middle of a request: then, no file may be free.

Knows no request.
"""

import codecs
import importlib
from contextlib import suppress
from encodings.aliases import aliases

LATE = ("numpy.ma",)
"""Modules that libraries import when they first need them."""


def preload() -> None:
    """A codec is a module too, and any may be needed to guess what a text is."""
    for name in LATE:
        importlib.import_module(name)
    for encoding in sorted(set(aliases.values())):
        # Some exist on Windows only.
        with suppress(LookupError):
            codecs.lookup(encoding)
