"""The native step that a server on this machine uses."""

from functools import lru_cache

from app.engine.native_step import cache_folder
from models.decoding.native.building import NoNativeStep
from models.decoding.native.library import Library
from models.decoding.native.loading import load


@lru_cache(maxsize=1)
def native_step() -> Library | None:
    """Returns it, compiled if it was not; None where there is none."""
    try:
        return load(cache_folder())
    except NoNativeStep as error:
        print(f"no native step: {error}")
        return None
