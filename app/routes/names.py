"""``/names``: distinct lines of a model that was trained on a list.

A name is drawn like a text: a stream with its own seed, from the beginning of a line to its end.
Several are drawn ahead to share a batch but looked at in order, so a seed gives the same names
whatever the load. Knows no other endpoint.
"""

import asyncio
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse

from app.engine.callers import Caller
from app.engine.loaded import LoadedModel, decoder_of
from app.engine.prime_states import ReadAs
from app.engine.streams import ServerFull, StreamReader, Streams, TooManyStreams
from app.http.bodies import schema_of
from app.http.bodiless import headers_only, wants_no_body
from app.http.negotiation import JSON, TEXT, accepted
from app.http.problems import responses, unprocessable
from app.http.queries import known_query
from app.http.streaming import BrokenOff, ClosingResponse
from app.routes.services import ServicesDep, writing_for
from app.routes.texts import derived_seed, draw_seed, mix_of, sample_headers
from app.schemas.texts import NamesQuery, NamesResult
from models.arrays import Ids
from models.decoding.decoder import RowDecoder
from models.decoding.priming import Priming
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream
from models.styles import Mix
from models.text.doctor import LIST_LINE
from models.text.naming import ANY, Limits, Pattern
from models.text.novelty import is_known_line
from models.text.vocab import UnknownCharacters

router = APIRouter(tags=["sampling"])

DRAWS_PER_NAME = 200
"""Draws per requested name, after which there probably are no more such names."""

MAX_CHARACTERS = 100_000
"""Characters read and drawn, after which a search ends: some seconds of a small model's."""

SECONDS = 20.0
"""After which a search ends in any case. The other bounds depend on nothing but the request, this
one on what else the server does."""

SearchEnd = Literal["count", "limit", "timeout", "shutdown", "error"]
"""How a search ends: all are found, a bound of the request or of time is reached, or early."""

_WHITE_SPACE = 4
"""Characters around a name that do not count."""

_MANY = 20
"""Characters that make more names than are ever asked for."""

AHEAD, LEAST_AHEAD = 32, 8
"""Draws at once: the number of missing names, within these bounds."""

_PAUSE_SECONDS = 0.05


@router.get(
    "/names",
    summary="Draw names",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Distinct names; fewer than requested if there seem to be no more.",
            "content": {
                JSON: {"schema": schema_of(NamesResult)},
                TEXT: {"schema": {"type": "string"}, "example": "Kaelin\nKarwin\n"},
            },
        },
        **responses(404, 406, 422, 503),
    },
    dependencies=[Depends(known_query)],
)
async def names(
    fields: Annotated[NamesQuery, Query()], request: Request, services: ServicesDep
) -> Response:
    """Lines in the style of a list: as JSON in one piece, or as plain text, each when found.

    A name is `novel` if it is not a line of the corpus; white space around either does not count.
    The search stops after 200 draws per requested name, 100,000 characters or 20 seconds, even if
    names are missing: then `complete` is false.
    """
    kind = accepted(request, (JSON, TEXT))
    reference, model = await services.texts.model(fields.model)
    precision = model.best_precision
    limits = _checked(model, fields)
    seed = draw_seed() if fields.seed is None else fields.seed
    headers = sample_headers(reference, model, seed, precision)
    media_type = JSON if kind == JSON else f"{TEXT}; charset=utf-8"
    if wants_no_body(request):
        return headers_only(headers, media_type)
    decoder = await decoder_of(model, precision)
    caller = writing_for(request, services)
    style = mix_of(fields.style, model.styles) or ()
    read_as = ReadAs(model.digest, precision, style)
    priming = partial(services.loaded.prime_states.priming, read_as)
    search = Search(services.streams, model, decoder, fields, limits, seed, caller, style, priming)
    search.begin()
    chunks = _at_once(search) if kind == JSON else _lines(search)
    return ClosingResponse(chunks, media_type, headers, search.close)


def _checked(model: LoadedModel, fields: NamesQuery) -> Limits:
    """Which names are wanted, as the model reads it. Raises Problem, 422."""
    if not len(model.lines):
        raise unprocessable(
            "model",
            "was not trained on a list: names need a corpus where 99 of 100 lines have fewer than "
            f"{LIST_LINE} characters",
        )
    if fields.min_length > fields.max_length:
        raise unprocessable("min_length", "must not be more than max_length")
    read = model.vocabulary.as_read
    limits = Limits(
        fields.min_length,
        fields.max_length,
        # Names begin and end with no white space.
        starts_with=read(fields.starts_with).lstrip(),
        contains=read(fields.contains),
        ends_with=read(fields.ends_with).rstrip(),
        pattern=Pattern(read(fields.pattern).strip() or ANY),
    )
    parts = {
        "starts_with": limits.starts_with,
        "contains": limits.contains,
        "ends_with": limits.ends_with,
        "pattern": limits.pattern.characters,
    }
    for field, text in parts.items():
        if len(text) > limits.max_length:
            raise unprocessable(field, "must not be longer than max_length")
        try:
            model.vocabulary.encode(text)
        except UnknownCharacters as error:
            raise unprocessable(field, f"has characters {error}", error.code) from None
    _check_pattern(limits)
    return limits


def _check_pattern(limits: Limits) -> None:
    """Raises Problem, 422, if nothing fits both the pattern and the other limits."""
    pattern = limits.pattern
    if pattern.shortest > limits.max_length:
        raise unprocessable("pattern", "fits no name of at most max_length characters")
    if pattern.longest is not None and pattern.longest < limits.min_length:
        raise unprocessable("pattern", "fits no name of at least min_length characters")
    if not pattern.allows(limits.starts_with):
        raise unprocessable("pattern", "fits no name that begins with starts_with")


async def _lines(search: "Search") -> AsyncIterator[bytes]:
    async for name, _novel in search:
        yield f"{name}\n".encode()
    if search.finish_reason in ("shutdown", "error"):
        raise BrokenOff


async def _at_once(search: "Search") -> AsyncIterator[bytes]:
    """Yields one chunk. As a stream, so that the disconnect of a client ends the search."""
    found: list[dict[str, object]] = []
    async for name, novel in search:
        found.append({"name": name, "novel": novel})
    result = NamesResult(
        names=found,
        seed=search.seed,
        asked=search.fields.count,
        drawn=search.drawn,
        complete=search.finish_reason == "count",
        finish_reason=search.finish_reason,
    )
    yield result.model_dump_json().encode()


class Search:
    """Draws until there are enough names or a bound is reached; the caller closes it.

    ``drawn`` counts the draws looked at, ``finish_reason`` says how the search ended.

    Args:
        streams: where lines are drawn.
        model: of the lines.
        decoder: of the model.
        fields: what is asked for.
        limits: which names are wanted.
        seed: of the first draw.
        caller: for whom.
        style: that they are in.
        priming: says what is known of the beginning.
        clock: in seconds.
    """

    def __init__(
        self,
        streams: Streams,
        model: LoadedModel,
        decoder: RowDecoder,
        fields: NamesQuery,
        limits: Limits,
        seed: int,
        caller: Caller,
        style: Mix,
        priming: Callable[[Ids], Priming | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fields = fields
        self.seed = seed
        self.drawn = 0
        self.finish_reason: SearchEnd | None = None
        self._streams = streams
        self._caller = caller
        self._model = model
        self._decoder = decoder
        self._limits = limits
        self._beginning = limits.beginning
        self._primed = model.vocabulary.encode(self._beginning)
        self._style = style
        self._priming = priming
        self._clock = clock
        self._deadline = clock() + SECONDS
        # Argmax always draws the same line.
        self._most = DRAWS_PER_NAME * fields.count if fields.temperature else 1
        self._wanted = min(fields.count, self._possible())
        self._characters = 0
        self._found: set[str] = set()
        self._ahead: deque[StreamReader] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def _possible(self) -> int:
        """At least the number of names that begin so and are not too long, however unlikely."""
        vocabulary = self._model.vocabulary
        each = len(vocabulary) if vocabulary.tokens == "characters" else sys.maxunicode
        free = self._limits.longest - len(self._beginning)
        return sum(each**length for length in range(min(free, _MANY) + 1))

    def begin(self) -> None:
        """Opens the first draw. Raises ServerFull or TooManyStreams."""
        self._ahead.append(self._open(0))
        # Even if the client does not read, and so nothing looks at the clock.
        self._timer = asyncio.get_running_loop().call_later(SECONDS, self.close)

    def close(self) -> None:
        """Frees the rows; a second call does nothing."""
        if self._timer:
            self._timer.cancel()
        for reader in self._ahead:
            reader.close()

    async def __aiter__(self) -> AsyncIterator[tuple[str, bool]]:
        """Yields names and whether they are novel, each as soon as its turn comes."""
        while self.finish_reason is None:
            if len(self._found) == self.fields.count:
                self.finish_reason = "count"
            elif self._is_exhausted():
                self.finish_reason = "limit"
            elif name := await self._look():
                yield name

    def _is_exhausted(self) -> bool:
        """Whether a bound is reached that does not depend on anything but the request."""
        return (
            len(self._found) == self._wanted
            or self.drawn >= self._most
            or self._characters >= MAX_CHARACTERS
        )

    async def _look(self) -> tuple[str, bool] | None:
        """Looks at the next draw: a name as asked, or None."""
        left = self._deadline - self._clock()
        try:
            if left <= 0:
                raise TimeoutError
            async with asyncio.timeout(left):
                text, reason = await self._take()
        except TimeoutError:
            self.finish_reason = "timeout"
            return None
        if reason not in ("stop", "length"):
            self.finish_reason = "shutdown" if reason == "shutdown" else "error"
            return None
        line = self._beginning + text
        self._characters += len(self._primed) + len(text) + 1
        name = line.strip()
        if reason == "length" or not self._fits(name):
            return None
        novel = not is_known_line(line, self._model.lines)
        if self.fields.novel and not novel:
            return None
        self._found.add(name)
        return name, novel

    def _fits(self, name: str) -> bool:
        # A name with a CR or U+2028 in it is two lines to whoever reads one name a line.
        is_line = len(name.splitlines()) <= 1
        return is_line and name not in self._found and self._limits.allow(name)

    async def _take(self) -> tuple[str, str | None]:
        """Takes the next draw: its text and how it ended."""
        self._draw_ahead()
        while not self._ahead:
            # Other clients hold every row, or the server is stopping.
            if self._streams.stopped:
                return "", "shutdown"
            await asyncio.sleep(_PAUSE_SECONDS)
            self._draw_ahead()
        reader = self._ahead[0]
        text = "".join([piece.text async for piece in reader])
        reader.close()
        self._ahead.popleft()
        self.drawn += 1
        return text, reader.finish_reason

    def _draw_ahead(self) -> None:
        missing = self._wanted - len(self._found)
        wanted = min(AHEAD, max(LEAST_AHEAD, missing), self._most - self.drawn)
        while len(self._ahead) < wanted:
            try:
                reader = self._open(self.drawn + len(self._ahead))
            except (ServerFull, TooManyStreams):
                return
            self._ahead.append(reader)

    def _open(self, index: int) -> StreamReader:
        options = SampleOptions(
            derived_seed(self.seed, index),
            self.fields.temperature,
            # More than allowed: a line that has not ended by then is too long.
            self._limits.longest - len(self._beginning) + 1 + _WHITE_SPACE,
            stop=("\n",),
            style=self._style,
        )
        stream = Stream(
            self._model.vocabulary, self._primed, options, priming=self._priming(self._primed)
        )
        # What is drawn ahead leaves room for texts that somebody waits for.
        return self._streams.open(self._decoder, stream, self._caller, ahead=bool(self._ahead))
