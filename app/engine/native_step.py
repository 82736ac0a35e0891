"""The native step of a server: looked for once, when the server starts, and then it stays so.

Its numbers differ a little from those of ONNX Runtime, so a server must not change from one to the
other while it lives: the same seed would give another text. Knows no model.
"""

import threading
from pathlib import Path

import platformdirs

from models.decoding.native.building import NoNativeStep
from models.decoding.native.library import Library
from models.decoding.native.loading import load
from worker import logs

log = logs.logger(__name__)


def cache_folder() -> Path:
    """Where compiled code is kept: not in the data directory, which others may write to."""
    return platformdirs.user_cache_path("charloom", appauthor=False)


class NativeStep:
    """Looks for the native step in a thread, since it may have to be compiled.

    Args:
        wanted: whether to use it at all.
        cache: folder for compiled code.
    """

    def __init__(self, wanted: bool, cache: Path) -> None:
        self._found: Library | None = None
        self._settled = threading.Event()
        if wanted:
            look = threading.Thread(target=self._look, args=(cache,), name="native", daemon=True)
            look.start()
        else:
            self._settled.set()

    def _look(self, cache: Path) -> None:
        try:
            self._found = load(cache)
            log.info("fast models are computed by the native step")
        except NoNativeStep as error:
            log.info("fast models are computed by ONNX Runtime: %s", error)
        except Exception:
            log.exception("the native step failed; fast models are computed by ONNX Runtime")
        finally:
            self._settled.set()

    @property
    def is_used(self) -> bool:
        """Whether it was found; False while it is looked for."""
        return self._settled.is_set() and self._found is not None

    def library(self) -> Library | None:
        """The step, or None for the whole life of this; waits while it is looked for."""
        self._settled.wait()
        return self._found
