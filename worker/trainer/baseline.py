"""The n-gram baseline of a job: what counting alone reaches on the same split.

Counted in a thread of the training process. numpy lets go of Python's lock and no random number
is drawn, so training goes on bit by bit as it would. Knows a corpus, not the job.
"""

import math
import os
import sys
import threading

from models.checkpoints.card import BaselineFigures
from models.ngram import NGram
from models.text.corpus import Corpus
from models.training.trainer import VALIDATION_LIMIT
from models.units import bits
from worker import logs

MAX_ORDER = 20

PATIENCE = 3.0
"""Seconds that training waits for it. A text of a megabyte is counted by then; beside training
it would take longer, and training too."""

_NICEST = 19

log = logs.logger(__name__)


class BaselineCount:
    """A count in progress: the order that does best on the held-out text, up to 20."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._model: NGram | None = None
        self._loss = math.nan
        self._thread = threading.Thread(target=self._count, name="baseline", daemon=True)

    def begin(self) -> None:
        """Starts to count, and returns when it is done or has taken ``PATIENCE``."""
        self._thread.start()
        self._thread.join(PATIENCE)
        if self._thread.is_alive() and sys.platform == "linux" and self._thread.native_id:
            # There a thread has a niceness of its own: training has the cores first.
            os.setpriority(os.PRIO_PROCESS, self._thread.native_id, _NICEST)

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def wait(self) -> None:
        self._thread.join()

    def result(self) -> tuple[NGram, BaselineFigures] | None:
        """Once done: the model, and what a job says of it. None if it could not be counted."""
        if self._model is None:
            return None
        loss = self._loss
        told: BaselineFigures = {
            "ngram_order": self._model.order,
            "val_loss": loss,
            "bpc": bits(loss),
        }
        return self._model, told

    def _count(self) -> None:
        corpus = self._corpus
        try:
            whole = NGram.fit(corpus.train, len(corpus.vocabulary), MAX_ORDER)
            held_out = corpus.validation[:VALIDATION_LIMIT]
            self._model, self._loss = whole.with_best_order(held_out)
        except Exception:
            # A comparison that is missing must not end what it is compared with.
            log.exception("the n-gram baseline could not be counted")
