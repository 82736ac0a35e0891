"""``/names``: distinct lines of a model that was trained on a list.

A name is drawn like a text: a stream with its own seed, from the beginning of a line to its end.
Several are drawn ahead to share a batch but looked at in order, so a seed gives the same names
whatever the load. Knows no other endpoint.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse

from app.engine.callers import Caller, caller_of
from app.engine.loaded import LoadedModel
from app.engine.streams import ServerFull, StreamReader, Streams, TooManyStreams
from app.http.negotiation import JSON, TEXT, accepted
from app.http.problems import responses, unprocessable
from app.http.queries import known_query
from app.http.streaming import ClosingResponse
from app.routes.services import ServicesDep
from app.routes.texts import KnownText, derived_seed, draw_seed, sample_headers
from app.schemas.texts import NamesQuery, NamesResult
from models.decoding.batch import Stream
from models.decoding.decoder import RowDecoder
from models.decoding.sampling import SampleOptions
from models.text.doctor import LIST_LINE
from models.text.novelty import is_known_line
from models.text.vocab import UnknownCharacters

router = APIRouter(tags=["sampling"])

DRAWS_PER_NAME = 200
"""Draws per requested name, after which there probably are no more such names."""

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
                JSON: {"schema": NamesResult.model_json_schema()},
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

    A name is `novel` if it is not a line of the corpus. The search stops after 200 draws per
    requested name, even if names are missing.
    """
    kind = accepted(request, (JSON, TEXT))
    reference, model = await services.texts.model(fields.model)
    precision = model.best_precision
    starts_with = _checked(model, fields)
    seed = draw_seed() if fields.seed is None else fields.seed
    decoder = await run_in_threadpool(model.decoder, precision)
    caller = caller_of(request.scope)
    search = Search(services.streams, model, decoder, fields, starts_with, seed, caller)
    search.begin()
    headers = sample_headers(reference, model, seed, precision)
    chunks, media_type = _at_once(search), JSON
    if kind == TEXT:
        chunks, media_type = _lines(search), f"{TEXT}; charset=utf-8"
    return ClosingResponse(chunks, media_type, headers, search.close)


def _checked(model: LoadedModel, fields: NamesQuery) -> KnownText:
    """The beginning of each name as the model reads it. Raises Problem, 422."""
    if not len(model.lines):
        raise unprocessable(
            "model",
            "was not trained on a list: names need a corpus where 99 of 100 lines have fewer than "
            f"{LIST_LINE} characters",
        )
    if fields.min_length > fields.max_length:
        raise unprocessable("min_length", "must not be more than max_length")
    starts_with = model.vocabulary.normalise(fields.starts_with)
    if len(starts_with) > fields.max_length:
        raise unprocessable("starts_with", "must not be longer than max_length")
    try:
        return KnownText(starts_with, model.vocabulary.encode(starts_with), 0)
    except UnknownCharacters as error:
        raise unprocessable("starts_with", f"has characters {error}", error.code) from None


async def _lines(search: "Search") -> AsyncIterator[bytes]:
    async for name, _novel in search:
        yield f"{name}\n".encode()


async def _at_once(search: "Search") -> AsyncIterator[bytes]:
    """Yields one chunk. As a stream, so that the disconnect of a client ends the search."""
    found: list[dict[str, object]] = []
    async for name, novel in search:
        found.append({"name": name, "novel": novel})
    result = NamesResult(
        names=found, seed=search.seed, asked=search.fields.count, drawn=search.drawn
    )
    yield result.model_dump_json().encode()


class Search:
    """Draws until there are enough names; whoever makes it closes it.

    ``drawn`` counts the draws looked at.
    """

    def __init__(
        self,
        streams: Streams,
        model: LoadedModel,
        decoder: RowDecoder,
        fields: NamesQuery,
        starts_with: KnownText,
        seed: int,
        caller: Caller,
    ) -> None:
        self.fields = fields
        self.seed = seed
        self.drawn = 0
        self._streams = streams
        self._caller = caller
        self._model = model
        self._decoder = decoder
        self._starts_with = starts_with
        # Argmax always draws the same line.
        self._most = DRAWS_PER_NAME * fields.count if fields.temperature else 1
        self._found: set[str] = set()
        self._ahead: deque[StreamReader] = deque()

    def begin(self) -> None:
        """Opens the first draw. Raises ServerFull or TooManyStreams."""
        self._ahead.append(self._open(0))

    def close(self) -> None:
        """Frees the rows; a second call does nothing."""
        for reader in self._ahead:
            reader.close()

    async def __aiter__(self) -> AsyncIterator[tuple[str, bool]]:
        """Yields names and whether they are novel, each as soon as its turn comes."""
        while len(self._found) < self.fields.count and self.drawn < self._most:
            self._draw_ahead()
            if not self._ahead:
                # Other clients hold every row, or the server is stopping.
                if self._streams.stopped:
                    return
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            text, reason = await self._take()
            if reason == "shutdown":
                return
            name = self._starts_with.text + text
            if reason == "stop" and self._fits(name):
                novel = not is_known_line(name, self._model.lines)
                if novel or not self.fields.novel:
                    self._found.add(name)
                    yield name, novel

    def _fits(self, name: str) -> bool:
        fields = self.fields
        within = fields.min_length <= len(name) <= fields.max_length
        return within and not name.isspace() and name not in self._found

    def _draw_ahead(self) -> None:
        missing = self.fields.count - len(self._found)
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
            # One more than allowed: a line that has not ended by then is too long.
            self.fields.max_length - len(self._starts_with.text) + 1,
            stop=("\n",),
        )
        stream = Stream(self._model.vocabulary, self._starts_with.ids, options)
        # What is drawn ahead leaves room for texts that somebody waits for.
        return self._streams.open(self._decoder, stream, self._caller, ahead=bool(self._ahead))

    async def _take(self) -> tuple[str, str | None]:
        """Takes the next draw: its text and how it ended."""
        reader = self._ahead[0]
        text = "".join([piece.text async for piece in reader])
        reader.close()
        self._ahead.popleft()
        self.drawn += 1
        return text, reader.finish_reason
