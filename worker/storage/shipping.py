"""The storage of a process that trains a job: it works on its disk, and a thread sends what it did.

Training waits for no bucket. Again and again the thread sends what the disk says of the job and of
the model that it publishes, the model first: the bucket then has what a power cut would have left,
and another host resumes from there. Followers hear of events once these are in the bucket. Whoever
has lost the job finds another turn in the heads, and sends nothing more: at the next look its disk
says so too (``worker.fence``). All else is changed as by anybody. Knows no training.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Self

from models.files import write_durably
from models.storage import Allowed, Done, StorageAway
from worker import fence, logs
from worker.events import EventTail, JobEvent
from worker.live import Followers
from worker.storage import copies
from worker.storage.heads import LASTING, Head
from worker.storage.mirror import Mirror

EVERY = 0.5
"""Seconds between two times that something is sent."""

log = logs.logger(__name__)


class AtWork:
    """A ``models.storage.Storage`` for processes that train a job: they work on their disk.

    What they change there of the job, and of the model that they publish, somebody sends
    (``Shipping``); all else is changed as by anybody. It waits for a bucket that is away.

    Args:
        mirror: the storage of all else.
        job: the directory of the job.
        model: that of the model.
    """

    shares_locks = False

    def __init__(self, mirror: Mirror, job: Path, model: Path) -> None:
        self._mirror = mirror
        self._job = job
        self._model = model

    def learn(self) -> None:
        """Learns what the folders' heads name, where another process keeps the disk fresh."""
        for folder in (self._job, self._model):
            patiently(partial(self._mirror.learn, folder))

    def refresh(self, place: Path, *, is_needed: bool = False) -> None:
        if place not in (self._job, self._model):
            patiently(lambda: self._mirror.refresh(place, is_needed=is_needed))

    def change(self, folder: Path, act: Callable[[], Done]) -> Done:
        return act() if folder in (self._job, self._model) else self._mirror.change(folder, act)

    def exclude(self, folder: Path, act: Callable[[], Done]) -> Done | None:
        return self._mirror.exclude(folder, act)

    def move(self, folder: Path, target: Path, allowed: Allowed) -> None:
        self._mirror.move(folder, target, allowed)

    @contextmanager
    def using(self, place: Path) -> Iterator[None]:
        is_own = self._job in (place, *place.parents) or self._model in (place, *place.parents)
        if is_own and copies.is_here(place):
            yield
            return
        with ExitStack() as held:
            patiently(lambda: held.enter_context(self._mirror.using(place)))
            yield

    def sweep(self) -> None:
        """Left to servers."""

    def publish(self, job_id: str, event: JobEvent) -> None:
        """As ``worker.live`` has it: whoever sends an event to the bucket publishes it then."""


class Shipping(AtWork):
    """Sends what is done in one turn at a job, in a thread for the length of a block.

    Args:
        mirror, job, model: as for ``AtWork``.
        live: where events are published.
    """

    def __init__(self, mirror: Mirror, job: Path, model: Path, live: Followers) -> None:
        super().__init__(mirror, job, model)
        self._live = live
        self._turn = ""
        self._mark = ""
        self._is_lost = False
        self._events = EventTail(job)
        self._untold: list[JobEvent] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep_sending, name="shipping", daemon=True)

    def __enter__(self) -> Self:
        patiently(self._begin)
        self._thread.start()
        return self

    def _begin(self) -> None:
        self._mirror.refresh(self._job, is_needed=True)
        # These were told by whoever wrote them.
        self._events.read()
        self._turn = (self._job / fence.NAME).read_text("utf-8")
        self._mark = f"{self._job.name} {self._turn}"
        mark = self._model / LASTING

        def take_model() -> None:
            mark.parent.mkdir(parents=True, exist_ok=True)
            write_durably(mark, self._mark.encode())

        # Whoever was about to publish for an earlier turn has not seen this head.
        self._mirror.change(self._model, take_model)

    def __exit__(self, *_: object) -> None:
        """Waits until all is sent, or until it is clear that another has the job."""
        self._ending.set()
        self._thread.join()

    def _keep_sending(self) -> None:
        while not self._is_lost:
            is_last = self._ending.wait(EVERY)
            try:
                self._send()
                if is_last:
                    return
            except StorageAway:
                time.sleep(EVERY if is_last else 0)
            except Exception:
                log.exception("sending to the bucket failed; it is repeated")
                time.sleep(EVERY)

    def _send(self) -> None:
        # Before they are sent: what comes meanwhile is told the next time.
        self._untold += self._events.read()
        is_ours = self._mirror.ship(self._model, self._may_publish, looks=False)
        if not is_ours or not self._mirror.ship(self._job, self._may_write):
            self._lose()
            return
        told, self._untold = self._untold, []
        for event in told:
            self._live.publish(self._job.name, event)

    def _may_write(self, head: Head) -> bool:
        return head.files.get(fence.NAME) == self._turn

    def _may_publish(self, head: Head) -> bool:
        return head.files.get(LASTING) == self._mark

    def _lose(self) -> None:
        """Lets the disk say what the head says: then whoever trains finds out."""
        self._is_lost = True
        for folder in (self._job, self._model):
            patiently(partial(self._mirror.refresh, folder, is_needed=True))


def patiently(call: Callable[[], object]) -> None:
    """Repeats a call until the bucket answers. A job that has begun has time."""
    while True:
        try:
            call()
            return
        except StorageAway:
            time.sleep(EVERY)
