"""What follows where a device's memory ran out: a smaller batch, or the words for what would fit.

Where a job leaves its batch open and no state was saved, half of it is tried, and that is said.
Knows no step.
"""

import gc

from models.options import TrainingOptions
from models.presets import with_preset
from worker.jobs import Job
from worker.trainer import generations
from worker.trainer.device import free_memory
from worker.trainer.failures import OUT_OF_MEMORY, Failure, MemoryShort
from worker.trainer.journal import Journal
from worker.trainer.plan import Workplace, known_sizes

SMALLER_BATCH = "smaller_batch"
"""Code of the notice that a batch was made smaller."""


def smaller_batch(job: Job, place: Workplace, journal: Journal, tried: int | None) -> int:
    """The batch size to try next, which is said.

    Args:
        job: whose training did not fit.
        place: where.
        journal: where it is said.
        tried: the batch size that was tried last; that of the plan, or the default, if not given.

    Raises:
        Failure: it is not ours to choose; the words name what would fit.
        MemoryShort: the same, of a training that fitted before and may fit again.
    """
    # The network that did not fit may be part of a cycle.
    gc.collect()
    asked = TrainingOptions.from_json(job.spec["options"])
    sizes = known_sizes(job, asked, place, free_memory(place.device), tried)
    shape = f"{sizes.batch_size}×{sizes.sequence_length}"
    cause = f"Memory ran out on {place.device_name} with batches of {shape}"
    if generations.newest_step(job.state_directory):
        raise MemoryShort(cause, sizes.advice("Or start a new job with"))
    smaller = sizes.largest_batch()
    if smaller is None or with_preset(asked).batch_size is not None or place.group.size > 1:
        raise Failure(OUT_OF_MEMORY, f"{cause}. {sizes.advice('Start it again with')}")
    text = (
        f"memory ran out on {place.device_name}: batches of {shape} became "
        f"{smaller}×{sizes.sequence_length}"
    )
    journal.notice({"code": SMALLER_BATCH, "text": text})
    return smaller
