"""Imports what Python would import in the middle of a request: then, no file may be free.

Knows no request.
"""

import encodings
import importlib
import pkgutil
from contextlib import suppress

LATE = ("numpy.ma",)
"""Modules that libraries import when they first need them."""


def preload() -> None:
    """A codec is a module too, and any may be needed to guess what a text is."""
    for name in LATE:
        importlib.import_module(name)
    for codec in pkgutil.iter_modules(encodings.__path__):
        # Some exist on Windows only.
        with suppress(ImportError):
            importlib.import_module(f"encodings.{codec.name}")
