"""How a request becomes a text on its way."""

import hashlib
import secrets
import time
from dataclasses import dataclass

from fastapi.concurrency import run_in_threadpool

from app.engine.loaded import NamedWriter
from app.engine.states import NotAState, Saved
from app.engine.streams import Reader, ServerFull
from app.http.problems import Problem, unprocessable
from app.routes.services import Services
from app.schemas.common import Unknown
from app.schemas.texts import SampleQuery
from models.checkpoints.reference import Reference
from models.decoding.batch import Stream
from models.decoding.graph import Precision
from models.decoding.sampling import SampleOptions
from models.text.vocab import UnknownCharacters, Vocabulary

DRAWN_SEEDS = 2**53
"""Drawn seeds stay below this, so that every JSON parser reads them exactly."""
RETRY_SECONDS = "2"


@dataclass(frozen=True, slots=True)
class Opened:
    """A text on its way, and what its answer says of it."""

    named: NamedWriter
    precision: Precision
    seed: int
    reader: Reader
    echoed: str
    began: float

    @property
    def headers(self) -> dict[str, str]:
        return sample_headers(self.named, self.seed, self.precision)


def sample_headers(named: NamedWriter, seed: int, precision: Precision) -> dict[str, str]:
    """What every text, and what is drawn like one, says of how it came about."""
    return {
        "X-Model": str(named.reference),
        "X-Model-Digest": named.model.digest,
        "X-Seed": str(seed),
        "X-Precision": precision,
        "Cache-Control": "no-cache, no-store, no-transform",
        "X-Accel-Buffering": "no",
    }


def draw_seed() -> int:
    return secrets.randbelow(DRAWN_SEEDS)


def derived_seed(seed: int, index: int) -> int:
    """The seed of the text number ``index`` of a request that makes several.

    The first one's is the request's own. The others are hashed: of requests with neighbouring
    seeds no two texts shall be the same.
    """
    if index == 0:
        return seed
    mixed = hashlib.blake2b(f"{seed} {index}".encode(), digest_size=8).digest()
    return int.from_bytes(mixed, "little") >> 1


async def find_writer(services: Services, reference: str | None) -> NamedWriter:
    """The model asked for, loaded; the only one there is if none was named."""
    if reference is None:
        names = await run_in_threadpool(services.models.names)
        if len(names) != 1:
            if not names:
                raise unprocessable("model", "is missing: train one with POST /train", "no_models")
            raise unprocessable("model", f"is missing: choose one of {', '.join(names[:20])}")
        reference = names[0]
    return await services.catalogue.writer(Reference.from_client(reference))


async def open_text(
    services: Services,
    fields: SampleQuery,
    continue_from: str | None = None,
    *,
    keep_state: bool = False,
) -> Opened:
    """Starts a text; whoever opened it closes its reader.

    Raises:
        Problem: 409, 422 or 503, in words.
    """
    began = time.monotonic()
    named = await find_writer(services, fields.model)
    model = named.model
    saved = await _saved(services, named, continue_from)
    precision = fields.precision or (saved.precision if saved else model.best_precision)
    if precision not in model.precisions:
        raise unprocessable("precision", "must be exact: this model has no fast one")
    prime, _ = known_text(model.vocabulary, "prime", fields.prime, fields.unknown)
    seed = fields.seed
    if seed is None:
        seed = saved.state.seed if saved else draw_seed()
    stream = Stream(
        model.vocabulary,
        model.vocabulary.encode(prime),
        SampleOptions(
            seed,
            fields.temperature,
            fields.length,
            fields.top_k or 0,
            fields.top_p or 0.0,
            tuple(fields.stop),
        ),
        probabilities=fields.probabilities,
        keep_state=keep_state,
        begin=saved.state if saved else None,
    )
    decoder = await run_in_threadpool(model.decoder, precision)
    try:
        reader = services.streams.open(decoder, stream)
    except ServerFull:
        raise server_full(services) from None
    return Opened(named, precision, seed, reader, prime if fields.echo else "", began)


def server_full(services: Services) -> Problem:
    return Problem(
        503,
        "server_full",
        f"the server is writing {services.streams.limit} texts, the most it can: try again in a "
        "moment",
        headers={"Retry-After": RETRY_SECONDS},
    )


def known_text(vocabulary: Vocabulary, field: str, text: str, unknown: Unknown) -> tuple[str, int]:
    """A field's text as the model reads it, and how many characters were left out.

    Raises:
        Problem: 422 for unknown characters, unless they are to be skipped.
    """
    text = vocabulary.normalise(text)
    try:
        vocabulary.encode(text)
    except UnknownCharacters as error:
        if unknown == "error":
            raise unprocessable(
                field, f"has characters {error}. Remove them, or set unknown=skip", error.code
            ) from None
        strange = set(error.characters)
        known = "".join(char for char in text if char not in strange)
        return known, len(text) - len(known)
    return text, 0


async def _saved(services: Services, named: NamedWriter, token: str | None) -> Saved | None:
    if token is None:
        return None
    try:
        if services.signer.digest(token) != named.model.digest:
            raise Problem(
                409,
                "state_of_another_checkpoint",
                "continue_from belongs to another checkpoint: a state continues only its own",
            )
        return services.signer.read(token, named.model.state_shapes)
    except NotAState:
        raise unprocessable(
            "continue_from",
            "must be the unchanged state of an earlier answer of this server",
            "invalid_state",
        ) from None
