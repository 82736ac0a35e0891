"""The n-gram baseline of a job: the loss that counting reaches on the same split.

Counted in a thread of the training process. numpy releases Python's lock and no random number is
drawn, so training continues bit for bit as it would without. Knows a corpus, not the job.
"""

import os
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

from models.checkpoints.card import BaselineFigures
from models.ngram import NGram
from models.text.corpus import Corpus
from models.training.trainer import VALIDATION_LIMIT
from models.units import bits
from worker import logs

MAX_ORDER = 20

PATIENCE = 3.0
"""Seconds that training waits for it, by which a text of a megabyte is counted. Beside training it
would take longer, and training too."""

SHORT = 1 << 21
"""Characters of a text for which training waits at all."""

_NICEST = 19

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class CountedBaseline:
    """The n-gram model, of the order up to ``MAX_ORDER`` that does best on the held-out text."""

    model: NGram
    figures: BaselineFigures


Counting = Future[CountedBaseline | None]
"""A count in progress; None if it failed."""


def begin_counting(corpus: Corpus) -> Counting:
    """Starts to count, and returns when that is done or has taken ``PATIENCE``."""
    counting = Counting()
    thread = threading.Thread(
        target=lambda: counting.set_result(_counted(corpus)), name="baseline", daemon=True
    )
    thread.start()
    thread.join(PATIENCE if len(corpus.train) < SHORT else 0)
    if thread.is_alive() and sys.platform == "linux" and thread.native_id:
        # On Linux a thread has a niceness of its own: training has the cores first.
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, thread.native_id, _NICEST)
    return counting


def _counted(corpus: Corpus) -> CountedBaseline | None:
    try:
        whole = NGram.fit(corpus.train, len(corpus.vocabulary), MAX_ORDER)
        model, loss = whole.with_best_order(corpus.held_out(VALIDATION_LIMIT)[0])
    except Exception:
        # Training must not fail for want of a comparison.
        log.exception("the n-gram baseline could not be counted")
        return None
    figures: BaselineFigures = {"ngram_order": model.order, "val_loss": loss, "bpc": bits(loss)}
    return CountedBaseline(model, figures)
