"""Shared by the dialects of other tools' clients: lenient requests, several texts, errors.

These clients send fields that mean nothing here, which are ignored, and each expects one shape of
errors. Knows neither dialect.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict

from app.engine.callers import Caller
from app.http.bodies import read_json
from app.http.problems import RETRY_SECONDS, Problem, shutting_down
from app.http.validation import validated
from app.routes.texts import Opened, Texts, derived_seed, draw_seed
from app.schemas.common import MAX_SEED, Fields
from app.schemas.texts import MAX_BODY, SampleQuery
from models.checkpoints.reference import Reference

DEFAULT_LENGTH = 1000
MAX_LENGTH = 1_000_000
LEAST_TEMPERATURE = 0.01
"""Anything lower but above 0 is raised to this."""

LEAST_TOP_P = 1e-6
"""Clients send 0 for the most likely character only."""

ForeignJson = dict[str, Any]
"""An answer whose members are documented by another tool."""

SomeRequest = TypeVar("SomeRequest", bound=BaseModel)
Item = TypeVar("Item")


class Lenient(Fields):
    """Known fields of a request; others are ignored, and an empty one counts as absent."""

    model_config = ConfigDict(extra="ignore")


async def received(request: Request, fields: type[SomeRequest]) -> SomeRequest:
    """Reads the body as fields, whatever its content type. Raises Problem."""
    return validated(fields, await read_json(request, MAX_BODY))


def warmth(temperature: float) -> float:
    return max(temperature, LEAST_TEMPERATURE) if temperature else 0.0


def sample_query(*, model: str, seed: int | None, **fields: Any) -> SampleQuery:
    """Makes a query from a dialect's fields, checked by the rules of ``/sample``.

    The prime is echoed as the model read it; the dialect decides whether to send it.

    Raises:
        UnknownModel: the name cannot be a model's.
        Problem: 422 for a field out of range.
    """
    seed = None if seed is None else seed % (MAX_SEED + 1)
    asked = {"model": str(Reference.from_client(model)), "seed": seed, "echo": True, **fields}
    return validated(SampleQuery, asked)


async def open_texts(texts: Texts, fields: SampleQuery, count: int, caller: Caller) -> list[Opened]:
    """Starts texts whose seeds follow from the first one's; whoever calls closes their readers.

    Raises:
        Exception: as ``Texts.open``; none is open then.
    """
    seed = draw_seed() if fields.seed is None else fields.seed
    opened: list[Opened] = []
    try:
        for index in range(count):
            one = fields.model_copy(update={"seed": derived_seed(seed, index)})
            opened.append(await texts.open(one, caller=caller))
    except BaseException:
        close(opened)
        raise
    return opened


def close(opened: Sequence[Opened]) -> None:
    for one in opened:
        one.reader.close()


def failure(opened: Opened) -> Problem | None:
    """The reason that an ended text is incomplete; None if it is complete."""
    if not opened.broke_off:
        return None
    if opened.reader.finish_reason == "shutdown":
        return shutting_down()
    if opened.reader.gave_way:
        return Problem(
            503,
            "server_full",
            "the text was read too slowly for a full server: read it as it comes",
            headers={"Retry-After": RETRY_SECONDS},
        )
    return Problem(422, "not_finite", "the network's output overflowed: try another prompt")


async def merged(
    iterators: Sequence[AsyncIterator[Item]],
) -> AsyncGenerator[tuple[int, Item | None], None]:
    """Yields the items of several iterators as they come, with the iterator's index.

    None follows the last item of each.
    """
    coming = {asyncio.ensure_future(anext(one)): index for index, one in enumerate(iterators)}
    try:
        while coming:
            done, _ = await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                index = coming.pop(future)
                try:
                    item = future.result()
                except StopAsyncIteration:
                    yield index, None
                    continue
                coming[asyncio.ensure_future(anext(iterators[index]))] = index
                yield index, item
    finally:
        for future in coming:
            future.cancel()


def said(problem: Problem, names: Mapping[str, str]) -> str:
    """A problem in one sentence, with the dialect's names for our fields."""
    if not problem.errors:
        return str(problem.detail)
    errors = (f"{names.get(error.field, error.field)} {error.message}" for error in problem.errors)
    return "; ".join(errors)


def status(problem: Problem) -> int:
    """The status in both dialects, which answer 400 to any invalid request."""
    return 400 if problem.status_code in (415, 422) else problem.status_code
