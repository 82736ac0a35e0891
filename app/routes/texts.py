"""Turns a request into a text on its way. Knows no endpoint and no form of an answer."""

import hashlib
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fastapi.concurrency import run_in_threadpool

from app.engine.callers import Caller
from app.engine.corpus_runs import CorpusRuns, NoRuns
from app.engine.loaded import LoadedModel, LoadedModels, decoder_of
from app.engine.prime_states import ReadAs
from app.engine.states import NotAState, Saved, StateSigner
from app.engine.streams import StreamReader, Streams
from app.http.problems import Problem, unprocessable
from app.schemas.common import Unknown
from app.schemas.texts import SampleQuery
from models.arrays import Ids
from models.checkpoints.reference import Reference
from models.decoding.characters import Piece
from models.decoding.graph import Precision
from models.decoding.priming import Priming
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream
from models.styles import Mix, WrongStyle, parse_mix
from models.text.copies import Runs
from models.text.vocab import UnknownCharacters, Vocabulary

DRAWN_SEEDS = 2**53
"""Drawn seeds stay below this, so that every JSON parser reads them exactly."""

SHOWN_NAMES = 20
"""Most models that an error lists."""

MAX_LISTED = 1_000_000
"""Most characters and alternatives of an answer in one piece, which takes about 40 bytes each."""

LISTED_AT_ONCE = 256
"""Characters with alternatives that become JSON in one step, of about a millisecond."""

SKIPPING_ROUNDS = 3
"""A hostile text could need thousands."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """A request for a text that can be begun."""

    reference: Reference
    model: LoadedModel
    saved: Saved | None
    precision: Precision
    prime: "KnownText"
    options: SampleOptions
    uncopied: Runs | None


@dataclass(frozen=True, slots=True)
class Opened:
    """A text on its way, and what its answer says about it."""

    reference: Reference
    model: LoadedModel
    precision: Precision
    seed: int
    reader: StreamReader
    echoed: str
    began: float

    @property
    def broke_off(self) -> bool:
        """Whether an ended text is incomplete: neither its length nor a stop ended it."""
        return self.reader.finish_reason not in ("length", "stop")

    @property
    def headers(self) -> dict[str, str]:
        return sample_headers(self.reference, self.model, self.seed, self.precision)


def sample_headers(
    reference: Reference, model: LoadedModel, seed: int, precision: Precision
) -> dict[str, str]:
    """Headers of an answer with text or names: what determined them."""
    return {
        "X-Model": str(reference),
        "X-Model-Digest": model.digest,
        "X-Seed": str(seed),
        "X-Precision": precision,
        "Cache-Control": "no-cache, no-store, no-transform",
        "X-Accel-Buffering": "no",
    }


def draw_seed() -> int:
    return secrets.randbelow(DRAWN_SEEDS)


def derived_seed(seed: int, index: int) -> int:
    """The seed of text number ``index`` of a request for several.

    The first one is the request's own. The others are hashed, so that requests with neighbouring
    seeds have no text in common.
    """
    if index == 0:
        return seed
    mixed = hashlib.blake2b(f"{seed} {index}".encode(), digest_size=8).digest()
    return int.from_bytes(mixed, "little") >> 1


def listed(piece: Piece) -> Iterator[Piece]:
    """Yields a piece in parts whose characters become JSON in one step each."""
    last = (max(1, len(piece.characters)) - 1) // LISTED_AT_ONCE
    for index in range(last + 1):
        begin = index * LISTED_AT_ONCE
        end = None if index == last else begin + LISTED_AT_ONCE
        yield Piece(piece.text[begin:end], piece.characters[begin:end])


@dataclass(frozen=True, slots=True)
class KnownText:
    """A text as a model reads it, its ids, [length], and the number of characters left out."""

    text: str
    ids: Ids
    left_out: int


def known_text(
    vocabulary: Vocabulary, field: str, text: str, unknown: Unknown, rounds: int = SKIPPING_ROUNDS
) -> KnownText:
    """A field's text as a model reads it.

    Raises:
        Problem: 422 for unknown characters, unless they are to be skipped.
    """
    text = vocabulary.as_read(text)
    try:
        return KnownText(text, vocabulary.encode(text), 0)
    except UnknownCharacters as error:
        if unknown == "error" or not rounds:
            raise unprocessable(
                field, f"has characters {error}. Remove them, or set unknown=skip", error.code
            ) from None
        strange = set(error.characters)
    kept = "".join(char for char in text if char not in strange)
    # Again: characters that become neighbours may compose to one that is unknown too.
    known = known_text(vocabulary, field, kept, unknown, rounds - 1)
    return replace(known, left_out=known.left_out + len(text) - len(kept))


class Texts:
    """Starts texts, and saves the states that ended ones continue from."""

    def __init__(
        self, loaded: LoadedModels, streams: Streams, signer: StateSigner, runs: CorpusRuns
    ) -> None:
        self._loaded = loaded
        self._runs = runs
        self._streams = streams
        self._signer = signer

    async def model(self, name: str | None) -> tuple[Reference, LoadedModel]:
        """Loads the model of this name; without a name, the only one on the server.

        Raises:
            UnknownModel: no model has this name or tag.
            CheckpointError: it is damaged.
            Problem: 422 without a name, unless there is exactly one model.
        """
        if name is None:
            name = await self._only_name()
        reference = Reference.from_client(name)
        return reference, await self._loaded.get(reference)

    async def _only_name(self) -> str:
        names = await run_in_threadpool(self._loaded.registry.names)
        if len(names) == 1:
            return names[0]
        if not names:
            raise unprocessable("model", "is missing: train one with POST /train", "no_models")
        there = f"choose one of {', '.join(names[:SHOWN_NAMES])}"
        raise unprocessable("model", f"is missing: {there}")

    async def open(
        self,
        fields: SampleQuery,
        continue_from: str | None = None,
        *,
        caller: Caller,
        tell_prime: bool = False,
        keep_state: bool = False,
    ) -> Opened:
        """Starts a text; whoever calls closes its reader.

        Raises:
            UnknownModel, CheckpointError: as ``model``.
            ServerFull: as many texts are being written as the server allows.
            TooManyStreams: as many as it allows the caller.
            Problem: 409 or 422, in words.
        """
        began = time.monotonic()
        asked = await self._check(fields, continue_from)
        model, precision, saved, seed = (
            asked.model,
            asked.precision,
            asked.saved,
            asked.options.seed,
        )
        decoder = await decoder_of(model, precision)
        try:
            stream = Stream(
                model.vocabulary,
                asked.prime.ids,
                asked.options,
                probabilities=fields.probabilities,
                tell_prime=tell_prime,
                keep_state=keep_state,
                begin=saved.state if saved else None,
                uncopied=asked.uncopied,
                priming=None if saved else self._priming(asked),
            )
            reader = self._streams.open(decoder, stream, caller)
        except ValueError:
            # All but a state has been checked.
            if saved is None:
                raise
            raise _not_a_state() from None
        echoed = asked.prime.text if fields.echo else ""
        return Opened(asked.reference, model, precision, seed, reader, echoed, began)

    def _priming(self, asked: "_Checked") -> Priming | None:
        read_as = ReadAs(asked.model.digest, asked.precision, asked.options.style)
        return self._loaded.prime_states.priming(read_as, asked.prime.ids)

    async def headers(self, fields: SampleQuery) -> dict[str, str]:
        """The headers of the answer that ``open`` would begin; the same errors, as far as known."""
        asked = await self._check(fields, None)
        return sample_headers(asked.reference, asked.model, asked.options.seed, asked.precision)

    async def _check(self, fields: SampleQuery, continue_from: str | None) -> _Checked:
        reference, model = await self.model(fields.model)
        saved = None if continue_from is None else self._saved(continue_from, model)
        precision = fields.precision or (saved.precision if saved else model.best_precision)
        if precision not in model.precisions:
            raise unprocessable("precision", "must be exact: this model has no fast one")
        prime = known_text(model.vocabulary, "prime", fields.prime, fields.unknown)
        seed = fields.seed
        if seed is None:
            seed = saved.state.seed if saved else draw_seed()
        style = mix_of(fields.style, model.styles) or ()
        options = _options(fields, seed, model.vocabulary, style)
        uncopied = await self._uncopied(fields.max_copied, model)
        return _Checked(reference, model, saved, precision, prime, options, uncopied)

    async def _uncopied(self, max_copied: int | None, model: LoadedModel) -> Runs | None:
        if max_copied is None:
            return None
        try:
            return await self._runs.get(model.card, model.vocabulary.tokens, max_copied)
        except NoRuns as error:
            raise unprocessable("max_copied", str(error), "no_corpus") from None

    def state(self, opened: Opened) -> str | None:
        """The ``state`` of an ended text; None if it was not kept, or there is none."""
        end = opened.reader.stream.end_state
        if end is None:
            return None
        return self._signer.write(Saved(opened.model.digest, opened.precision, end))

    def _saved(self, token: str, model: LoadedModel) -> Saved:
        try:
            if self._signer.digest(token) != model.digest:
                raise Problem(
                    409,
                    "state_of_another_checkpoint",
                    "continue_from belongs to another checkpoint: a state continues only its own",
                )
            return self._signer.read(token, model.state_shapes)
        except NotAState:
            raise _not_a_state() from None


def _not_a_state() -> Problem:
    return unprocessable(
        "continue_from",
        "must be the unchanged state of an earlier answer from this server",
        "invalid_state",
    )


def mix_of(style: str | None, styles: Sequence[str]) -> Mix | None:
    """A field's mix of a model's styles; None if it asks for none.

    Raises:
        Problem: 422 for one that the model does not have.
    """
    if style is None:
        return None
    try:
        return parse_mix(style, styles)
    except WrongStyle as error:
        raise unprocessable("style", str(error), error.code) from None


def _options(fields: SampleQuery, seed: int, vocabulary: Vocabulary, style: Mix) -> SampleOptions:
    return SampleOptions(
        seed,
        tuple(fields.temperature),
        fields.length,
        fields.top_k or 0,
        fields.top_p or 0.0,
        # As the text comes, which has no other forms.
        tuple(map(vocabulary.normalise, fields.stop)),
        style,
    )
