"""Models in memory: loaded when first asked for, least recently used ones let go.

Knows checkpoints and decoders, not clients. A model let go lives on for the streams that use it.
"""

import asyncio
import threading
from collections import OrderedDict
from dataclasses import dataclass

from models.checkpoint import Checkpoint, CheckpointError, Registry
from models.decoder import Decoder, Precision
from models.vocab import Vocabulary

FAST_COST = 0.01
"""Nats per character that ``fast`` may cost and still be what a client gets who doesn't say."""

COPIES = 3
"""Times that weights lie in memory: as read, and packed for each precision with room to spare."""


class LoadedModel:
    """One checkpoint, ready to decode in the precisions that it has."""

    def __init__(self, digest: str, checkpoint: Checkpoint) -> None:
        self.digest = digest
        self.checkpoint = checkpoint
        self.bytes = COPIES * 4 * checkpoint.config.parameters() + checkpoint.lines.nbytes
        self._decoders: dict[Precision, Decoder] = {}
        self._making = threading.Lock()

    @property
    def vocabulary(self) -> Vocabulary:
        return self.checkpoint.vocabulary

    @property
    def precisions(self) -> tuple[Precision, ...]:
        return ("exact", "fast") if self.checkpoint.config.kind == "lstm" else ("exact",)

    @property
    def best_precision(self) -> Precision:
        """``fast`` where it was measured to cost next to nothing."""
        losses = self.checkpoint.card.get("precision") or {}
        exact, fast = losses.get("exact"), losses.get("fast")
        cheap = exact is not None and fast is not None and fast - exact <= FAST_COST
        return "fast" if cheap and "fast" in self.precisions else "exact"

    def decoder(self, precision: Precision) -> Decoder:
        """Made when first asked for, which takes a moment. Any thread may ask."""
        with self._making:
            if precision not in self._decoders:
                checkpoint = self.checkpoint
                self._decoders[precision] = Decoder(
                    checkpoint.config, checkpoint.weights, precision
                )
            return self._decoders[precision]


@dataclass(frozen=True, slots=True)
class Named:
    """A loaded model under the name and tag that a client asked for."""

    name: str
    tag: str
    model: LoadedModel

    @property
    def reference(self) -> str:
        return self.name if self.tag == "latest" else f"{self.name}:{self.tag}"


class Catalogue:
    """Loaded models by digest, within a limit of memory; the newest is kept whatever its size."""

    def __init__(self, registry: Registry, memory_limit: int) -> None:
        self.registry = registry
        self.memory_limit = memory_limit
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()
        self._loading: dict[str, asyncio.Task[LoadedModel]] = {}

    @property
    def loaded(self) -> list[LoadedModel]:
        return list(self._loaded.values())

    async def get(self, reference: str) -> Named:
        """The model that a reference names now.

        Raises:
            ValueError: it is not a reference.
            UnknownModel: nothing has that name or tag.
            CheckpointError: it is damaged.
        """
        name, tag, digest = await asyncio.to_thread(self.registry.resolve, reference)
        try:
            model = await self._get(name, digest)
        except CheckpointError:
            # A better checkpoint may have taken the tag, and the old one's place on disk.
            name, tag, newer = await asyncio.to_thread(self.registry.resolve, reference)
            if newer == digest:
                raise
            model = await self._get(name, newer)
        return Named(name, tag, model)

    async def _get(self, name: str, digest: str) -> LoadedModel:
        if digest in self._loaded:
            self._loaded.move_to_end(digest)
            return self._loaded[digest]
        task = self._loading.get(digest)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._load, name, digest))
            self._loading[digest] = task
            task.add_done_callback(lambda done: self._keep(digest, done))
        # Shielded: a client that leaves must not take the load away from the others.
        return await asyncio.shield(task)

    def _load(self, name: str, digest: str) -> LoadedModel:
        return LoadedModel(digest, self.registry.load(name, digest))

    def _keep(self, digest: str, done: "asyncio.Task[LoadedModel]") -> None:
        del self._loading[digest]
        if done.cancelled() or done.exception() is not None:
            return
        self._loaded[digest] = done.result()
        while len(self._loaded) > 1 and self._used() > self.memory_limit:
            self._loaded.popitem(last=False)

    def _used(self) -> int:
        return sum(model.bytes for model in self._loaded.values())
