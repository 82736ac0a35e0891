"""What one key, or one IP address where there are no keys, may keep and have waiting.

Jobs know whose they are, ``worker.owners`` knows it of corpora and ``worker.model_owners`` of
models. Knows no endpoint.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import groupby

from app.engine.callers import Caller
from app.engine.streams import Streams
from app.http.allowances import Allowance, Unit
from app.http.problems import too_many
from app.settings import ServerSettings
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from worker.corpora import CorpusStore
from worker.jobs import Job, JobStore
from worker.model_owners import ModelOwners
from worker.owners import Owners, owner_named
from worker.turns import owner_of

JOBS_SECONDS, KEPT_SECONDS = 30, 300
"""After which to try again: when a job may have begun, and when something may have been deleted."""


class Quotas:
    """Says what a caller has, and refuses more."""

    def __init__(
        self,
        settings: ServerSettings,
        jobs: JobStore,
        corpora: CorpusStore,
        models: Registry,
        streams: Streams,
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._corpora = corpora
        self._models = models
        self._streams = streams
        data = settings.data
        self._owners = Owners(data.owners, data.storage)
        self._model_owners = ModelOwners(data.owners / "models", data.storage)

    # Texts

    def streams(self, caller: Caller) -> Allowance:
        """The texts that a caller may have at once, and how many more there may be."""
        most = self._streams.most(caller)
        left = most - self._streams.held(caller)
        return Allowance("streams", most, left, "concurrent-requests")

    # Jobs

    def queued(self, caller: Caller) -> Allowance:
        """The jobs that a caller may have waiting."""
        return self._queued(self._own(caller))

    def _queued(self, own: list[Job]) -> Allowance:
        waiting = sum(not job.is_locked() for job in own)
        return _allowance("jobs", self._settings.quota_queued, waiting)

    def admit_job(self, caller: Caller, model: str) -> Callable[[], str]:
        """A check for ``JobStore.create`` and ``resume``, which raises Problem, 429."""

        tags = partial(self._models.naming, model)

        def admit() -> str:
            if not caller.shares:
                self._model_owners.train("", model, tags)
                return ""
            own = self._own(caller)
            queued = self._queued(own)
            if queued.left <= 0:
                words = f"{queued.quota} jobs of yours wait already, the limit: wait for one"
                raise too_many("too_many_jobs", words, JOBS_SECONDS, queued)
            # Each of these is to publish one more.
            self._check_models(caller, len(own))
            owner = owner_named(caller.name)
            self._model_owners.train(owner, model, tags)
            return owner

        return admit

    def _own(self, caller: Caller) -> list[Job]:
        owner = owner_named(caller.name)
        return [job for job in self._jobs.unended() if owner_of(job) == owner]

    # Corpora

    @contextmanager
    def corpus(self, caller: Caller) -> Iterator[Callable[[str, int], None] | None]:
        """A check for ``CorpusStore.add``, which raises Problem, 429; None if nothing is to be
        checked. The corpus is its caller's unless the block fails before it is there."""
        if not caller.shares:
            yield None
            return
        owner, noted = owner_named(caller.name), list[str]()

        def admit(corpus_id: str, size: int) -> None:
            with self._owners.changing(owner):
                owned = self._owners.owned(owner, self._corpora.has)
                if corpus_id in owned:
                    return
                kept = self._corpus_bytes(owned)
                if size > kept.left:
                    words = (
                        f"you would keep more than {kept.quota:,} bytes of corpora, the limit: "
                        "delete some with DELETE /corpora/{id}"
                    )
                    raise too_many("too_many_bytes", words, KEPT_SECONDS, kept)
                self._owners.note(owner, corpus_id, size)
                noted.append(corpus_id)

        try:
            yield admit
        except BaseException:
            for corpus_id in noted:
                if not self._corpora.has(corpus_id):
                    self._owners.forget(corpus_id, owner)
            raise

    def corpus_bytes(self, caller: Caller) -> Allowance:
        """The bytes of corpora that a caller may keep."""
        owner = owner_named(caller.name)
        return self._corpus_bytes(self._owners.owned(owner, self._corpora.has))

    def _corpus_bytes(self, owned: Mapping[str, int]) -> Allowance:
        most = self._settings.quota_corpora_bytes
        return _allowance("corpora", most, sum(owned.values()), "content-bytes")

    def corpus_is_gone(self, corpus_id: str) -> None:
        self._owners.forget(corpus_id)

    # Models

    @contextmanager
    def model(self, caller: Caller, reference: Reference) -> Iterator[None]:
        """Holds the place of a model that is published in the block. Raises Problem, 429."""
        owner = owner_named(caller.name) if caller.shares else ""
        with ExitStack() as held:
            if owner:
                held.enter_context(self._owners.changing(owner))
                self._check_models(caller, len(self._own(caller)))
            name, tag = reference.name, reference.tag
            tags = partial(self._models.naming, name)
            held.enter_context(self._model_owners.importing(owner, name, tag, tags))
            yield

    def models_are_gone(self, name: str) -> None:
        """Tags of a name were deleted: whoever uses them next answers for them."""
        is_trained = any(job.model == name for job in self._jobs.unended())
        self._model_owners.clean(name, self._models.naming(name), is_trained=is_trained)

    def model_is_renamed(self, name: str, new: str) -> None:
        """Whoever answers for a model does so under its new name."""
        self._model_owners.rename(name, new)

    def _check_models(self, caller: Caller, coming: int) -> None:
        kept = self.models(caller)
        if kept.left <= coming:
            words = (
                f"you have {kept.quota} models already, tags and jobs to come included, the limit: "
                "delete some with DELETE /models/{model}"
            )
            raise too_many("too_many_models", words, KEPT_SECONDS, kept)

    def models(self, caller: Caller) -> Allowance:
        """The models that a caller may keep, each tag counted."""
        owner, kept = owner_named(caller.name), 0
        for name, found in groupby(self._models.references(), lambda one: one.name):
            shares = self._model_owners.shares(name)
            kept += sum(shares.owner_of(one.tag) == owner for one in found)
        return _allowance("models", self._settings.quota_models, kept)


def _allowance(name: str, quota: int, used: int, unit: Unit = "items") -> Allowance:
    return Allowance(name, quota, quota - used, unit)
