"""Models in memory: loaded on first use, the least recently used ones dropped.

A dropped model stays alive for the streams that use it. Knows no client.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from models.arrays import Hashes
from models.checkpoints.format import Checkpoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.decoding.decoder import Decoder, RowDecoder
from models.decoding.graph import Precision
from models.decoding.ngram_decoder import NGramDecoder
from models.files import CheckpointError
from models.ngram import NGram
from models.text.vocab import Vocabulary
from worker import logs

FAST_COST = 0.01
"""Nats per character that ``fast`` may cost and still be the default."""

COPIES = 3
"""Copies of the weights in memory: as read, and packed for each precision, with room to spare."""


class LoadedModel(Protocol):
    """A model to draw text from: a network, or its n-gram baseline.

    ``bytes`` estimates its memory, ``state_shapes`` are those of a row's state parts, ``lines`` are
    the checkpoint's.
    """

    @property
    def digest(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def vocabulary(self) -> Vocabulary: ...
    @property
    def lines(self) -> Hashes: ...
    @property
    def precisions(self) -> tuple[Precision, ...]: ...
    @property
    def best_precision(self) -> Precision: ...
    @property
    def state_shapes(self) -> list[tuple[int, ...]]: ...
    def decoder(self, precision: Precision) -> RowDecoder: ...


log = logs.logger(__name__)


class LoadedNetwork:
    """A checkpoint, ready to decode in its precisions."""

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
    def lines(self) -> Hashes:
        return self.checkpoint.lines

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        config = self.checkpoint.config
        shape = (config.num_layers, 1, config.hidden_size)
        return [shape] * (2 if config.kind == "lstm" else 1)

    @property
    def precisions(self) -> tuple[Precision, ...]:
        return ("exact", "fast") if self.checkpoint.config.kind == "lstm" else ("exact",)

    @property
    def best_precision(self) -> Precision:
        """``fast`` where it was measured to cost almost nothing."""
        losses = self.checkpoint.card.get("precision")
        if not losses or "fast" not in self.precisions:
            return "exact"
        exact, fast = losses["exact"], losses["fast"]
        cheap = exact is not None and fast is not None and fast - exact <= FAST_COST
        return "fast" if cheap else "exact"

    def decoder(self, precision: Precision) -> Decoder:
        """The decoder, made on first use, which takes a moment. Any thread may call."""
        with self._making:
            if precision not in self._decoders:
                checkpoint = self.checkpoint
                self._decoders[precision] = Decoder(
                    checkpoint.config, checkpoint.weights, precision
                )
            return self._decoders[precision]


NGRAM_BYTES = 9
"""Memory per counted character of an n-gram model: 7, and its caches."""


class LoadedNGram:
    """A model's n-gram baseline, with the symbols and lines of its checkpoint."""

    precisions: tuple[Precision, ...] = ("exact",)
    best_precision: Precision = "exact"

    def __init__(self, digest: str, model: NGram, checkpoint: Checkpoint) -> None:
        self.digest = digest
        self.vocabulary = checkpoint.vocabulary
        self.lines = checkpoint.lines
        self.bytes = NGRAM_BYTES * model.characters + self.lines.nbytes
        self.state_shapes: list[tuple[int, ...]] = [(1, 1, model.order)]
        self._decoder = NGramDecoder(model)

    def decoder(self, _precision: Precision) -> NGramDecoder:
        return self._decoder


class LoadedModels:
    """Loaded models by digest, within a memory limit; the newest is kept whatever its size.

    ``damaged`` are digests of checkpoints in whose place older ones are served.
    """

    def __init__(self, registry: Registry, memory_limit: int) -> None:
        self.registry = registry
        self.memory_limit = memory_limit
        self.damaged: set[str] = set()
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()
        self._loading: dict[str, asyncio.Task[LoadedModel]] = {}

    @property
    def models(self) -> list[LoadedModel]:
        return list(self._loaded.values())

    async def get(self, reference: Reference) -> LoadedModel:
        """The model that a reference names now: a network, or with ``:ngram`` its baseline.

        Raises:
            UnknownModel: nothing has that name or tag.
            CheckpointError: it is damaged.
        """
        if not reference.is_ngram:
            return await self.network(reference)
        name = reference.name
        digest, of = await asyncio.to_thread(self.registry.ngram, name)
        return await self._get(digest, lambda: self._load_ngram(name, digest, of))

    async def network(self, reference: Reference) -> LoadedNetwork:
        """The network that a reference names now.

        Raises:
            UnknownModel: nothing has that name or tag.
            CheckpointError: it is damaged.
        """
        digest = await asyncio.to_thread(self.registry.resolve, reference)
        try:
            return await self._network(reference.name, digest)
        except CheckpointError:
            # A better checkpoint may have taken the tag meanwhile, and the old one is gone.
            newer = await asyncio.to_thread(self.registry.resolve, reference)
            if newer != digest:
                return await self._network(reference.name, newer)
            return await self._before(reference, digest)

    async def _before(self, reference: Reference, damaged: str) -> LoadedNetwork:
        """The checkpoint that a damaged one replaced. Raises CheckpointError."""
        before = await asyncio.to_thread(self.registry.before, reference)
        if before is None:
            raise CheckpointError(f"{reference} is damaged, and no earlier checkpoint is known")
        model = await self._network(reference.name, before)
        if damaged not in self.damaged:
            log.error("%s is damaged: serving the checkpoint before it", reference)
        self.damaged.add(damaged)
        return model

    async def _network(self, name: str, digest: str) -> LoadedNetwork:
        model = await self._get(
            digest, lambda: LoadedNetwork(digest, self.registry.load(name, digest))
        )
        assert isinstance(model, LoadedNetwork)
        return model

    def _load_ngram(self, name: str, digest: str, of: str) -> LoadedNGram:
        model = NGram.from_bytes(self.registry.ngram_bytes(name, digest))
        checkpoint = self.registry.load(name, of)
        if model.vocabulary_size != len(checkpoint.vocabulary):
            raise CheckpointError("the n-gram model has another vocabulary")
        return LoadedNGram(digest, model, checkpoint)

    async def _get(self, digest: str, load: Callable[[], LoadedModel]) -> LoadedModel:
        if digest in self._loaded:
            self._loaded.move_to_end(digest)
            return self._loaded[digest]
        task = self._loading.get(digest)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(load))
            self._loading[digest] = task
            task.add_done_callback(lambda done: self._keep(digest, done))
        # Shielded: a client that disconnects must not cancel the load for the others.
        return await asyncio.shield(task)

    def _keep(self, digest: str, done: "asyncio.Task[LoadedModel]") -> None:
        del self._loading[digest]
        if done.cancelled() or done.exception() is not None:
            return
        self._loaded[digest] = done.result()
        while len(self._loaded) > 1 and self._used() > self.memory_limit:
            self._loaded.popitem(last=False)

    def _used(self) -> int:
        return sum(model.bytes for model in self._loaded.values())
