"""Models in memory: loaded on first use, dropped when deleted, replaced or long unused.

A dropped model stays alive for the streams that use it; then its memory goes back to the system.
Knows no client.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from app.engine.memory import MEMORY
from app.engine.native_step import NativeStep
from app.engine.prime_states import PrimeStates
from models.arrays import Hashes
from models.checkpoints.card import Card
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

SWEEP_SECONDS = 2.0
"""Between two looks at which models are still served."""

FIXED_BYTES = 100_000
"""Memory of a loaded checkpoint besides weights, lines and sessions; measured by
``bench.memory``."""


class LoadedModel(Protocol):
    """A model to draw text from: a network, or its n-gram baseline.

    ``bytes`` estimates its memory, which grows with its decoders; ``state_shapes`` are those of a
    row's state parts, ``lines`` are the checkpoint's, ``styles`` the names of its styles.
    """

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def vocabulary(self) -> Vocabulary: ...
    @property
    def styles(self) -> tuple[str, ...]: ...
    @property
    def lines(self) -> Hashes: ...
    @property
    def card(self) -> Card: ...
    @property
    def precisions(self) -> tuple[Precision, ...]: ...
    @property
    def best_precision(self) -> Precision: ...
    @property
    def state_shapes(self) -> list[tuple[int, ...]]: ...
    def made(self, precision: Precision) -> RowDecoder | None: ...
    def decoder(self, precision: Precision) -> RowDecoder: ...


log = logs.logger(__name__)


class LoadedNetwork:
    """A checkpoint, ready to decode in its precisions.

    With ``native`` its ``fast`` decoder computes by the native step, if there is one.
    """

    def __init__(
        self, name: str, digest: str, checkpoint: Checkpoint, native: NativeStep | None = None
    ) -> None:
        self.name = name
        self.digest = digest
        # Its history may be larger than its weights.
        self.checkpoint = replace(checkpoint, history=[])
        self._native = native
        self._decoders: dict[Precision, Decoder] = {}
        self._making = threading.Lock()
        MEMORY.watch(self)

    @property
    def bytes(self) -> int:
        checkpoint = self.checkpoint
        weights = sum(weight.nbytes for weight in checkpoint.weights.values())
        sessions = sum(decoder.bytes for decoder in list(self._decoders.values()))
        return FIXED_BYTES + weights + checkpoint.lines.nbytes + sessions

    @property
    def vocabulary(self) -> Vocabulary:
        return self.checkpoint.vocabulary

    @property
    def styles(self) -> tuple[str, ...]:
        return self.checkpoint.config.styles

    @property
    def lines(self) -> Hashes:
        return self.checkpoint.lines

    @property
    def card(self) -> Card:
        return self.checkpoint.card

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return self.checkpoint.config.state_shapes()

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

    def made(self, precision: Precision) -> Decoder | None:
        """The decoder, if it is made already."""
        return self._decoders.get(precision)

    def decoder(self, precision: Precision) -> Decoder:
        """The decoder, made on first use, which takes a moment. Any thread may call."""
        with self._making:
            if precision not in self._decoders:
                checkpoint = self.checkpoint
                library = self._native and precision == "fast" and self._native.library()
                decoder = Decoder(checkpoint.config, checkpoint.weights, precision, library or None)
                # Streams may need it for longer than this model is kept.
                MEMORY.watch(decoder)
                self._decoders[precision] = decoder
            return self._decoders[precision]


NGRAM_BYTES = 9
"""Memory per counted character of an n-gram model: 7, and its caches."""


class LoadedNGram:
    """A model's n-gram baseline, with the symbols and lines of its checkpoint."""

    precisions: tuple[Precision, ...] = ("exact",)
    best_precision: Precision = "exact"
    styles: tuple[str, ...] = ()

    def __init__(self, name: str, digest: str, model: NGram, checkpoint: Checkpoint) -> None:
        self.name = name
        self.digest = digest
        self.vocabulary = checkpoint.vocabulary
        self.lines = checkpoint.lines
        self.card = checkpoint.card
        self.bytes = NGRAM_BYTES * model.characters + self.lines.nbytes
        self.state_shapes: list[tuple[int, ...]] = [(1, 1, model.order)]
        self._decoder = NGramDecoder(model)
        MEMORY.watch(self._decoder)

    def made(self, _precision: Precision) -> NGramDecoder:
        return self._decoder

    def decoder(self, _precision: Precision) -> NGramDecoder:
        return self._decoder


async def decoder_of(model: LoadedModel, precision: Precision) -> RowDecoder:
    """A model's decoder; a thread makes it, unless it is there."""
    if made := model.made(precision):
        return made
    return await asyncio.to_thread(model.decoder, precision)


class LoadedModels:
    """Loaded models by digest, within a memory limit; the newest is kept whatever its size.

    ``prime_states`` are remembered for as long as their models are loaded.

    Args:
        registry: of the models.
        memory_limit: most bytes, those of the primes among them.
        prime_limit: most bytes of the primes.
        native: computes ``fast`` models, if it is given.
    """

    def __init__(
        self,
        registry: Registry,
        memory_limit: int,
        prime_limit: int = 0,
        native: NativeStep | None = None,
    ) -> None:
        self.registry = registry
        self.native = native
        self.memory_limit = memory_limit
        self.prime_states = PrimeStates(prime_limit)
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
        while True:
            try:
                return await self._network(reference.name, digest)
            except CheckpointError:
                # It was damaged, and the one before it is served; or a better one has taken the
                # tag meanwhile, and the old one is gone.
                newer = await asyncio.to_thread(self.registry.resolve, reference)
                if newer == digest:
                    raise
                digest = newer

    async def _network(self, name: str, digest: str) -> LoadedNetwork:
        def load() -> LoadedNetwork:
            return LoadedNetwork(name, digest, self.registry.load(name, digest), self.native)

        model = await self._get(digest, load)
        assert isinstance(model, LoadedNetwork)
        return model

    def _load_ngram(self, name: str, digest: str, of: str) -> LoadedNGram:
        model = NGram.from_bytes(self.registry.ngram_bytes(name, digest))
        checkpoint = self.registry.load(name, of)
        if model.vocabulary_size != len(checkpoint.vocabulary):
            raise CheckpointError("the n-gram model has another vocabulary")
        return LoadedNGram(name, digest, model, checkpoint)

    async def _get(self, digest: str, load: Callable[[], LoadedModel]) -> LoadedModel:
        if digest in self._loaded:
            self._loaded.move_to_end(digest)
            self._make_room()
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
        self._make_room()

    def _make_room(self) -> None:
        """Drops models beyond the limit. A model grows when it gets another decoder."""
        while len(self._loaded) > 1 and self._used() > self.memory_limit:
            self._loaded.popitem(last=False)
            self.prime_states.keep(self._loaded)

    def _used(self) -> int:
        return sum(model.bytes for model in self._loaded.values()) + self.prime_states.bytes

    async def keep_swept(self) -> None:
        """Sweeps now and then, for as long as the server runs."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
            except Exception:
                log.exception("the search for models to drop failed; it will be repeated")

    async def sweep(self) -> None:
        """Drops the models that nothing names any more, and gives free memory back."""
        await self._drop_unserved()
        await asyncio.to_thread(MEMORY.give_back)

    async def _drop_unserved(self) -> None:
        loaded = self.models
        if loaded:
            await asyncio.to_thread(self.registry.refresh)
        served = await asyncio.to_thread(lambda: [self._is_served(model) for model in loaded])
        for model, is_served in zip(loaded, served, strict=True):
            if not is_served and self._loaded.get(model.digest) is model:
                del self._loaded[model.digest]
        # Also what texts of dropped models have read since.
        self.prime_states.keep(self._loaded)

    def _is_served(self, model: LoadedModel) -> bool:
        return self.registry.serves(model.name, model.digest)
